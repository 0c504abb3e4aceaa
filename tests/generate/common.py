"""Code shared by all generators: seeded wide weights, tensor files, and comparison with committed files."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PerceiverConfig, PreTrainedModel
from transformers.activations import XIELUActivation
from transformers.models.perceiver import modeling_perceiver as reference

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

# Largest difference allowed between machines, relative to the largest element of the tensor.
TOLERANCE = 1e-6

Tensors = dict[str, torch.Tensor]


def prepare_torch() -> None:
    """Makes results independent of the number of cores and keeps the terminal quiet."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def seeded(name: str) -> np.random.Generator:
    """The random source of one case: it depends on the name alone, so cases can be added in any order."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(rng: np.random.Generator, *shape: int, std: float = 1.0, mean: float = 0.0) -> torch.Tensor:
    """Float32 normal values. NumPy's stream is the same on every machine, torch's is not promised to be."""
    return torch.from_numpy((mean + std * rng.standard_normal(shape)).astype(np.float32))


def uniform(rng: np.random.Generator, *shape: int, low: float, high: float) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def integers(rng: np.random.Generator, *shape: int, low: int = 0, high: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(low, high, shape))


def randomize(model: nn.Module, rng: np.random.Generator, gain: float = 1.2) -> None:
    """Overwrites every parameter and buffer with wide values, so that none can be swapped or left out unnoticed.

    Matrices have standard deviation `gain / sqrt(fan_in)`, which keeps activations near one.
    """
    written: set[str] = set()
    for prefix, module in model.named_modules():
        for name, tensor in _own_tensors(module):
            key = f"{prefix}.{name}" if prefix else name
            tensor.copy_(_wide(module, name, tensor, rng, gain))
            written.add(key)
    forgotten = set(model.state_dict()) - written
    if forgotten:
        raise AssertionError(f"not randomized: {sorted(forgotten)}")


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _wide(module: nn.Module, name: str, tensor: torch.Tensor, rng: np.random.Generator, gain: float) -> torch.Tensor:
    shape = tuple(tensor.shape)
    if isinstance(module, nn.Linear | nn.Conv2d) and name == "weight":
        return normal(rng, *shape, std=gain / float(np.sqrt(np.prod(shape[1:]))))
    if isinstance(module, nn.LayerNorm | nn.BatchNorm2d) and name == "weight":
        return normal(rng, *shape, std=0.3, mean=1.0)
    if isinstance(module, nn.PReLU):
        return uniform(rng, *shape, low=0.1, high=0.6)
    if isinstance(module, XIELUActivation):
        return tensor + uniform(rng, *shape, low=0.2, high=0.5) if name.startswith("alpha") else tensor
    if name == "running_var":
        return uniform(rng, *shape, low=0.5, high=2.0)
    if name == "num_batches_tracked":
        return torch.tensor(1234)
    return normal(rng, *shape, std=0.3 if name in ("bias", "running_mean") else 0.5)


def flatten(output: Mapping[str, Any]) -> Tensors:
    """Tensors of a transformers output by name: `logits`, `logits.image`, `hidden_states.0`, ..."""
    flat: Tensors = {}
    for name, value in output.items():
        if isinstance(value, torch.Tensor):
            flat[name] = value
        elif isinstance(value, Mapping):
            flat |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            flat |= {f"{name}.{index}": item for index, item in enumerate(value)}
    return flat


def nest(tensors: Tensors) -> dict[str, Any]:
    """The inverse of `flatten` for arguments: `inputs.image` is the item `image` of the dictionary `inputs`."""
    nested: dict[str, Any] = {}
    for name, tensor in tensors.items():
        group, dot, key = name.partition(".")
        if dot:
            nested.setdefault(group, {})[key] = tensor
        else:
            nested[name] = tensor
    return nested


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(copies, path, metadata=dict(metadata) if metadata else None)


def load_tensors(path: Path) -> Tensors:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def load_metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def save_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def load_checkpoint(folder: Path, dtype: torch.dtype | str = torch.float32) -> PreTrainedModel:
    """The head that config.json names, as a user gets it; complains about any key that does not fit."""
    config = PerceiverConfig.from_pretrained(folder)
    head = getattr(transformers, config.architectures[0])
    model, info = head.from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    if found := {name: keys for name, keys in info.items() if keys}:
        raise ValueError(f"transformers reports {found}")
    return model.eval()


def run(model: PreTrainedModel, tensors: Tensors, **options: Any) -> Tensors:
    """The outputs of `forward` by flat name, for arguments by flat name."""
    return flatten(model(**nest(tensors), **options))


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference of two tensors over the largest magnitude of the expected one.

    What is expected not to be finite has to be the same.
    """
    finite = expected.isfinite()
    if not torch.allclose(actual[~finite], expected[~finite], equal_nan=True):
        return np.inf
    actual, expected = actual[finite], expected[finite]
    if expected.numel() == 0:
        return 0.0
    scale = expected.double().abs().max().item() or 1.0
    return (actual.double() - expected.double()).abs().max().item() / scale


def differences(actual: Tensors, expected: Tensors, tolerance: float = TOLERANCE) -> list[str]:
    """Differences between two sets of tensors, one sentence each. Integers must be equal."""
    found = [f"{name} is missing" for name in sorted(expected.keys() - actual.keys())]
    found += [f"{name} is unexpected" for name in sorted(actual.keys() - expected.keys())]
    for name in sorted(expected.keys() & actual.keys()):
        one, other = actual[name], expected[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            found.append(f"{name} is {one.dtype}{list(one.shape)}, not {other.dtype}{list(other.shape)}")
        elif not other.is_floating_point():
            found += [] if torch.equal(one, other) else [f"{name} differs"]
        elif not (difference := relative_difference(one, other)) <= tolerance:
            found.append(f"{name} differs by {difference:.2e}")
    return found


def _file_differences(actual: Path, expected: Path) -> list[str]:
    if actual.suffix == ".safetensors":
        found = differences(load_tensors(actual), load_tensors(expected))
        return found if load_metadata(actual) == load_metadata(expected) else [*found, "metadata differs"]
    if actual.suffix == ".json":
        same = json.loads(actual.read_text()) == json.loads(expected.read_text())
        return [] if same else ["content differs"]
    if actual.read_bytes() == expected.read_bytes():
        return []
    if "hostile" in actual.parent.name:
        return ["bytes differ"]
    return differences(torch.load(actual, weights_only=True), torch.load(expected, weights_only=True))


def folder_differences(actual: Path, expected: Path) -> list[str]:
    """Differences between two folders of fixtures, file by file."""
    names = {folder: {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} for folder in (actual, expected)}
    found = [f"{name} is not generated" for name in sorted(names[expected] - names[actual])]
    found += [f"{name} is not committed" for name in sorted(names[actual] - names[expected])]
    for name in sorted(names[actual] & names[expected]):
        found += [f"{name}: {text}" for text in _file_differences(actual / name, expected / name)]
    return found


def generate_or_check(description: str, target: Path, generate: Callable[[Path], None]) -> None:
    """The command line of a generator: writes `target`, or with `--check` compares it with a fresh copy."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    prepare_torch()
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / target.name
        generate(fresh)
        if arguments.check:
            found = folder_differences(fresh, target)
            print("\n".join(found) or f"{target.name}: as committed")
            sys.exit(1 if found else 0)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh, target, copy_function=shutil.copyfile)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target.name}: {size / 1e6:.2f} MB")


__all__ = [
    "FIXTURES",
    "TOLERANCE",
    "Tensors",
    "differences",
    "flatten",
    "generate_or_check",
    "integers",
    "load_checkpoint",
    "load_tensors",
    "nest",
    "normal",
    "prepare_torch",
    "randomize",
    "reference",
    "relative_difference",
    "run",
    "save_json",
    "save_tensors",
    "seeded",
    "uniform",
]
