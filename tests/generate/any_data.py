"""Writes `../fixtures/any_data`: a head for any data, which transformers does not have.

- `encoder_*.safetensors`: outputs of krasserm's perceiver-io 0.11 (`pip install --no-deps --ignore-requires-python
  perceiver-io==0.11.0 fairscale` and `einops`), whose encoder may have several cross-attentions and blocks with weights
  of their own. Weights are stored under this library's keys. Without that package, the
  committed files stay as they are.
- the folders: a model, its inputs and its outputs, and its loss with the gradient in every parameter. The module here
  is written after `PerceiverForAnyData`'s documentation from transformers' layers.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PerceiverConfig

from common import (
    FIXTURES,
    Tensors,
    generate_or_check,
    integers,
    normal,
    randomize,
    reference,
    save_json,
    save_tensors,
    seeded,
)

try:
    from perceiver.model.core.modules import InputAdapter
    from perceiver.model.core.modules import PerceiverEncoder as InterleavedEncoder
except ImportError:
    InputAdapter, InterleavedEncoder = nn.Module, None

# Cross-attentions, blocks, first cross-attention shared, first block shared.
ENCODERS = {
    "encoder_one": (1, 2, False, True),
    "encoder_all_shared": (3, 3, True, True),
    "encoder_first_cross_attention": (2, 3, False, True),
    "encoder_first_block": (2, 3, True, False),
    "encoder_nothing_shared": (3, 4, False, False),
}
CHANNELS, LATENTS, LATENT_CHANNELS = 6, 3, 8

ATTENTION = {
    "q_norm": "attention.self.layernorm1",
    "kv_norm": "attention.self.layernorm2",
    "norm": "attention.self.layernorm1",
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.output.dense",
}
MLP = {"0": "layernorm", "1": "mlp.dense1", "3": "mlp.dense2"}


class Tokens(InputAdapter):
    """Tokens as they are."""

    def __init__(self) -> None:
        super().__init__(num_input_channels=CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def our_key(key: str) -> str:
    """The key of a weight of krasserm's encoder in this library."""
    if key.startswith("latent_provider"):
        return "embeddings.latents"
    part, rest = key.split(".", 1)
    repeated = "repeated_" if part.endswith("_n") else ""
    if part.startswith("cross_attn"):
        prefix = f"encoder.{repeated}cross_attention"
    else:
        layer, rest = rest.split(".", 1)
        prefix = f"encoder.{repeated}self_attends.{layer}"
    half, _, rest = rest.split(".", 2)
    name, kind = rest.rsplit(".", 1)
    return f"{prefix}.{(ATTENTION if half == '0' else MLP)[name]}.{kind}"


def write_encoder(target: Path, name: str) -> None:
    crosses, blocks, first_cross_shared, first_block_shared = ENCODERS[name]
    rng = seeded(f"any_data/{name}")
    encoder = InterleavedEncoder(
        input_adapter=Tokens(),
        num_latents=LATENTS,
        num_latent_channels=LATENT_CHANNELS,
        num_cross_attention_heads=2,
        num_cross_attention_layers=crosses,
        first_cross_attention_layer_shared=first_cross_shared,
        num_self_attention_heads=4,
        num_self_attention_layers_per_block=2,
        num_self_attention_blocks=blocks,
        first_self_attention_block_shared=first_block_shared,
        self_attention_widening_factor=2,
    ).eval()
    randomize(encoder, rng)
    inputs = normal(rng, 2, 5, CHANNELS)
    hidden = torch.tensor([[False] * 5, [False, False, True, False, True]])
    tensors = {"inputs": inputs, "kept": (~hidden).long(), "output": encoder(inputs, pad_mask=hidden)}
    weights = {our_key(key): value for key, value in encoder.state_dict().items()}
    assert len(weights) == len(encoder.state_dict())
    save_tensors(target / f"{name}.weights.safetensors", weights)
    save_tensors(target / f"{name}.safetensors", tensors)


def fourier(coordinates: torch.Tensor, bands: int, resolution: list[int]) -> torch.Tensor:
    """Features of coordinates that differ from example to example: transformers repeats the first example's."""
    features = [
        reference.generate_fourier_features(example[None], bands, resolution, concat_pos=True, sine_only=False)
        for example in coordinates
    ]
    return torch.cat(features)


class Position(nn.Module):
    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(count, channels))


class Columns(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        shape = (len(config["columns"]), config["embedding"])
        self.weight, self.bias, self.missing = (nn.Parameter(torch.zeros(shape)) for _ in range(3))
        entries = sum(len(column["categories"]) for column in config["columns"] if "categories" in column)
        if entries:
            self.categories = nn.Embedding(entries, config["embedding"])

    def forward(self, columns: list[dict[str, Any]], numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        tokens, offset = [], 0
        for place, column in enumerate(columns):
            token = self.bias[place].expand(len(numbers), -1)
            if "categories" in column:
                # A missing cell is 0, an unknown category 1.
                entry = ids[:, place]
                known = self.categories((entry - 2 + offset).clamp(min=0))
                token = token + torch.where(entry[:, None] >= 2, known, 0.0)
                token = token + torch.where(entry[:, None] == 0, self.missing[place], 0.0)
                offset += len(column["categories"])
            else:
                value = (numbers[:, place, None] - column["mean"]) / column["deviation"]
                token = token + value.nan_to_num(0) * self.weight[place]
                token = token + torch.where(value.isnan(), self.missing[place], 0.0)
            tokens.append(token)
        return torch.stack(tokens, 1)


class Modality(nn.Module):
    """The tokens of one modality."""

    def __init__(self, config: dict[str, Any], reconstructed: bool) -> None:
        super().__init__()
        self.config = config
        position = config.get("position", {})
        if config["kind"] == "table":
            self.embeddings = Columns(config)
        if config["kind"] == "tokens":
            self.embeddings = nn.Embedding(config["vocabulary"], config["embedding"])
        if position.get("kind") == "trainable":
            count = config.get("max_length") or int(np.prod(self.grid()))
            self.position_embeddings = Position(count, position["channels"])
        if reconstructed:
            self.mask = nn.Parameter(torch.zeros(1, self.content_channels()))

    def grid(self) -> list[int]:
        return [length // patch for length, patch in zip(self.config["shape"], self.config["patch"], strict=True)]

    def content_channels(self) -> int:
        if "embedding" in self.config:
            return self.config["embedding"]
        channels = self.config["channels"]
        read = len(channels["mean"]) * (2 if channels["missing"] else 1)
        return read * int(np.prod(self.config.get("patch", [1])))

    def channels(self) -> int:
        position = self.config.get("position")
        if position is None:
            return self.content_channels()
        if position["kind"] == "trainable":
            return self.content_channels() + position["channels"]
        dimensions = len(self.config.get("centre") or self.config.get("shape") or [1])
        return self.content_channels() + dimensions * (2 * position["bands"] + 1)

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        channels = self.config["channels"]
        mean, deviation = (torch.tensor(channels[name], dtype=values.dtype) for name in ("mean", "deviation"))
        return (values - mean) / deviation

    def read(self, values: torch.Tensor) -> torch.Tensor:
        found = self.normalise(values).nan_to_num(0)
        if self.config["channels"]["missing"]:
            found = torch.cat([found, values.isnan().to(found.dtype)], -1)
        return found

    def patches(self, cells: torch.Tensor) -> torch.Tensor:
        patch, grid = self.config["patch"], self.grid()
        axes = range(len(grid))
        cells = cells.reshape(len(cells), *(n for pair in zip(grid, patch, strict=True) for n in pair), -1)
        order = [0, *(1 + 2 * axis for axis in axes), *(2 + 2 * axis for axis in axes), 1 + 2 * len(grid)]
        return cells.permute(order).reshape(len(cells), int(np.prod(grid)), -1)

    def hide(self, content: torch.Tensor, masked: torch.Tensor | None) -> torch.Tensor:
        return content if masked is None else torch.where(masked[..., None], self.mask, content)

    def sequence(self, content: torch.Tensor) -> torch.Tensor:
        position, length = self.config["position"], content.shape[1]
        if position["kind"] == "trainable":
            table = self.position_embeddings.position_embeddings[:length]
        else:
            longest = self.config["max_length"]
            places = torch.arange(length, dtype=content.dtype) * 2 / longest - 1
            table = fourier(places[None, :, None], position["bands"], position.get("resolution", [longest]))[0]
        return torch.cat([content, table.expand(len(content), -1, -1)], -1)

    def forward(self, inputs: Tensors, masked: torch.Tensor | None) -> torch.Tensor:
        config = self.config
        position = config.get("position")
        match config["kind"]:
            case "series":
                return self.sequence(self.hide(self.read(inputs["values"]), masked))
            case "tokens":
                return self.sequence(self.hide(self.embeddings(inputs["values"]), masked))
            case "table":
                return self.embeddings(config["columns"], inputs["values"], inputs["categories"])
            case "points":
                # Padding counts as the origin.
                places = inputs["coordinates"].masked_fill(inputs["padding"][..., None], 0)
                if config["centred"]:
                    kept = 1 - inputs["padding"].to(places.dtype)[..., None]
                    places = places - (places * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
                else:
                    places = places - torch.tensor(config["centre"], dtype=places.dtype)
                resolution = position.get("resolution", [64] * places.shape[-1])
                positions = fourier(places / config["scale"], position["bands"], resolution)
                if "values" not in inputs:
                    return positions
                return torch.cat([self.hide(self.read(inputs["values"]), masked), positions], -1)
            case "grid":
                content = self.hide(self.patches(self.read(inputs["values"])), masked)
                if position["kind"] == "trainable":
                    table = self.position_embeddings.position_embeddings
                    return torch.cat([content, table.expand(len(content), -1, -1)], -1)
                axes = [torch.linspace(-1, 1, length, dtype=content.dtype) for length in self.grid()]
                places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
                table = fourier(places[None], position["bands"], position.get("resolution", self.grid()))
                return torch.cat([content, table.expand(len(content), -1, -1)], -1)
            case kind:
                raise ValueError(kind)


class AnyData(nn.Module):
    """The whole head, with parameters under the keys of its checkpoints."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.output = config["output"]
        names = [modality["name"] for modality in config["modalities"]]
        of_elements = self.output["kind"] in ("elements", "reconstruction")
        self.index = names.index(self.output["modality"]) if of_elements else None
        reconstructed = self.index if self.output["kind"] == "reconstruction" else None
        modalities = [Modality(m, place == reconstructed) for place, m in enumerate(config["modalities"])]
        channels = max(modality.channels() for modality in modalities)
        if len(modalities) > 1:
            channels += 1
            for modality in modalities:
                modality.padding = nn.Parameter(torch.zeros(1, channels - modality.channels()))
        own = ("modalities", "output", "architectures", "dtype")
        sizes = PerceiverConfig(**{key: value for key, value in config.items() if key not in own})
        latents = sizes.d_latents

        def layer(cross: bool, queries: int, inputs: int, heads: int, widening: int, qk: int) -> nn.Module:
            return reference.PerceiverLayer(
                sizes, is_cross_attention=cross, qk_channels=qk, v_channels=qk, num_heads=heads, q_dim=queries,
                kv_dim=inputs, widening_factor=widening, use_query_residual=True,
            )  # fmt: skip

        def cross_attention() -> nn.Module:
            return layer(True, latents, channels, sizes.num_cross_attention_heads, 1, latents)

        def block() -> nn.ModuleList:
            heads, widening = sizes.num_self_attention_heads, sizes.self_attention_widening_factor
            layers = range(sizes.num_self_attends_per_block)
            return nn.ModuleList(layer(False, latents, latents, heads, widening, latents) for _ in layers)

        self.perceiver = perceiver = nn.Module()
        perceiver.input_preprocessor = nn.Module()
        perceiver.input_preprocessor.modalities = nn.ModuleList(modalities)
        perceiver.embeddings = nn.Module()
        perceiver.embeddings.latents = nn.Parameter(torch.zeros(sizes.num_latents, latents))
        perceiver.encoder = encoder = nn.Module()
        encoder.cross_attention, encoder.self_attends = cross_attention(), block()
        self.crosses = config["num_cross_attention_layers"]
        if self.crosses > 1 and not config["first_cross_attention_layer_shared"]:
            encoder.repeated_cross_attention = cross_attention()
        if sizes.num_blocks > 1 and not config["first_self_attention_block_shared"]:
            encoder.repeated_self_attends = block()
        self.blocks = sizes.num_blocks

        match self.output["kind"]:
            case "regression":
                outputs = len(self.output["targets"])
            case "reconstruction":
                modality = config["modalities"][self.index]
                outputs = modality["vocabulary"] if "vocabulary" in modality else len(modality["channels"]["mean"])
                outputs *= int(np.prod(modality.get("patch", [1])))
            case _:
                outputs = len(config["id2label"])
        perceiver.decoder = decoder = nn.Module()
        if self.output.get("pooling") == "mean":
            decoder.classifier = nn.Linear(latents, outputs)
            return
        decoder.decoder = decoder = nn.Module()
        queries = channels if of_elements else latents
        if not of_elements:
            decoder.output_position_encodings = Position(1, latents)
        decoder.decoding_cross_attention = layer(True, queries, latents, 1, 1, queries)
        decoder.final_layer = nn.Linear(queries, outputs)

    def forward(self, inputs: list[Tensors], masked: torch.Tensor | None = None) -> Tensors:
        """Answers without units under `scores`, the rest by transformers' names."""
        part, encoder = self.perceiver.input_preprocessor, self.perceiver.encoder
        tokens, hidden = [], []
        for place, (modality, values) in enumerate(zip(part.modalities, inputs, strict=True)):
            found = modality(values, masked if place == self.index else None)
            if hasattr(modality, "padding"):
                found = torch.cat([found, modality.padding.expand(*found.shape[:2], -1)], -1)
            tokens.append(found)
            hidden.append(values.get("padding", torch.zeros(found.shape[:2], dtype=torch.bool)))
        query_tokens = None if self.index is None else tokens[self.index]
        tokens, hidden = torch.cat(tokens, 1), torch.cat(hidden, 1)
        mask = torch.where(hidden, torch.finfo(torch.float32).min, 0.0).to(tokens.dtype)[:, None, None]
        latents = self.perceiver.embeddings.latents.expand(len(tokens), -1, -1)
        outputs: Tensors = {}
        states, attentions, crosses = 0, 0, 0
        for block in range(self.blocks):
            if block < self.crosses:
                cross = getattr(encoder, "repeated_cross_attention", None) if block else None
                cross = cross or encoder.cross_attention
                latents, outputs[f"cross_attentions.{crosses}"] = cross(
                    latents, inputs=tokens, inputs_mask=mask, output_attentions=True
                )
                crosses += 1
            layers = getattr(encoder, "repeated_self_attends", None) if block else None
            for layer in layers or encoder.self_attends:
                outputs[f"hidden_states.{states}"] = latents
                latents, outputs[f"attentions.{attentions}"] = layer(latents, output_attentions=True)
                states, attentions = states + 1, attentions + 1
            outputs[f"hidden_states.{states}"] = latents
            states += 1
        decoder = self.perceiver.decoder
        if hasattr(decoder, "classifier"):
            return outputs | {"scores": decoder.classifier(latents.mean(1))[:, None]}
        decoder = decoder.decoder
        if query_tokens is None:
            query_tokens = decoder.output_position_encodings.position_embeddings.expand(len(tokens), 1, -1)
        answers, outputs[f"cross_attentions.{crosses}"] = decoder.decoding_cross_attention(
            query_tokens, inputs=latents, output_attentions=True
        )
        return outputs | {"scores": decoder.final_layer(answers)}

    def units(self, scores: torch.Tensor) -> torch.Tensor:
        scale = self.output
        if self.output["kind"] == "reconstruction":
            scale = self.config["modalities"][self.index].get("channels", {})
        if "deviation" not in scale:
            return scores
        repeats = scores.shape[-1] // len(scale["mean"])
        mean, deviation = (torch.tensor(scale[name]).repeat(repeats) for name in ("mean", "deviation"))
        return scores * deviation + mean

    def loss(self, inputs: list[Tensors], labels: torch.Tensor) -> torch.Tensor:
        kind = self.output["kind"]
        masked = labels.bool() if kind == "reconstruction" else None
        scores = self(inputs, masked)["scores"]
        match kind:
            case "classification":
                return functional.cross_entropy(scores[:, 0], labels)
            case "multi-label":
                return functional.binary_cross_entropy_with_logits(scores[:, 0], labels)
            case "elements":
                return functional.cross_entropy(scores.flatten(0, 1), labels.flatten())
            case "regression":
                mean, deviation = (torch.tensor(self.output[name]).double() for name in ("mean", "deviation"))
                return functional.mse_loss(scores[:, 0], (labels - mean) / deviation)
            case _:
                modality = self.perceiver.input_preprocessor.modalities[self.index]
                values = inputs[self.index]["values"]
                if "padding" in inputs[self.index]:
                    masked = masked & ~inputs[self.index]["padding"]
                if modality.config["kind"] == "tokens":
                    return functional.cross_entropy(scores[masked], values[masked])
                wanted = modality.normalise(values)
                if modality.config["kind"] == "grid":
                    wanted = modality.patches(wanted)
                return ((scores - wanted)[masked[..., None] & ~wanted.isnan()] ** 2).mean()


SIZES = {
    "architectures": ["PerceiverForAnyData"],
    "model_type": "perceiver",
    "dtype": "float32",
    "num_latents": 3,
    "d_latents": 8,
    "num_blocks": 1,
    "num_self_attends_per_block": 1,
    "num_self_attention_heads": 2,
    "num_cross_attention_heads": 2,
    "cross_attention_shape_for_attention": "q",
    "attention_probs_dropout_prob": 0.0,
    "num_cross_attention_layers": 1,
    "first_cross_attention_layer_shared": False,
    "first_self_attention_block_shared": True,
}
SERIES = {
    "name": "sensors", "kind": "series", "position": {"kind": "fourier", "bands": 2}, "max_length": 6,
    "channels": {"mean": [1.5, -20.0], "deviation": [0.5, 8.0], "missing": True},
}  # fmt: skip
TABLE = {
    "name": "row", "kind": "table", "embedding": 5,
    "columns": [
        {"name": "age", "mean": 40.0, "deviation": 12.0},
        {"name": "city", "mean": 0.0, "deviation": 1.0, "categories": ["Oslo", "Rome", "Wien"]},
        {"name": "size", "mean": -1.0, "deviation": 0.25},
        {"name": "colour", "mean": 0.0, "deviation": 1.0, "categories": ["red"]},
    ],
}  # fmt: skip
GRID = {
    "name": "image", "kind": "grid", "position": {"kind": "fourier", "bands": 1}, "shape": [4, 6], "patch": [2, 3],
    "channels": {"mean": [0.5], "deviation": [0.25], "missing": False},
}  # fmt: skip
TOKENS = {
    "name": "text", "kind": "tokens", "position": {"kind": "trainable", "channels": 3}, "embedding": 4,
    "vocabulary": 9, "max_length": 5,
}  # fmt: skip
POINTS = {
    "name": "cloud", "kind": "points", "position": {"kind": "fourier", "bands": 2, "resolution": [8, 4]},
    "centred": True, "centre": [0.0, 0.0], "scale": 2.5,
    "channels": {"mean": [3.0], "deviation": [2.0], "missing": False},
}  # fmt: skip
VOLUME = {
    "name": "volume", "kind": "grid", "position": {"kind": "trainable", "channels": 3}, "shape": [2, 4, 2],
    "patch": [1, 2, 2], "channels": {"mean": [0.5, -1.0], "deviation": [0.25, 3.0], "missing": True},
}  # fmt: skip
OUTLINE = {
    "name": "outline", "kind": "points", "position": {"kind": "fourier", "bands": 2}, "centred": False,
    "centre": [3.0, -1.0, 0.5], "scale": 4.0, "channels": {"mean": [], "deviation": [], "missing": False},
}  # fmt: skip
WAVE = {
    "name": "wave", "kind": "grid", "position": {"kind": "fourier", "bands": 2}, "shape": [8], "patch": [2],
    "channels": {"mean": [0.1], "deviation": [0.5], "missing": False},
}  # fmt: skip
SHORT_SERIES = SERIES | {"max_length": 3}
SEVERAL_BLOCKS = {"num_blocks": 3, "num_cross_attention_layers": 2, "first_self_attention_block_shared": False}
LABELS = {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}

CASES: dict[str, dict[str, Any]] = {
    "several": SIZES
    | LABELS
    | SEVERAL_BLOCKS
    | {"modalities": [SERIES, TABLE, GRID, TOKENS], "output": {"kind": "classification", "pooling": "mean"}},
    "table_regression": SIZES
    | {
        "modalities": [TABLE],
        "output": {
            "kind": "regression", "pooling": "query", "targets": ["price", "area"],
            "mean": [100.0, 3.0], "deviation": [25.0, 0.5],
        },
    },  # fmt: skip
    "point_labels": SIZES | LABELS | {"modalities": [POINTS], "output": {"kind": "elements", "modality": "cloud"}},
    "volume_and_outline": SIZES
    | LABELS
    | {"modalities": [VOLUME, OUTLINE], "output": {"kind": "multi-label", "pooling": "query"}},
    "step_labels": SIZES
    | LABELS
    | {"modalities": [SHORT_SERIES, TABLE], "output": {"kind": "elements", "modality": "sensors"}},
    "token_reconstruction": SIZES
    | {"modalities": [TOKENS], "output": {"kind": "reconstruction", "modality": "text", "mask_probability": 0.2}},
    "wave_reconstruction": SIZES
    | {"modalities": [WAVE], "output": {"kind": "reconstruction", "modality": "wave", "mask_probability": 0.5}},
    "series_reconstruction": SIZES
    | {"modalities": [SERIES], "output": {"kind": "reconstruction", "modality": "sensors", "mask_probability": 0.5}},
}  # fmt: skip


def ends(length: int, hidden: int) -> torch.Tensor:
    """Padding of two examples: the second one lacks `hidden` elements."""
    padding = torch.zeros(2, length, dtype=torch.bool)
    padding[1, length - hidden :] = True
    return padding


def inputs_of(rng: np.random.Generator, config: dict[str, Any]) -> Tensors:
    match config["kind"]:
        case "series":
            values = normal(rng, 2, 5, 2) * torch.tensor([0.5, 8.0]) + torch.tensor([1.5, -20.0])
            values[0, 1, 0] = values[1, 0] = torch.nan
            return {"values": values, "padding": ends(5, 2)}
        case "table":
            values = normal(rng, 2, 4) * 10
            values[1, 0] = torch.nan
            return {"values": values, "categories": torch.tensor([[0, 4, 0, 1], [0, 0, 0, 2]])}
        case "grid":
            channels = len(config["channels"]["mean"])
            values = normal(rng, 2, int(np.prod(config["shape"])), channels)
            if config["channels"]["missing"]:
                values[1, 3, 0] = torch.nan
            return {"values": values}
        case "tokens":
            return {"values": integers(rng, 2, 4, high=9), "padding": ends(4, 1)}
        case _ if not config["channels"]["mean"]:
            return {"coordinates": normal(rng, 2, 4, 3, std=4), "padding": ends(4, 1)}
        case _:
            places = {"values": normal(rng, 2, 5, 1, std=3), "coordinates": normal(rng, 2, 5, 2, std=4)}
            return places | {"padding": ends(5, 2)}


def labels_of(rng: np.random.Generator, kind: str, elements: int) -> torch.Tensor:
    match kind:
        case "classification":
            return torch.tensor([2, 0])
        case "regression":
            return normal(rng, 2, 2) * torch.tensor([25.0, 0.5]) + torch.tensor([100.0, 3.0])
        case "multi-label":
            return torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        case "elements":
            return torch.tensor([[0, 2, 1, -100, 1], [2, 0, 1, -100, -100]])
        case _:
            return torch.tensor([[1, 1, 0, 0, 1], [0, 1, 1, 1, 0]])[:, :elements]


def double(tensors: Tensors) -> Tensors:
    return {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}


def write_case(target: Path, name: str) -> None:
    config = CASES[name]
    rng = seeded(f"any_data/{name}")
    model = AnyData(config).eval()
    randomize(model, rng)
    inputs = [inputs_of(rng, modality) for modality in config["modalities"]]
    outputs = model(inputs)
    labels = labels_of(rng, config["output"]["kind"], outputs["scores"].shape[1])
    outputs["logits"] = model.units(outputs.pop("scores"))
    flat = {}
    for modality, values in zip(config["modalities"], inputs, strict=True):
        for part, value in values.items():
            suffix = "" if part == "values" else f".{part}"
            flat[f"inputs.{modality['name']}{suffix}"] = value.to(torch.uint8) if value.dtype == torch.bool else value
    folder = target / name
    save_json(folder / "config.json", config)
    save_tensors(folder / "model.safetensors", model.state_dict(), {"format": "pt"})
    save_tensors(folder / "inputs.safetensors", flat)
    save_tensors(folder / "outputs.safetensors", outputs)

    model.double()
    with torch.enable_grad():
        labels_double = double({"labels": labels})["labels"]
        loss = model.loss([double(values) for values in inputs], labels_double)
        loss.backward()
    training = {"labels": labels, "loss": loss.float()}
    for key, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        training[f"gradients.{key}"] = gradient.float()
    save_tensors(folder / "training.safetensors", training)


def generate(target: Path) -> None:
    for name in ENCODERS:
        if InterleavedEncoder is None:
            print(f"{name}: not checked, perceiver-io is not installed")
            for end in ("", ".weights"):
                file = f"{name}{end}.safetensors"
                target.mkdir(exist_ok=True)
                shutil.copyfile(FIXTURES / "any_data" / file, target / file)
        else:
            write_encoder(target, name)
    for name in CASES:
        write_case(target, name)


if __name__ == "__main__":
    description = "Writes models for any data, and encoders with several cross-attentions."
    generate_or_check(description, FIXTURES / "any_data", generate)
