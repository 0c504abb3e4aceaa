"""Writes random checkpoints of the six published configurations and of two that this project trains, with inputs and the
outputs of transformers.

`full_size.py make HEAD DIR` fills DIR (some hundred MB, so outside the repository) and prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PerceiverConfig, PreTrainedModel

from common import (
    Tensors,
    integers,
    load_checkpoint,
    normal,
    prepare_torch,
    randomize,
    relative_difference,
    run,
    save_tensors,
    uniform,
)

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

# Published weights are far narrower; with these, tens of layers do not amplify rounding.
GAIN = 0.8


@dataclass(frozen=True)
class Published:
    """A configuration as published or trained here, with its number of parameters."""

    head: str
    parameters: int
    config: dict[str, Any]
    inputs: Callable[[np.random.Generator], Tensors]


def text(rng: np.random.Generator) -> Tensors:
    mask = (torch.arange(2048) < 1500).long()[None]
    return {"inputs": integers(rng, 1, 2048, high=262) * mask, "attention_mask": mask}


def photo(rng: np.random.Generator) -> Tensors:
    return {"inputs": normal(rng, 1, 3, 224, 224)}


def short_text(rng: np.random.Generator) -> Tensors:
    return {"inputs": integers(rng, 1, 256, high=262)}


def small_photo(rng: np.random.Generator) -> Tensors:
    return {"inputs": normal(rng, 1, 3, 28, 28)}


def recipe(name: str) -> dict[str, Any]:
    """The configuration that a recipe trains."""
    return tomllib.loads((RECIPES / f"{name}.toml").read_text())["model"]


def frame_pair(rng: np.random.Generator) -> Tensors:
    return {"inputs": uniform(rng, 1, 2, 27, 368, 496, low=-1, high=1)}


def video(rng: np.random.Generator) -> Tensors:
    """The first of the 128 chunks in which a video is decoded."""
    return {
        "inputs.image": uniform(rng, 1, 16, 3, 224, 224, low=0, high=1),
        "inputs.audio": uniform(rng, 1, 30720, 1, low=-1, high=1),
        "inputs.label": torch.zeros(1, 700),
        "subsampled_output_points.image": torch.arange(16 * 224 * 224 // 128),
        "subsampled_output_points.audio": torch.arange(30720 // 16 // 128),
    }


VISION: dict[str, Any] = {
    "num_latents": 512,
    "d_latents": 1024,
    "num_blocks": 8,
    "num_self_attends_per_block": 6,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 1,
    "num_labels": 1000,
}
PUBLISHED = {
    "language": Published(
        "PerceiverForMaskedLM",
        201_108_230,
        {"qk_channels": 256, "v_channels": 1280},
        text,
    ),
    "vision-learned": Published(
        "PerceiverForImageClassificationLearned",
        62_255_848,
        VISION | {"d_model": 512, "image_size": 224},
        photo,
    ),
    "vision-fourier": Published(
        "PerceiverForImageClassificationFourier",
        48_440_627,
        VISION | {"d_model": 261},
        photo,
    ),
    "vision-conv": Published(
        "PerceiverForImageClassificationConvProcessing",
        48_646_522,
        VISION | {"d_model": 322},
        photo,
    ),
    "optical-flow": Published(
        "PerceiverForOpticalFlow",
        41_057_134,
        {
            "num_latents": 2048,
            "d_latents": 512,
            "d_model": 322,
            "num_self_attends_per_block": 24,
            "num_self_attention_heads": 16,
            "num_cross_attention_heads": 1,
        },
        frame_pair,
    ),
    "multimodal": Published(
        "PerceiverForMultimodalAutoencoding",
        19_858_855,
        {
            "num_latents": 784,
            "d_latents": 512,
            "d_model": 704,
            "num_self_attends_per_block": 8,
            "num_self_attention_heads": 8,
            "num_cross_attention_heads": 1,
            "num_labels": 700,
        },
        video,
    ),
    "small-language": Published(
        "PerceiverForMaskedLM",
        1_531_398,
        recipe("language"),
        short_text,
    ),
    "small-fourier": Published(
        "PerceiverForImageClassificationFourier",
        769_428,
        recipe("fashion-mnist") | {"num_labels": 10},
        small_photo,
    ),
}


def build(published: Published, rng: np.random.Generator) -> PreTrainedModel:
    model = getattr(transformers, published.head)(PerceiverConfig(**published.config))
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != published.parameters:
        raise AssertionError(f"{published.head} has {count} parameters, not {published.parameters}")
    randomize(model, rng, gain=GAIN)
    return model


def noise(model: PreTrainedModel, tensors: Tensors, single: Tensors) -> float:
    """How far single precision is from double, relative to the largest output."""
    wide = {name: item.double() if item.is_floating_point() else item for name, item in tensors.items()}
    double = run(model.double(), wide)
    return max(relative_difference(single[name], double[name]) for name in double)


def make(name: str, folder: Path, seed: int, measure_noise: bool) -> dict[str, Any]:
    """Writes the checkpoint, loads it back as a user would, and runs it."""
    published = PUBLISHED[name]
    rng = np.random.default_rng(seed)
    build(published, rng).save_pretrained(folder)
    model = load_checkpoint(folder)
    tensors = published.inputs(rng)
    save_tensors(folder / "inputs.safetensors", tensors)
    start = time.perf_counter()
    outputs = run(model, tensors)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save_tensors(folder / "outputs.safetensors", outputs)
    report = {
        "head": name,
        "class": published.head,
        "parameters": published.parameters,
        "forward_seconds": round(seconds, 2),
        "peak_mib": round(peak),
        "threads": torch.get_num_threads(),
        "outputs": {key: list(item.shape) for key, item in outputs.items()},
    }
    return report | ({"noise": noise(model, tensors, outputs)} if measure_noise else {})


def main() -> None:
    parser = argparse.ArgumentParser(description="Random checkpoints of the published configurations.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make", help="write checkpoint, inputs and outputs to a folder")
    command.add_argument("head", choices=PUBLISHED)
    command.add_argument("folder", type=Path, metavar="DIR")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--noise", action="store_true", help="also run in double precision and report the difference")
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    prepare_torch()
    torch.set_num_threads(threads)
    print(json.dumps(make(arguments.head, arguments.folder, arguments.seed, arguments.noise)))


if __name__ == "__main__":
    main()
