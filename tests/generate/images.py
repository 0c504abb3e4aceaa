"""Writes what transformers' two PerceiverImageProcessors make of images, and what Pillow reads from files."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
import transformers
from common import FIXTURES, Tensors, generate_or_check, save_tensors, seeded
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.perceiver.image_processing_perceiver import PerceiverImageProcessor
from transformers.models.perceiver.image_processing_pil_perceiver import PerceiverImageProcessorPil

VERSIONS = {
    "numpy": np.__version__,
    "pillow": PIL.__version__,
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "transformers": transformers.__version__,
}

BACKENDS = {"torchvision": PerceiverImageProcessor, "pil": PerceiverImageProcessorPil}

# Heights and widths of the images that are processed: odd ones, tiny ones, thin ones.
IMAGES = {"small": (37, 53), "tiny": (5, 5), "tall": (300, 200), "thin": (3, 70), "odd": (29, 28)}

NO_VALUES = {"do_rescale": False, "do_normalize": False}


def size(height: int, width: int) -> dict[str, int]:
    return {"height": height, "width": width}


def cases() -> dict[str, tuple[list[str], dict[str, Any], list[str]]]:
    """Images, settings file and backends of each case."""
    both = list(BACKENDS)
    found: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
        "default tall": (["tall"], NO_VALUES, ["torchvision"]),
        "default small": (["small"], NO_VALUES, ["pil"]),
        "published form": (
            ["small"],
            {
                "crop_size": 256,
                "do_center_crop": True,
                "do_normalize": True,
                "do_resize": True,
                "feature_extractor_type": "PerceiverFeatureExtractor",
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "resample": 3,
                "size": 24,
            },
            both,
        ),
        "other fields": (
            ["small"],
            {
                "image_processor_type": "PerceiverImageProcessor",
                "processor_class": "Some",
                "size": [17, 31],
                "do_rescale": None,
                "do_pad": True,
                "favourite": {"b": [1, 2.5], "a": "x"},
                "image_mean": 0.5,
                "image_std": 0.25,
            },
            ["torchvision"],
        ),
        "batch of different images": (["small", "tall", "tiny"], {"size": size(19, 23), "crop_size": 24}, both),
    }
    for resample in range(6):
        # torchvision has no box and no Hamming filter.
        backends = both if resample < 4 else ["pil"]
        for image, new in (("small", (16, 61)), ("tall", (33, 25)), ("tiny", (20, 41))):
            settings = NO_VALUES | {"resample": resample, "size": size(*new), "crop_size": size(64, 64)}
            found[f"resample {resample} {image}"] = ([image], settings, backends)
        # Pillow begins with the columns where many of their pixels and few of the rows' go away.
        settings = NO_VALUES | {"resample": resample, "size": size(14, 60), "do_center_crop": False}
        for image in ("tall", "small", "odd"):
            found[f"columns first {resample} {image}"] = ([image], settings, backends)
    # Crops that exceed the image by odd and even numbers of pixels, in one direction or both.
    for image, new, crop in (
        ("small", (50, 50), (40, 40)),
        ("small", (51, 30), (37, 40)),
        ("small", (20, 60), (37, 37)),
        ("odd", (33, 44), (28, 28)),
        ("odd", (27, 28), (28, 28)),
        ("thin", (30, 90), (3, 7)),
        ("tiny", (14, 9), (10, 10)),
    ):
        settings = NO_VALUES | {"size": size(*new), "crop_size": size(*crop), "do_resize": False}
        found[f"crop {image} {new} {crop}"] = ([image], settings, both)
    for index in range(16):
        names = ("do_center_crop", "do_resize", "do_rescale", "do_normalize")
        switches = {name: bool(index >> place & 1) for place, name in enumerate(names)}
        settings = switches | {"size": size(13, 11), "crop_size": size(17, 12), "rescale_factor": 0.0078}
        found[f"switches {index}"] = (["small"], settings, both)
    for index, edges in enumerate(
        (
            {"shortest_edge": 20},
            {"shortest_edge": 20, "longest_edge": 24},
            {"shortest_edge": 53, "longest_edge": 61},
            {"max_height": 30, "max_width": 21},
            {"max_height": 19, "max_width": 99},
        )
    ):
        for image in ("small", "tall", "odd"):
            settings = NO_VALUES | {"size": edges, "do_center_crop": False}
            found[f"edges {index} {image}"] = ([image], settings, both)
    found["default_to_square"] = (
        ["small"],
        NO_VALUES | {"size": 11, "default_to_square": False, "do_center_crop": False},
        both,
    )
    return found


def picture(name: str, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Waves with noise, and a corner of extreme values, on which rounding and clipping show."""
    rng = seeded(f"images/{name}")
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 60 * (np.sin(x / (3 + c) + c) + np.cos(y / (4 + c) - c)) for c in range(channels)]
    image = np.clip(np.stack(waves, -1) + rng.integers(-12, 13, (height, width, channels)), 0, 255).astype(np.uint8)
    corner = image[: height // 2, : width // 2]
    corner[:] = rng.choice(np.array([0, 1, 254, 255], np.uint8), corner.shape)
    return image


def processed(target: Path) -> None:
    images = {name: picture(name, *shape) for name, shape in IMAGES.items()}
    tensors: Tensors = {f"image.{name}": torch.from_numpy(image) for name, image in images.items()}
    described = []
    for name, (inputs, settings, backends) in cases().items():
        for backend in backends:
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / "preprocessor_config.json"
                path.write_text(json.dumps(settings))
                processor = BACKENDS[backend].from_pretrained(temporary)
                processor.save_pretrained(temporary)
                saved = json.loads(path.read_text())
            arrays = [Image.fromarray(images[image]) for image in inputs]
            values = processor(arrays, return_tensors="pt")["pixel_values"]
            if not settings.get("do_rescale", True) and not settings.get("do_normalize", True):
                values = values.to(torch.uint8)
            tensors[f"{backend}.{name}"] = values
            described.append(
                {"name": name, "backend": backend, "images": inputs, "settings": settings, "saved": saved}
            )
    metadata = {"versions": json.dumps(VERSIONS, sort_keys=True), "cases": json.dumps(described)}
    save_tensors(target / "processor.safetensors", tensors, metadata)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def png(array: np.ndarray, colour_type: int, depth: int, width: int) -> bytes:
    """A PNG of rows of bytes, for the forms that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, len(array), depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bitmap(pixels: bytes, width: int, height: int, bits: int, **header: Any) -> bytes:
    """A bitmap of these bytes, in a form that Pillow does not write."""
    masks, palette = header.get("masks", ()), header.get("palette", b"")
    fields = (40, width, height, 1, bits, header.get("compression", 3 if masks else 0), 0, 0, 0, len(palette) // 4, 0)
    start = struct.pack("<IiiHHIIiiII", *fields) + b"".join(struct.pack("<I", mask) for mask in masks) + palette
    if header.get("is_old"):
        start = struct.pack("<IHHHH", 12, width, height, 1, bits) + palette
    file = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(start))
    return start + pixels if header.get("has_no_file_header") else file + start + pixels


def bitmaps() -> dict[str, bytes]:
    rng = seeded("images/bitmaps")
    width, height = 9, 7
    small = rng.integers(0, 65536, (height, width), dtype=np.uint16)
    rows16 = b"".join(row.tobytes() + b"\0\0" for row in small)
    rows24 = b"".join(row.tobytes() + b"\0" for row in rng.integers(0, 256, (height, 3 * width), dtype=np.uint8))
    rows32 = rng.integers(0, 256, (height, 4 * width), dtype=np.uint8).tobytes()
    four = bytes(rng.integers(0, 256, 4 * 16, dtype=np.uint8))
    rows4 = b"".join(row.tobytes() + b"\0\0\0" for row in rng.integers(0, 256, (height, 5), dtype=np.uint8))
    wide = {"rgb555": (), "masks555": (0x7C00, 0x3E0, 0x1F), "rgb565": (0xF800, 0x7E0, 0x1F)}
    files = {f"{name}.bmp": bitmap(rows16, width, height, 16, masks=masks) for name, masks in wide.items()}
    # A run, a few of their own, the end of a row, a jump, and rows that end early.
    runs8 = bytes([4, 3, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 9, 1, 0, 0, 0, 2, 2, 1, 3, 7, 0, 0])
    runs8 += bytes([9, 2, 0, 0, 9, 4, 0, 0, 9, 5, 0, 1])
    runs4 = bytes([5, 0x12, 0, 4, 0x34, 0x56, 0, 0, 9, 0x78, 0, 0, 2, 0x9A, 0, 0])
    runs4 += bytes([0, 7, 1, 2, 3, 4]) + bytes([0, 0]) + bytes([9, 0xBC, 0, 0]) * 3
    files |= {
        "rgb32.bmp": bitmap(rows32, width, height, 32),
        "masks32.bmp": bitmap(rows32, width, height, 32, masks=(0xFF000000, 0xFF0000, 0xFF00)),
        "top_down.bmp": bitmap(rows24, width, -height, 24),
        "cut_filling.bmp": bitmap(rows24[:-1], width, height, 24),
        "old.bmp": bitmap(rows24, width, height, 24, is_old=True),
        "old4.bmp": bitmap(rows4, width, height, 4, is_old=True, palette=four[:48]),
        "few_colours.bmp": bitmap(rows4, width, height, 4, palette=four[:20]),
        "rows.dib": bitmap(rows24, width, height, 24, has_no_file_header=True),
        "palette.dib": bitmap(rows4, width, height, 4, palette=four, has_no_file_header=True),
        "runs8.bmp": bitmap(runs8, width, height, 8, compression=1, palette=four),
        "runs4.bmp": bitmap(runs4, width, height, 4, compression=2, palette=four),
    }
    return files


def gif(canvas: tuple[int, int], frames: list[dict[str, Any]], palette: bytes, background: int = 0) -> bytes:
    """A GIF of frames with codes of nine bits, none of which the decoder's table is needed for."""
    size = (len(palette) // 3 - 1).bit_length() - 1
    file = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80 | size, background, 0) + palette
    for frame in frames:
        transparent = frame.get("transparent")
        flags = frame.get("disposal", 0) << 2 | (transparent is not None)
        file += b"!\xf9\x04" + struct.pack("<BHB", flags, frame.get("delay", 0), transparent or 0) + b"\0"
        rows, own = frame["rows"], frame.get("palette", b"")
        height, width = rows.shape
        local = 0x80 | ((len(own) // 3 - 1).bit_length() - 1) if own else 0
        if frame.get("interlaced"):
            local |= 0x40
            rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
        file += b"," + struct.pack("<HHHHB", *frame.get("at", (0, 0)), width, height, local) + own
        # The table is cleared before it grows to codes of ten bits.
        codes = [256]
        for count, index in enumerate(rows.ravel().tolist()):
            codes += [256, index] if count % 200 == 199 else [index]
        number = sum(code << 9 * place for place, code in enumerate([*codes, 257]))
        packed = number.to_bytes((9 * len(codes) + 16) // 8, "little")
        blocks = [packed[start : start + 255] for start in range(0, len(packed), 255)]
        file += b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return file + b";"


def gifs() -> dict[str, bytes]:
    rng = seeded("images/gifs")
    palette, own = (bytes(rng.integers(0, 256, 3 * 16, dtype=np.uint8)) for _ in range(2))
    rows = rng.integers(0, 16, (5, 6), dtype=np.uint8)
    inside = {"rows": rows, "at": (2, 3)}
    files = {
        "offset.gif": gif((11, 10), [inside], palette),
        "offset_background.gif": gif((11, 10), [inside], palette, background=7),
        "offset_transparent.gif": gif((11, 10), [inside | {"transparent": 5}], palette),
        "offset_own.gif": gif((11, 10), [inside | {"palette": own}], palette),
        "outside.gif": gif((6, 5), [inside], palette),
        "empty_screen.gif": gif((0, 0), [inside], palette),
        "interlaced.gif": gif((6, 11), [{"rows": np.concatenate([rows, rows, rows[:1]]), "interlaced": True}], palette),
        "few_colours.gif": gif((6, 5), [{"rows": rows}], palette[:12]),
    }
    files["no_end.gif"] = files["offset.gif"][:-2]
    return files


def animations() -> dict[str, bytes]:
    """Frames that cover parts of earlier ones, with every way to remove them and times of their own."""
    rng = seeded("images/animations")
    palette, own = (bytes(rng.integers(0, 256, 3 * 16, dtype=np.uint8)) for _ in range(2))
    delays = (4, 50, 0, 1, 8, 12)
    files = {}
    for name, transparent in (("opaque", None), ("transparent", 5)):
        for disposal in range(4):
            frames = []
            for index, delay in enumerate(delays):
                height, width = (9, 10) if index == 0 else (3 + index % 3, 4 + index % 2)
                frame = {"rows": rng.integers(0, 16, (height, width), dtype=np.uint8), "delay": delay}
                frame |= {"at": (0, 0) if index == 0 else (index, index // 2), "transparent": transparent}
                frame |= {"disposal": disposal if index < 4 else 0, "palette": own if index == 2 else b""}
                frames.append(frame)
            files[f"{name}{disposal}.gif"] = gif((11, 10), frames, palette, background=3)
    rgb = [Image.fromarray(picture(f"animation {index}", 12, 13)) for index in range(4)]
    times = {"duration": [40, 500, 80, 120]}
    files["frames.png"] = encoded(rgb[0], "PNG", save_all=True, append_images=rgb[1:], **times)
    files["frames.webp"] = encoded(rgb[0], "WEBP", save_all=True, append_images=rgb[1:], lossless=True, **times)
    return files


def readable() -> dict[str, bytes]:
    """Files by name, most of them small; JPEG ones large enough for several blocks of colour."""
    height, width = 23, 31
    rng = seeded("images/readable")
    rgb = Image.fromarray(picture("file", height, width))
    photo = Image.fromarray(picture("photo", 45, 61))
    rgba = Image.fromarray(picture("rgba", height, width, 4))
    cmyk = Image.fromarray(picture("cmyk", height, width, 4), "CMYK")
    grey, bits, palette = rgb.convert("L"), rgb.convert("1"), rgb.quantize(16)
    wide = rng.integers(0, 65536, (height, width, 4), dtype=np.uint16)
    dim = (wide[..., 0] % 400).astype(np.uint16)
    mirrored = Image.fromarray(np.asarray(rgb)[::-1].copy())

    files = {
        "rgb.png": encoded(rgb, "PNG"),
        "rgba.png": encoded(rgba, "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "grey_alpha.png": encoded(rgba.convert("LA"), "PNG"),
        "grey_transparent.png": encoded(grey, "PNG", transparency=128),
        "rgb_transparent.png": encoded(rgb, "PNG", transparency=(0, 255, 1)),
        "bits.png": encoded(bits, "PNG"),
        "grey2.png": png(rng.integers(0, 256, (height, 8), dtype=np.uint8), 0, 2, width),
        "grey4.png": png(rng.integers(0, 256, (height, 16), dtype=np.uint8), 0, 4, width),
        "palette.png": encoded(palette, "PNG"),
        "palette_transparent.png": encoded(palette, "PNG", transparency=3),
        "palette_alpha.png": encoded(palette, "PNG", transparency=bytes(range(0, 160, 10))),
        "grey16.png": encoded(Image.fromarray(dim), "PNG"),
        "grey_alpha16.png": png(wide[..., :2].astype(">u2"), 4, 16, width),
        "rgb16.png": png(wide[..., :3].astype(">u2"), 2, 16, width),
        "rgba16.png": png(wide.astype(">u2"), 6, 16, width),
        "animated.png": encoded(rgb, "PNG", save_all=True, append_images=[mirrored]),
        "grey.jpg": encoded(grey, "JPEG"),
        "cmyk.jpg": encoded(cmyk, "JPEG", quality=90),
        "rgb.bmp": encoded(rgb, "BMP"),
        "grey.bmp": encoded(grey, "BMP"),
        "bits.bmp": encoded(bits, "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "rgba.bmp": encoded(rgba, "BMP"),
        "palette.gif": encoded(palette, "GIF"),
        "palette_transparent.gif": encoded(palette, "GIF", transparency=3),
        "animated.gif": encoded(palette, "GIF", save_all=True, append_images=[mirrored.quantize(16)]),
        "rgb.webp": encoded(photo, "WEBP", quality=70),
        "rgba.webp": encoded(rgba, "WEBP", quality=80),
        "lossless.webp": encoded(rgba, "WEBP", lossless=True),
        "animated.webp": encoded(rgb, "WEBP", save_all=True, append_images=[mirrored], lossless=True),
        "rgb.tif": encoded(rgb, "TIFF"),
        "rgba.tif": encoded(rgba, "TIFF"),
        "grey.tif": encoded(grey, "TIFF"),
        "bits.tif": encoded(bits, "TIFF"),
        "grey16.tif": encoded(Image.fromarray(dim), "TIFF"),
        "lzw.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": encoded(rgb, "TIFF", compression="packbits"),
        "cmyk.tif": encoded(cmyk, "TIFF"),
        "jpeg.tif": encoded(rgb, "TIFF", compression="jpeg"),
    }
    files |= bitmaps() | gifs()
    # The last chunk, the checksum of the pixels and the one inside of them are cut or wrong.
    for name, end in (("no_end", -12), ("no_checksum", -16), ("no_inner_checksum", -20)):
        files[f"{name}.png"] = files["rgb.png"][:end]
    files["wrong_checksum.png"] = files["rgb.png"][:-16] + bytes(4) + files["rgb.png"][-12:]
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        files[f"{name}.jpg"] = encoded(photo, "JPEG", quality=80, subsampling=subsampling)
    files["two.mpo"] = encoded(photo, "MPO", save_all=True, append_images=[rgb], quality=80)
    files["progressive.jpg"] = encoded(photo, "JPEG", quality=75, progressive=True)
    files["restarts.jpg"] = encoded(photo, "JPEG", quality=75, restart_marker_blocks=2)
    files["junk_after.jpg"] = files["420.jpg"] + b"junk"
    small = rgb.crop((0, 0, 16, 8))
    for value in range(1, 9):
        files[f"turned{value}.jpg"] = encoded(small, "JPEG", exif=turned(value))
    for form, extension in (("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
        options = {"lossless": True} if form == "WEBP" else {}
        for value in (6, 7):
            files[f"turned{value}.{extension}"] = encoded(small, form, exif=turned(value), **options)
    return files


def read(target: Path) -> None:
    tensors: Tensors = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, content in readable().items():
            path = Path(temporary) / name
            path.write_bytes(content)
            tensors[f"file.{name}"] = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
            tensors[f"rgb.{name}"] = torch.from_numpy(np.asarray(load_image(str(path))).copy())
    save_tensors(target / "files.safetensors", tensors, {"versions": json.dumps(VERSIONS, sort_keys=True)})


def animated(target: Path) -> None:
    tensors: Tensors = {}
    for name, content in animations().items():
        frames, durations = [], []
        with Image.open(io.BytesIO(content)) as image:
            for index in range(image.n_frames):
                image.seek(index)
                frames.append(np.asarray(image.convert("RGB")))
                durations.append(image.info["duration"])
        tensors[f"file.{name}"] = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
        tensors[f"frames.{name}"] = torch.from_numpy(np.stack(frames))
        tensors[f"durations.{name}"] = torch.from_numpy(np.array(durations, np.int32))
    save_tensors(target / "animations.safetensors", tensors, {"versions": json.dumps(VERSIONS, sort_keys=True)})


def generate(target: Path) -> None:
    processed(target)
    read(target)
    animated(target)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of image processing and reading.", FIXTURES / "images", generate)
