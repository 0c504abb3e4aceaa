"""Milliseconds, on one thread, to read each photo and to bring it to a model's input with Pillow.

The steps of `PerceiverImageProcessorPil`: centre crop, bicubic resize, rescale, normalise. Prints what
`images.rs` prints.
"""

import sys
import time

import numpy
from PIL import Image, ImageOps

MEAN = numpy.array([0.485, 0.456, 0.406], dtype=numpy.float32)
STD = numpy.array([0.229, 0.224, 0.225], dtype=numpy.float32)


def read(path):
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def preprocess(image):
    side = int(224 / 256 * min(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    crop = image.crop((left, top, left + side, top + side))
    pixels = numpy.asarray(crop.resize((224, 224), Image.Resampling.BICUBIC))
    pixels = (pixels * (1 / 255)).astype(numpy.float32)
    return numpy.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


def median(work):
    times = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < 0.5:
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return sorted(times)[len(times) // 2]


for path in sys.argv[1:]:
    image = read(path)
    print(f"{median(lambda: read(path)):.3f} {median(lambda: preprocess(image)):.3f} {path}")
