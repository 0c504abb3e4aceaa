"""Writes what transformers' pipelines answer, with the models of `../fixtures/heads`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import FIXTURES, Tensors, generate_or_check, load_checkpoint, save_tensors, seeded
from PIL import Image
from transformers import PerceiverTokenizer, pipeline
from transformers.models.perceiver.image_processing_perceiver import PerceiverImageProcessor

# The models know the bytes below 47 and 13 positions.
MASKED = ["!#[MASK] $", "[MASK]!!\"[MASK]", "$$$[MASK]&[MASK]&&"]
TEXTS = ['!"#$', "$#", "%%%%%%%%"]
# Text models with the problem type that their configuration is given.
TEXT_CLASSIFIERS = {"sequence_single_label": None, "sequence_multi_label": "multi_label_classification"}

# Image models with the side of the squares that they take.
IMAGE_CLASSIFIERS = {"image_conv": 17, "image_fourier": 9, "image_learned": 6}

# Candidates asked for; those that are special tokens are left out of the fixture.
CANDIDATES = 12


def model(case: str) -> Any:
    return load_checkpoint(FIXTURES / "heads" / case)


def image_processor(side: int) -> PerceiverImageProcessor:
    size = {"height": side, "width": side}
    return PerceiverImageProcessor(size=size, crop_size=size)


def fill_mask() -> list[dict[str, Any]]:
    """Candidates of every mask, with their scores."""
    tokenizer = PerceiverTokenizer()
    fill = pipeline("fill-mask", model=model("masked_lm"), tokenizer=tokenizer, device=-1)
    found = []
    for text in MASKED:
        answer = fill(text, top_k=CANDIDATES)
        spans = answer if isinstance(answer[0], list) else [answer]
        found.append([[candidate for candidate in span if candidate["token"] >= 6] for span in spans])
    return found


def scores(answer: list[dict[str, Any]]) -> list[float]:
    """In the order of the labels, which are called LABEL_0, LABEL_1 and so on."""
    return [label["score"] for label in sorted(answer, key=lambda label: label["label"])]


def features(head: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The latents that the decoder is given."""
    return head(**inputs, output_hidden_states=True).hidden_states[-1][0]


def generate(folder: Path) -> None:
    tensors: Tensors = {}
    filled = fill_mask()
    for index, spans in enumerate(filled):
        for place, candidates in enumerate(spans):
            values = [candidate["score"] for candidate in candidates]
            tensors[f"fill_mask.{index}.{place}"] = torch.tensor(values)
    tokenizer = PerceiverTokenizer()
    for case, problem_type in TEXT_CLASSIFIERS.items():
        head = model(case)
        head.config.problem_type = problem_type
        classify = pipeline("text-classification", model=head, tokenizer=tokenizer, device=-1)
        answers = classify(TEXTS, top_k=None)
        tensors[case] = torch.tensor([scores(answer) for answer in answers])

    folder.mkdir(parents=True)
    levels = seeded("photo").integers(0, 256, (9, 12, 3))
    photo = Image.fromarray(levels.astype(np.uint8)).resize((60, 40), Image.Resampling.BICUBIC)
    photo.save(folder / "photo.png")
    for case, side in IMAGE_CLASSIFIERS.items():
        classify = pipeline(
            "image-classification", model=model(case), image_processor=image_processor(side), device=-1
        )
        tensors[case] = torch.tensor(scores(classify(photo, top_k=100)))

    ids = tokenizer(TEXTS[0], return_tensors="pt")
    tensors["features.masked_lm"] = features(model("masked_lm"), dict(ids))
    for case, side in IMAGE_CLASSIFIERS.items():
        pixels = image_processor(side)(photo, return_tensors="pt")["pixel_values"]
        tensors[f"features.{case}"] = features(model(case), {"inputs": pixels})

    names = [[[candidate["token_str"] for candidate in span] for span in spans] for spans in filled]
    metadata = {"masked": json.dumps(MASKED), "candidates": json.dumps(names), "texts": json.dumps(TEXTS)}
    save_tensors(folder / "answers.safetensors", tensors, metadata)


if __name__ == "__main__":
    generate_or_check(__doc__, FIXTURES / "pipelines", generate)
