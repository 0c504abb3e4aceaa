"""Writes tests/fixtures/flow: transformers' optical flow over tiles, blended by NumPy, and flow in pictures and files.

`flow.py` regenerates the folder, `flow.py --check` compares it with a fresh copy.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from transformers import PerceiverConfig, PerceiverForOpticalFlow

from common import FIXTURES, generate_or_check, save_tensors, seeded

# The weights are those of a case of heads.py: they do not depend on the size of the tiles.
CHECKPOINT = FIXTURES / "heads" / "optical_flow"
TILE = (42, 44)
OVERLAP = 20

# The reference's tiles leave frames of most other sizes this small.
FRAMES = {"nine_tiles": (65, 71), "one_row": (42, 71), "one_tile": (42, 44)}

WHEEL = (("red", 15), ("yellow", 6), ("green", 4), ("cyan", 11), ("blue", 13), ("magenta", 6))


def frame(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def starts(side: int, tile: int) -> list[int]:
    """As DeepMind's notebook has it, one place once."""
    found = list(range(0, side, tile - OVERLAP))
    found[-1] = side - tile
    if max(found) + tile > side:
        raise AssertionError(f"tiles of {tile} leave a side of {side}")
    return sorted(set(found))


def patches(pixels: np.ndarray) -> np.ndarray:
    """The 3x3 patch around every pixel, `[27, height, width]`, channels in the order (row, column, colour)."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.concatenate(shifted, axis=-1).transpose(2, 0, 1)


def weights(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.minimum.reduce([x + 1, width - x, y + 1, height - y]).astype(np.float64)[..., None]


def flow(model: PerceiverForOpticalFlow, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height, width, _ = first.shape
    rows, columns = TILE
    frames = [image.astype(np.float32) / 255 * 2 - 1 for image in (first, second)]
    total, weight = np.zeros((height, width, 2)), np.zeros((height, width, 1))
    for y in starts(height, rows):
        for x in starts(width, columns):
            area = np.s_[y : y + rows, x : x + columns]
            inputs = np.stack([patches(image[area]) for image in frames])
            answer = model(inputs=torch.from_numpy(inputs)[None]).logits[0].numpy() * 20
            total[area] += answer * weights(rows, columns)
            weight[area] += weights(rows, columns)
    return (total / weight).astype(np.float32)


def pairs(target: Path) -> None:
    config = PerceiverConfig.from_pretrained(CHECKPOINT, train_size=list(TILE))
    model = PerceiverForOpticalFlow.from_pretrained(CHECKPOINT, config=config, attn_implementation="eager").eval()
    for name, size in FRAMES.items():
        rng = seeded(name)
        first, second = frame(rng, *size), frame(rng, *size)
        tensors = {"first": first, "second": second, "flow": flow(model, first, second)}
        tensors = {key: torch.from_numpy(value) for key, value in tensors.items()}
        save_tensors(target / f"{name}.safetensors", tensors, {"train_size": str(list(TILE))})


def fused(a: np.ndarray, b: np.ndarray | np.float32, c: np.ndarray | np.float32) -> np.ndarray:
    """a · b + c with one rounding."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def hsv_picture(motion: np.ndarray) -> np.ndarray:
    """The notebook's `visualize_flow` in RGB, in the steps of OpenCV's vectorised `cartToPolar` and `cvtColor`.

    OpenCV is not needed to run this. Its versions 4.12 and 5.0 gave these numbers: hue and saturation of 524,288
    random vectors, and RGB of all 180 x 256 hues and saturations. (The last columns of a picture whose width is no
    multiple of its vectors' go through its scalar code, which rounds where this truncates.)
    """
    single = np.float32
    x, y = motion[..., 0], motion[..., 1]
    magnitude = np.sqrt(fused(x, x, y * y))
    terms = (0.9997878412794807, -0.3258083974640975, 0.1555786518463281, -0.04432655554792128)
    p1, p3, p5, p7 = (single(term) * single(180 / np.pi) for term in terms)
    across, down = np.abs(x), np.abs(y)
    ratio = np.minimum(across, down) / (np.maximum(across, down) + single(np.finfo(np.float64).eps))
    square = ratio * ratio
    angle = fused(fused(fused(square, p7, p5), square, p3), square, p1) * ratio
    angle = np.where(across >= down, angle, single(90) - angle)
    angle = np.where(x < 0, single(180) - angle, angle)
    angle = np.where(y < 0, single(360) - angle, angle) * single(np.pi / 180)
    hue = (angle / single(np.pi) / 2 * 180).astype(np.uint8)
    saturation = np.clip(magnitude * 255 / 24, 0, 255).astype(np.uint8)

    turn = hue.astype(single) * single(6 / 180)
    sector = turn.astype(int)
    part = turn - sector.astype(single)
    grey = saturation.astype(single) * (single(1) / single(255))
    one = np.ones_like(grey)
    levels = np.stack([one, one - grey, fused(-grey, part, one), fused(-grey, one - part, one)], -1)
    order = np.array([[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]])
    return (np.take_along_axis(levels, order[sector], -1) * single(255)).astype(np.uint8)


def colour_wheel() -> np.ndarray:
    """`makecolorwheel` of Middlebury's colorcode.cpp."""
    corners = {"red": (1, 0, 0), "yellow": (1, 1, 0), "green": (0, 1, 0)}
    corners |= {"cyan": (0, 1, 1), "blue": (0, 0, 1), "magenta": (1, 0, 1)}
    names = [name for name, _ in WHEEL]
    colours = []
    for (name, steps), following in zip(WHEEL, names[1:] + names[:1], strict=True):
        for step in range(steps):
            rise = 255 * step // steps
            pairs_of_ends = zip(corners[name], corners[following], strict=True)
            colours.append([255 * a + (b - a) * rise for a, b in pairs_of_ends])
    return np.array(colours) / 255


def middlebury_picture(motion: np.ndarray, largest: float) -> np.ndarray:
    """`computeColor` of Middlebury's colorcode.cpp, in double precision."""
    wheel = colour_wheel()
    x, y = motion[..., 0].astype(np.float64), motion[..., 1].astype(np.float64)
    radius = np.sqrt(x * x + y * y)[..., None] / largest
    place = (np.arctan2(-y, -x) / np.pi + 1) / 2 * (len(wheel) - 1)
    index = place.astype(int)
    part = (place - index)[..., None]
    colour = (1 - part) * wheel[index] + part * wheel[(index + 1) % len(wheel)]
    colour = np.where(radius <= 1, 1 - radius * (1 - colour), colour * 0.75)
    return (255 * colour).astype(np.uint8)


def pictures(target: Path) -> None:
    rng = seeded("pictures")
    motion = (rng.standard_normal((30, 47, 2)) * 12).astype(np.float32)
    motion[0, :5] = [[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3]]
    largest = 30.0
    tensors = {
        "flow": motion,
        "hsv": hsv_picture(motion),
        "middlebury": middlebury_picture(motion, largest),
        "middlebury.largest": np.float32([largest]),
    }
    save_tensors(target / "pictures.safetensors", {key: torch.from_numpy(value) for key, value in tensors.items()})


def png(samples: np.ndarray) -> bytes:
    """16-bit RGB, which Pillow does not write."""
    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def truths(target: Path) -> None:
    """Ground truth as KITTI's and Middlebury's files hold it, and how far an estimate is from it."""
    rng = seeded("truths")
    height, width = 11, 13
    samples = rng.integers(2**15 - 64 * 200, 2**15 + 64 * 200, (height, width, 3))
    samples[..., 2] = rng.integers(0, 2, (height, width))
    truth = ((samples[..., :2] - 2**15) / 64).astype(np.float32)
    known = samples[..., 2] > 0
    flo = truth.copy()
    flo[~known] = 1e10
    estimate = truth + (rng.standard_normal(truth.shape) * 5).astype(np.float32)
    distance = np.linalg.norm((estimate - truth).astype(np.float64), axis=-1)
    length = np.linalg.norm(truth.astype(np.float64), axis=-1)
    outlier = (distance > 3) & (distance > 0.05 * length)
    tensors = {
        "png": np.frombuffer(png(samples), np.uint8).copy(),
        "flo": np.frombuffer(b"PIEH" + struct.pack("<ii", width, height) + flo.tobytes(), np.uint8).copy(),
        "flow": np.where(known[..., None], truth, np.float32(0)),
        "known": known.astype(np.uint8),
        "estimate": estimate,
        "end_point_error": np.float32([distance[known].mean()]),
        "outliers": np.float32([outlier[known].mean()]),
    }
    save_tensors(target / "truths.safetensors", {key: torch.from_numpy(value) for key, value in tensors.items()})


def generate(target: Path) -> None:
    pairs(target)
    pictures(target)
    truths(target)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of optical flow.", FIXTURES / "flow", generate)
