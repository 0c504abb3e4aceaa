"""Loads checkpoint folders with transformers and fails on any missing, unexpected or mismatched key.

`round_trip.py DIR... [--against ORIGINAL] [--forward INPUTS --expect OUTPUTS]`; exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from pickle import UnpicklingError

import torch
from compressed_tensors.quantization import disable_quantization
from safetensors import SafetensorError
from transformers import PreTrainedModel

from common import Tensors, load_checkpoint, load_tensors, prepare_torch, relative_difference, run


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """True if type, shape and every bit agree, including NaNs and signed zeros."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def stored_tensors(folder: Path) -> Tensors:
    """All tensors of a checkpoint as its files have them, whole or sharded."""
    tensors: Tensors = {}
    for path in folder.glob("model*.safetensors"):
        tensors |= load_tensors(path)
    for path in [] if tensors else folder.glob("pytorch_model*.bin"):
        tensors |= torch.load(path, weights_only=True)
    return tensors


def changed_tensors(folder: Path, original: Path) -> list[str]:
    """Weights and buffers (batch counters among them) that are not bit for bit the original's."""
    actual, expected = stored_tensors(folder), stored_tensors(original)
    kept = {name for name in actual.keys() & expected.keys() if same_bits(actual[name], expected[name])}
    return [f"{name} differs from the original" for name in sorted((actual.keys() | expected.keys()) - kept)]


def forward(model: PreTrainedModel, inputs: Tensors, expected: Tensors, interpolate: bool) -> Tensors:
    """Runs the model and returns those outputs that are expected.

    Layers in 8 bits take their inputs as they are, as ours do, instead of rounding them as well.
    """
    model.apply(disable_quantization)
    options = {
        "output_hidden_states": any(name.startswith("hidden_states") for name in expected),
        "output_attentions": any("attentions" in name for name in expected),
    }
    return run(model, inputs, **options, **({"interpolate_pos_encoding": True} if interpolate else {}))


def changed_outputs(actual: Tensors, expected: Tensors, tolerance: float) -> list[str]:
    """Expected outputs that transformers does not reproduce."""
    found = []
    for name, tensor in sorted(expected.items()):
        if name not in actual or actual[name].shape != tensor.shape:
            found.append(f"{name} has no counterpart of its shape")
        elif not (difference := relative_difference(tensor, actual[name])) <= tolerance:
            found.append(f"{name} differs by {difference:.2e} of the largest element")
    return found


def check(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Everything wrong with one folder."""
    if not folder.is_dir():
        return ["no such folder"]
    try:
        model = load_checkpoint(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        return [str(error).strip().splitlines()[0]]
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{folder}: {type(model).__name__}, {count} parameters")
    found = []
    if arguments.against:
        found += changed_tensors(folder, arguments.against)
    if arguments.forward:
        expected = load_tensors(arguments.expect)
        actual = forward(model, load_tensors(arguments.forward), expected, arguments.interpolate_pos_encoding)
        found += changed_outputs(actual, expected, arguments.tolerance)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Checks that transformers loads a checkpoint whole.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    parser.add_argument(
        "--against", type=Path, metavar="ORIGINAL", help="folder whose tensors must be equal bit for bit"
    )
    parser.add_argument("--forward", type=Path, metavar="INPUTS", help="safetensors file of arguments")
    parser.add_argument("--expect", type=Path, metavar="OUTPUTS", help="safetensors file of outputs")
    parser.add_argument("--interpolate-pos-encoding", action="store_true")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="relative to the largest element")
    arguments = parser.parse_args()
    if bool(arguments.forward) != bool(arguments.expect):
        parser.error("--forward and --expect go together")
    prepare_torch()
    found = [f"{folder}: {text}" for folder in arguments.folders for text in check(folder, arguments)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
