"""Writes tests/fixtures/heads: small random checkpoints of every head with the inputs and outputs of transformers.

`heads.py` regenerates the folder, `heads.py --check` compares it with a fresh copy.
"""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PerceiverConfig, PreTrainedModel
from transformers.activations import ACT2CLS

from common import (
    FIXTURES,
    Tensors,
    generate_or_check,
    integers,
    load_checkpoint,
    normal,
    randomize,
    run,
    save_json,
    save_tensors,
    seeded,
    uniform,
)

EVERYTHING = {"output_hidden_states": True, "output_attentions": True}

Inputs = Callable[[np.random.Generator], Tensors]


@dataclass(frozen=True)
class Case:
    """One folder of tests/fixtures/heads."""

    name: str
    head: str
    inputs: Inputs
    config: dict[str, Any] = field(default_factory=dict)
    # Case whose checkpoint this one uses instead of writing its own.
    checkpoint: str | None = None
    # Further arguments of the head's `forward`.
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


ENCODER = {
    "num_latents": 7,
    "d_latents": 24,
    "d_model": 10,
    "num_self_attends_per_block": 2,
    "num_self_attention_heads": 3,
    "num_cross_attention_heads": 2,
    "attn_implementation": "eager",
}
TEXT = ENCODER | {"d_model": 16, "vocab_size": 53, "max_position_embeddings": 13}
IMAGE = ENCODER | {"num_cross_attention_heads": 1, "num_labels": 5, "cross_attention_shape_for_attention": "q"}


def mask_of_lengths(*lengths: int, width: int) -> torch.Tensor:
    return (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()


def features(
    rng: np.random.Generator, length: int, channels: int = 10, visible: tuple[int, int] | None = None
) -> Tensors:
    """Inputs of a PerceiverModel without preprocessor; `visible` tokens of each row are not masked."""
    tensors = {"inputs": normal(rng, 2, length, channels, std=1.5)}
    return tensors if visible is None else tensors | {"attention_mask": mask_of_lengths(*visible, width=length)}


def holed_mask(rng: np.random.Generator) -> Tensors:
    tensors = features(rng, 11)
    return tensors | {"attention_mask": torch.tensor([[0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0], [1] * 10 + [0]])}


def text(
    rng: np.random.Generator, length: int = 13, rows: int = 2, labels: torch.Tensor | None = None, name: str = "inputs"
) -> Tensors:
    tensors = {name: integers(rng, rows, length, high=53)}
    tensors["attention_mask"] = mask_of_lengths(*range(length - 3 * (rows - 1), length + 1, 3), width=length)
    return tensors if labels is None else tensors | {"labels": labels}


def masked_language(rng: np.random.Generator, length: int, positions: int, name: str) -> Tensors:
    """The head decodes every position it has, so labels are as long as the model, not as the text."""
    labels = integers(rng, 2, positions, high=53)
    return text(rng, length, name=name) | {"labels": labels.where(integers(rng, 2, positions, high=3) > 0, -100)}


def pixels(rng: np.random.Generator, height: int, width: int, name: str = "inputs", labels: bool = True) -> Tensors:
    tensors = {name: normal(rng, 2, 3, height, width, std=1.5)}
    return tensors | {"labels": torch.tensor([4, 1])} if labels else tensors


def flow(rng: np.random.Generator, masked: bool = False) -> Tensors:
    tensors = {"inputs": normal(rng, 2, 2, 27, 9, 7, std=1.5)}
    return tensors | {"attention_mask": mask_of_lengths(63, 40, width=63)} if masked else tensors


def video(rng: np.random.Generator, masked: bool = False) -> Tensors:
    """Three frames of 24x16 pixels (72 patches), 60 samples (12 patches), one label: 85 tokens."""
    tensors = {
        "inputs.image": normal(rng, 2, 3, 3, 24, 16),
        "inputs.audio": normal(rng, 2, 60, 1),
        "inputs.label": normal(rng, 2, 5),
        "subsampled_output_points.image": torch.tensor([1151, 3, 777, 778, 0, 400, 1024, 42, 42, 639, 5]),
        "subsampled_output_points.audio": torch.tensor([11, 2, 7]),
    }
    if masked:
        tensors["attention_mask"] = mask_of_lengths(85, 70, width=85)
    return tensors


def model_cases() -> list[Case]:
    model = partial(Case, head="PerceiverModel")
    shapes = ENCODER | {"num_latents": 6, "num_self_attends_per_block": 1}
    return [
        model("model_masked", inputs=holed_mask, config=ENCODER, note="kv attention shape, mask with holes"),
        model(
            "model_hidden_row",
            inputs=partial(features, length=9, visible=(0, 5)),
            checkpoint="model_masked",
            note="the mask of the first row hides everything: the reference then attends evenly",
        ),
        model(
            "model_blocks",
            inputs=partial(features, length=9),
            config=ENCODER
            | {"num_blocks": 3, "num_self_attention_heads": 4, "cross_attention_shape_for_attention": "q"},
            note="no mask, three passes over shared layers, q attention shape",
        ),
        model(
            "model_value_channels",
            inputs=partial(features, length=5, visible=(4, 2)),
            config=shapes | {"v_channels": 24},
            note="v_channels without qk_channels: queries and keys keep the input's channels",
        ),
        model(
            "model_query_key_channels",
            inputs=partial(features, length=5),
            config=shapes | {"qk_channels": 24, "use_query_residual": False},
            note="qk_channels without v_channels: values follow qk_channels",
        ),
    ]


def activation_cases() -> list[Case]:
    tiny = ENCODER | {
        "num_latents": 3,
        "d_latents": 8,
        "d_model": 4,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "self_attention_widening_factor": 2,
    }
    notes = {
        "prelu": "the activation has a weight of its own in every layer",
        "xielu": "alpha, beta and eps are bfloat16 even in a float32 model, and so is softplus(alpha)",
    }
    return [
        Case(
            f"activation_{name}",
            "PerceiverModel",
            inputs=partial(features, length=5, channels=4),
            config=tiny | {"hidden_act": name},
            note=notes.get(name, ""),
        )
        for name in sorted(ACT2CLS)
    ]


def text_cases() -> list[Case]:
    switches = {
        "num_latents": 10,
        "max_position_embeddings": 15,
        "num_blocks": 2,
        "qk_channels": 18,
        "v_channels": 24,
        "self_attention_widening_factor": 3,
        "cross_attention_widening_factor": 2,
        "use_query_residual": False,
        "cross_attention_shape_for_attention": "q",
        "chunk_size_feed_forward": 5,
    }
    classify = partial(Case, head="PerceiverForSequenceClassification")
    single, several = torch.tensor([2, -100, 0]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    return [
        Case(
            "masked_lm",
            "PerceiverForMaskedLM",
            inputs=partial(masked_language, length=13, positions=13, name="input_ids"),
            config=TEXT,
            note="full length, labels with -100",
        ),
        Case(
            "masked_lm_switches",
            "PerceiverForMaskedLM",
            inputs=partial(masked_language, length=9, positions=15, name="inputs"),
            config=TEXT | switches,
            note="text shorter than the model: logits and labels have every position",
        ),
        classify(
            "sequence_regression",
            inputs=lambda rng: text(rng, 11, labels=normal(rng, 2)),
            config=TEXT | {"num_labels": 1},
            note="problem type inferred: one label",
        ),
        classify(
            "sequence_regression_several",
            inputs=lambda rng: text(rng, 7, labels=normal(rng, 2, 3), name="input_ids"),
            config=TEXT | {"num_labels": 3, "problem_type": "regression"},
            note="problem type from the configuration, which alone tells it from multi-label",
        ),
        classify(
            "sequence_single_label",
            inputs=lambda rng: text(rng, 10, rows=3, labels=single),
            config=TEXT | {"num_labels": 3, "num_cross_attention_heads": 4},
            note="problem type inferred: integer labels, one of them -100",
        ),
        classify(
            "sequence_multi_label",
            inputs=lambda rng: text(rng, 12, labels=several),
            config=TEXT | {"num_labels": 3, "cross_attention_shape_for_attention": "q"},
            note="problem type inferred: float labels",
        ),
        classify(
            "sequence_multi_label_configured",
            inputs=lambda rng: text(rng, 5, labels=uniform(rng, 2, 3, low=0, high=1)),
            checkpoint="sequence_multi_label",
            note="soft labels, no text at full length",
        ),
    ]


def image_cases() -> list[Case]:
    learned = partial(Case, head="PerceiverForImageClassificationLearned")
    interpolate = {"interpolate_pos_encoding": True}
    return [
        learned(
            "image_learned", inputs=partial(pixels, height=6, width=6), config=IMAGE | {"image_size": 6}, note="loss"
        ),
        learned(
            "image_learned_larger",
            inputs=partial(pixels, height=9, width=13, name="pixel_values", labels=False),
            checkpoint="image_learned",
            options=interpolate,
            note="positions enlarged to another shape",
        ),
        learned(
            "image_learned_smaller",
            inputs=partial(pixels, height=5, width=4),
            checkpoint="image_learned",
            options=interpolate,
            note="positions shrunk to another shape",
        ),
        Case(
            "image_fourier",
            "PerceiverForImageClassificationFourier",
            inputs=partial(pixels, height=5, width=8),
            config=IMAGE | {"cross_attention_shape_for_attention": "kv", "num_blocks": 2},
            note="kv attention shape: 261 channels, as published",
        ),
        Case(
            "image_conv",
            "PerceiverForImageClassificationConvProcessing",
            inputs=partial(pixels, height=45, width=38, name="pixel_values"),
            config=IMAGE,
            note="odd sizes, perturbed batch normalization",
        ),
    ]


def flow_and_video_cases() -> list[Case]:
    video_config = ENCODER | {
        "num_cross_attention_heads": 1,
        "num_labels": 5,
        "num_frames": 3,
        "image_size": 6,
        "output_shape": [1, 3, 24, 16],
        "audio_samples_per_frame": 20,
        "samples_per_patch": 5,
        "output_num_channels": 9,
        "_label_trainable_num_channels": 64,
        "qk_channels": 24,
    }
    return [
        Case(
            "optical_flow",
            "PerceiverForOpticalFlow",
            inputs=flow,
            config=IMAGE
            | {
                "train_size": [9, 7],
                "num_self_attention_heads": 4,
                "cross_attention_shape_for_attention": "kv",
                "qk_channels": 24,
            },
        ),
        Case(
            "optical_flow_masked",
            "PerceiverForOpticalFlow",
            inputs=partial(flow, masked=True),
            checkpoint="optical_flow",
            note="the mask hides tokens from the encoder, not from the decoder",
        ),
        Case(
            "multimodal",
            "PerceiverForMultimodalAutoencoding",
            inputs=video,
            config=video_config,
            note="unordered points, one of them twice; the label token is always the mask token",
        ),
        Case(
            "multimodal_masked",
            "PerceiverForMultimodalAutoencoding",
            inputs=partial(video, masked=True),
            checkpoint="multimodal",
        ),
    ]


def all_cases() -> list[Case]:
    return [*model_cases(), *activation_cases(), *text_cases(), *image_cases(), *flow_and_video_cases()]


def build(case: Case) -> PreTrainedModel:
    """The head of a case with its wide random weights."""
    head = getattr(transformers, case.head)
    model = head(PerceiverConfig(**case.config))
    randomize(model, seeded(case.name))
    return model.eval()


def write_example(folder: Path, case: Case, model: PreTrainedModel) -> None:
    """The files of a case beside the checkpoint."""
    tensors = case.inputs(seeded(f"{case.name}/inputs"))
    save_tensors(folder / "inputs.safetensors", tensors)
    save_tensors(folder / "outputs.safetensors", run(model, tensors, **case.options, **EVERYTHING))
    content = {"class": case.head, "options": case.options, "note": case.note}
    save_json(folder / "case.json", content | ({"checkpoint": case.checkpoint} if case.checkpoint else {}))


def write_case(target: Path, case: Case) -> None:
    folder = target / case.name
    if case.checkpoint is None:
        build(case).save_pretrained(folder)
    write_example(folder, case, load_checkpoint(target / (case.checkpoint or case.name)))


FORMATS = Case(
    "format",
    "PerceiverForSequenceClassification",
    inputs=partial(text, length=6),
    config=TEXT | {"num_latents": 3, "d_latents": 12, "num_self_attends_per_block": 1, "num_labels": 3},
    note="one model in several file formats; outputs are computed in float32 from the weights as stored",
)
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save_configuration(model: PreTrainedModel, folder: Path) -> None:
    """config.json alone, naming the head and the precision as `save_pretrained` does."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = str(model.dtype).removeprefix("torch.")
    config.save_pretrained(folder)


def as_views(state: Tensors) -> Tensors:
    """The same values as transposed views into one storage, as a pickle of tied or sliced weights has them."""
    storage = torch.zeros(sum(tensor.numel() for tensor in state.values()) + 3)
    views, start = {}, 3
    for name, tensor in state.items():
        view = storage[start : start + tensor.numel()]
        view = view.view(tensor.shape[::-1]).t() if tensor.dim() == 2 else view.view(tensor.shape)
        views[name] = view.copy_(tensor)
        start += tensor.numel()
    return views


def write_formats(target: Path) -> None:
    """One model in every file format and precision. Outputs are computed in single precision."""
    sharded, views = target / "format_sharded", target / "format_pickle_views"
    build(FORMATS).save_pretrained(sharded, max_shard_size="2KB")
    write_example(sharded, FORMATS, load_checkpoint(sharded))
    for name, precision in PRECISIONS.items():
        model = build(FORMATS).to(precision)
        if precision != torch.float32:
            model.save_pretrained(target / f"format_{name}")
            write_example(target / f"format_{name}", FORMATS, load_checkpoint(target / f"format_{name}"))
        for kind in ("zip", "legacy"):
            folder = target / f"format_pickle_{kind}_{name}"
            save_configuration(model, folder)
            path = folder / "pytorch_model.bin"
            torch.save(model.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
            write_example(folder, FORMATS, load_checkpoint(folder))
    model = build(FORMATS)
    save_configuration(model, views)
    torch.save(as_views(model.state_dict()), views / "pytorch_model.bin")
    write_example(views, FORMATS, load_checkpoint(views))


class Intruder:
    """Unpickles to a call of a foreign function that leaves a file behind."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch hostile_pickle_was_executed",)


def write_hostile(target: Path) -> None:
    """Checkpoints whose pickle runs a command when it is unpickled carelessly."""
    program = pickle.dumps({"perceiver.embeddings.latents": Intruder()}, protocol=2)
    for name in ("hostile_pickle", "hostile_pickle_legacy"):
        save_configuration(build(FORMATS), target / name)
        note = "loading must fail and must not create the file hostile_pickle_was_executed"
        save_json(target / name / "case.json", {"class": FORMATS.head, "options": {}, "note": note})
    with zipfile.ZipFile(target / "hostile_pickle" / "pytorch_model.bin", "w") as archive:
        for member, content in {"data.pkl": program, "byteorder": b"little", "version": b"3\n"}.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{member}"), content)
    header = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    pieces = [pickle.dumps(part, protocol=2) for part in header] + [program, pickle.dumps([], protocol=2)]
    (target / "hostile_pickle_legacy" / "pytorch_model.bin").write_bytes(b"".join(pieces))


def generate(target: Path) -> None:
    for case in all_cases():
        write_case(target, case)
    write_formats(target)
    write_hostile(target)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of the heads.", FIXTURES / "heads", generate)
