"""Writes a checkpoint whose linear layers compressed-tensors stored in 8 bits, and what both sides make of it.

`sequence` is a folder as transformers and compressed-tensors save it, with the weights of `heads/sequence_single_label`;
`dequantised.safetensors` holds the values that transformers loads from it. `rounded.safetensors` holds the same weights
rounded as ours are, in double precision: the largest weight of an output channel is 127 times its scale.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    apply_quantization_config,
)
from compressed_tensors.quantization.utils import calculate_qparams
from torch import nn
from transformers import PreTrainedModel

from common import FIXTURES, Tensors, generate_or_check, load_checkpoint, prepare_torch, save_tensors

ORIGINAL = FIXTURES / "heads" / "sequence_single_label"
IGNORED = "perceiver.decoder.decoder.final_layer"


def quantise(model: PreTrainedModel) -> ModelCompressor:
    """Rounds the weights of all linear layers except one, with compressed-tensors' own scales."""
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel"),
        input_activations=QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="token", dynamic=True),
    )
    config = QuantizationConfig(
        config_groups={"group_0": scheme},
        ignore=[IGNORED],
        format="int-quantized",
        quantization_status="initialized",
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            least, most = module.weight.amin(1, keepdim=True), module.weight.amax(1, keepdim=True)
            module.weight_scale.data, _ = calculate_qparams(least, most, module.quantization_scheme.weights)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    return compressor


def rounded(model: PreTrainedModel) -> Tensors:
    """Integers and scales of every linear layer. Scales are stored in single precision."""
    found: Tensors = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            weight = module.weight.numpy().astype(np.float64)
            scale = (np.abs(weight).max(axis=1, keepdims=True) / 127).astype(np.float32)
            values = np.rint(weight / scale).clip(-127, 127).astype(np.int8)
            found[f"{name}.weight"] = torch.from_numpy(values)
            found[f"{name}.weight_scale"] = torch.from_numpy(scale)
    return found


def generate(target: Path) -> None:
    folder = target / "sequence"
    model = load_checkpoint(ORIGINAL)
    save_tensors(target / "rounded.safetensors", rounded(model))
    compressor = quantise(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)
    loaded = load_checkpoint(folder)
    ModelCompressor.from_pretrained_model(loaded).decompress_model(loaded)
    tensors = {name: tensor for name, tensor in loaded.state_dict().items() if not name.endswith("_scale")}
    save_tensors(target / "dequantised.safetensors", tensors)


if __name__ == "__main__":
    prepare_torch()
    generate_or_check("Writes the fixtures of weights in 8 bits.", FIXTURES / "int8", generate)
