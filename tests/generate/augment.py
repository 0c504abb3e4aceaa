"""Writes what torchvision's RandAugment makes of an image with each of its operations."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from common import FIXTURES, Tensors, generate_or_check, save_tensors
from images import VERSIONS, picture
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

# Off the middle and at the ends of the scale.
MAGNITUDES = (0, 7, 16, 30)


def write(target: Path) -> None:
    # Without the darkest and brightest values, so that stretching shows.
    image = torch.from_numpy(picture("augment", 17, 22) // 2 + 40).permute(2, 0, 1).contiguous()
    height, width = image.shape[1:]
    space = RandAugment()._augmentation_space(31, (height, width))
    tensors: Tensors = {"image": image.permute(1, 2, 0).contiguous()}
    cases = []
    for name, (magnitudes, signed) in space.items():
        for magnitude in MAGNITUDES if magnitudes.ndim else (0,):
            value = float(magnitudes[magnitude] if magnitudes.ndim else 0.0)
            for sign in (1, -1) if signed else (1,):
                made = _apply_op(image, name, sign * value, InterpolationMode.BILINEAR, None)
                key = f"{name}.{magnitude}.{sign}"
                tensors[key] = made.permute(1, 2, 0).contiguous()
                cases.append({"key": key, "operation": name, "magnitude": magnitude, "negative": sign < 0})
    metadata = {"versions": json.dumps(VERSIONS, sort_keys=True), "cases": json.dumps(cases)}
    save_tensors(target / "rand_augment.safetensors", tensors, metadata)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of augmentation.", FIXTURES / "augment", write)
