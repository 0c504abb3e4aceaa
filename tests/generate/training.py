"""Writes `../fixtures/training`: the loss of every head and its gradient in every parameter.

Weights and inputs, except those that only training has, are those of `../fixtures/heads`. Models are in training mode
without dropout, in double precision. Losses are transformers' own if it has one, otherwise PyTorch's functions.

A gradient is stored as 16-bit fractions of its largest value, with an error of at most 1.6e-5 of that value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from common import (
    FIXTURES,
    Tensors,
    generate_or_check,
    integers,
    load_checkpoint,
    load_tensors,
    nest,
    normal,
    save_tensors,
    seeded,
    uniform,
)

# The loss of a model's answers to the inputs of its case and to what is only in training.
Loss = Callable[[PreTrainedModel, Tensors, Tensors], torch.Tensor]

LEVELS = 2**15 - 1

# Values that mark unknown flow in real files.
UNKNOWN = torch.tensor([torch.nan, torch.inf, 1e10, -torch.inf])

DISTANCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "end_point": lambda difference: difference.norm(dim=-1),
    "absolute": lambda difference: difference.abs().sum(-1),
    "robust": lambda difference: (difference.abs().sum(-1) + 0.01) ** 0.4,
}


def own_loss(model: PreTrainedModel, inputs: Tensors, _: Tensors) -> torch.Tensor:
    return model(**nest(inputs)).loss


def soft_targets(model: PreTrainedModel, inputs: Tensors, extra: Tensors) -> torch.Tensor:
    name = "inputs" if "inputs" in inputs else "pixel_values"
    return functional.cross_entropy(model(inputs[name]).logits, extra["targets"])


def halve(sums: torch.Tensor) -> torch.Tensor:
    """Sums over squares of four pixels of `[batch, height, width, channels]`, cut at the border."""
    squares = functional.avg_pool2d(
        sums.permute(0, 3, 1, 2), 2, ceil_mode=True, count_include_pad=False, divisor_override=1
    )
    return squares.permute(0, 2, 3, 1)


def flow_loss(
    found: torch.Tensor, expected: torch.Tensor, known: torch.Tensor, distance: str, smaller_sizes: int
) -> torch.Tensor:
    """The mean distance of known pixels, averaged over sizes. A smaller pixel is the mean of its known ones."""
    sums = torch.zeros_like(found)
    sums[known] = found[known] - expected[known]
    counts = known[..., None].double()
    losses = []
    for size in range(smaller_sizes + 1):
        if size:
            sums, counts = halve(sums), halve(counts)
        seen = counts[..., 0] > 0
        losses.append(DISTANCES[distance](sums[seen] / counts[seen]).mean())
    return torch.stack(losses).mean()


def flow(model: PreTrainedModel, inputs: Tensors, extra: Tensors) -> torch.Tensor:
    found = model(**inputs).logits
    return flow_loss(found, extra["flow"] / 20, extra["known"].bool(), "end_point", 0)


def clip(model: PreTrainedModel, inputs: Tensors, extra: Tensors) -> torch.Tensor:
    """The weights of the paper. The reference masks every label; here the mask says which."""
    drawn = torch.bernoulli

    def bernoulli(probabilities: torch.Tensor) -> torch.Tensor:
        is_label = probabilities.shape[1] == 1
        return extra["hidden_labels"].double()[:, None] if is_label else drawn(probabilities)

    with mock.patch.object(torch, "bernoulli", bernoulli):
        found = model(**nest(inputs)).logits
    return (
        1.0 * functional.l1_loss(found["audio"], extra["targets.audio"])
        + 0.03 * functional.l1_loss(found["image"], extra["targets.image"])
        + 1e-4 * functional.cross_entropy(found["label"], extra["targets.label"])
    )


def distributions(rng: np.random.Generator) -> Tensors:
    targets = uniform(rng, 2, 5, low=0, high=1)
    return {"targets": targets / targets.sum(1, keepdim=True)}


def true_flow(rng: np.random.Generator, height: int = 9, width: int = 7) -> Tensors:
    """A third of the pixels is unknown."""
    known = integers(rng, 2, height, width, high=3) > 0
    flow = normal(rng, 2, height, width, 2, std=30)
    flow[~known] = UNKNOWN[integers(rng, int((~known).sum()), 2, high=len(UNKNOWN))]
    return {"flow": flow, "known": known.to(torch.uint8)}


def clip_targets(rng: np.random.Generator) -> Tensors:
    """Three sound patches of five samples, eleven pixels, a label; the first example's label is hidden."""
    return {
        "hidden_labels": torch.tensor([1, 0], dtype=torch.uint8),
        "targets.audio": uniform(rng, 2, 15, low=-1, high=1),
        "targets.image": uniform(rng, 2, 11, 3, low=0, high=1),
        "targets.label": torch.tensor([3, 1]),
    }


def nothing(_: np.random.Generator) -> Tensors:
    return {}


CASES: dict[str, tuple[Callable[[np.random.Generator], Tensors], Loss]] = {
    "masked_lm": (nothing, own_loss),
    "sequence_regression": (nothing, own_loss),
    "sequence_single_label": (nothing, own_loss),
    "sequence_multi_label": (nothing, own_loss),
    "image_learned": (distributions, soft_targets),
    "image_fourier": (distributions, soft_targets),
    "image_conv": (distributions, soft_targets),
    "optical_flow": (true_flow, flow),
    "multimodal": (clip_targets, clip),
}


def keep_statistics(model: PreTrainedModel) -> Tensors:
    """Running statistics by key, once the model has run.

    PyTorch averages estimates of a population's variance; here stands the average of the batches' own variances.
    """
    kept: Tensors = {}

    def keep(name: str, norm: nn.BatchNorm2d, inputs: torch.Tensor) -> None:
        values = inputs.detach().transpose(0, 1).flatten(1)
        kept[f"{name}.running_mean"] = torch.lerp(norm.running_mean, values.mean(1), norm.momentum)
        kept[f"{name}.running_var"] = torch.lerp(norm.running_var, values.var(1, correction=0), norm.momentum)

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, arguments, name=name: keep(name, norm, arguments[0]))
    return kept


def trainable(folder: Path) -> PreTrainedModel:
    model = load_checkpoint(folder, dtype=torch.float64).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def doubled(tensors: Tensors) -> Tensors:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def quantised(key: str, gradient: torch.Tensor | None, like: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters without influence have a gradient of zero."""
    gradient = torch.zeros_like(like) if gradient is None else gradient
    largest = gradient.abs().max()
    levels = gradient / largest * LEVELS if largest > 0 else gradient
    yield f"gradients.{key}", levels.round().to(torch.int16)
    yield f"largest.{key}", largest.float()


def write_case(target: Path, name: str) -> None:
    make, loss_of = CASES[name]
    folder = FIXTURES / "heads" / name
    model = trainable(folder)
    extra = make(seeded(f"training/{name}"))
    kept = keep_statistics(model)
    with torch.enable_grad():
        loss = loss_of(model, doubled(load_tensors(folder / "inputs.safetensors")), doubled(extra))
        loss.backward()
    tensors = dict(extra) | {"loss": loss.float()}
    for key, parameter in model.named_parameters():
        tensors |= dict(quantised(key, parameter.grad, parameter))
    tensors |= {f"statistics.{key}": value.float() for key, value in kept.items()}
    save_tensors(target / f"{name}.safetensors", tensors)


def write_flow_losses(target: Path) -> None:
    """Every flow loss at sides that do not halve evenly, and its gradient in the flow that was found."""
    rng = seeded("training/flow_losses")
    truth = true_flow(rng, 5, 6)
    # One square has no known pixel.
    truth["known"][1, 2:4, 2:4] = 0
    tensors = truth | {"found": normal(rng, 2, 5, 6, 2, std=30)}
    for distance in DISTANCES:
        for smaller_sizes in (0, 2):
            found = tensors["found"].double().requires_grad_()
            with torch.enable_grad():
                known = truth["known"].bool()
                loss = flow_loss(found, truth["flow"].double(), known, distance, smaller_sizes)
                loss.backward()
            name = f"{distance}.{smaller_sizes}"
            tensors |= {f"loss.{name}": loss.float(), f"gradient.{name}": found.grad.float()}
    save_tensors(target / "flow_losses.safetensors", tensors)


def generate(target: Path) -> None:
    for name in CASES:
        write_case(target, name)
    write_flow_losses(target)


if __name__ == "__main__":
    generate_or_check("Writes losses and gradients of the heads.", FIXTURES / "training", generate)
