"""Writes a published head as ONNX, for `cargo xtask bench compare`: `export.py FOLDER OUT.onnx [--batch N]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "generate"))

from common import load_checkpoint, load_tensors, nest, prepare_torch


class Flat(torch.nn.Module):
    """A head that takes tensors in an order and gives its answers alone."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = self.model(**nest(dict(zip(self.names, tensors, strict=True)))).logits
        return tuple(logits.values()) if isinstance(logits, dict) else (logits,)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a published head as ONNX.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()

    prepare_torch()
    inputs = {
        name: item
        if name.startswith("subsampled_output_points")
        else item.repeat(arguments.batch, *[1] * (item.dim() - 1))
        for name, item in load_tensors(arguments.folder / "inputs.safetensors").items()
    }
    # The autoencoder draws masks with probabilities of 0 and 1 alone; exported as drawing, they come out otherwise.
    torch.bernoulli = lambda probabilities: probabilities
    model = Flat(load_checkpoint(arguments.folder), list(inputs))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model, tuple(inputs.values()), arguments.output, input_names=list(inputs), dynamo=True, external_data=True
    )


if __name__ == "__main__":
    main()
