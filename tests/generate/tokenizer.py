"""Writes what transformers' PerceiverTokenizer makes of texts, pairs, options and identifiers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from common import FIXTURES, generate_or_check, seeded
from transformers import PerceiverTokenizer

# Tokenizers by name: the files of their folder.
TOKENIZERS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": {
        "tokenizer_config.json": {
            "pad_token": "[PAD]",
            "bos_token": "[BOS]",
            "eos_token": "[EOS]",
            "mask_token": "[MASK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "model_max_length": 20,
            "special_tokens_map_file": None,
            "name_or_path": "somewhere",
            "tokenizer_class": "PerceiverTokenizer",
        },
        "special_tokens_map.json": {
            "pad_token": "[PAD]",
            "mask_token": {
                "content": "[MASK]",
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
            },
        },
    },
    "renamed": {
        "tokenizer_config.json": {
            "mask_token": "<mask>",
            "unk_token": "<unk>",
            "sep_token": {"__type": "AddedToken", "content": "</s>", "lstrip": True, "rstrip": True},
            "image_token": "<image>",
            "additional_special_tokens": ["<a>", "<ab>", "<b"],
            "model_max_length": 12,
            "padding_side": "left",
            "truncation_side": "left",
            "tokenizer_class": "PerceiverTokenizer",
            "favourite_colour": {"name": "blue", "hex": [0, 0, 255]},
        }
    },
    "listed": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "0": {"content": "[PAD]", "special": True},
                "3": {"content": "[MASK]", "lstrip": True, "special": True},
                "4": {"content": "[CLS]", "rstrip": True, "special": True},
                "100": {"content": "word", "single_word": True, "normalized": False},
                "262": {"content": "<new>", "special": True},
                "300": {"content": "é", "special": False},
                "301": {"content": "ab c", "lstrip": True, "rstrip": True, "single_word": True},
            },
            "mask_token": "[MASK]",
            "cls_token": "[CLS]",
            "eos_token": "<end>",
            "extra_special_tokens": ["~", "<new>", "[MASK][MASK]"],
            "clean_up_tokenization_spaces": True,
            "model_max_length": 1000000000000000019884624838656,
        }
    },
    "legacy": {
        "tokenizer_config.json": {"model_max_length": None, "do_lower_case": True},
        "special_tokens_map.json": {"mask_token": "<MASK>", "extra_special_tokens": ["<x>"]},
        "added_tokens.json": {"<x>": 262, "plain": 263, "[SEP]": 5},
    },
    "unsplit": {
        "tokenizer_config.json": {"split_special_tokens": True, "extra_special_tokens": ["é"], "model_max_length": 9}
    },
}

TEXTS = [
    "",
    " ",
    "Hello, world.",
    "\0",
    "a\0b\x7f\x80\xff",
    "naïve café — 東京 🙂👩‍👩‍👧 e\u0301",
    "\ufeff\ufffe\uffff\U0010ffff",
    "line one\r\nline two\ttab\u2028 \u00a0",
    "[MASK]",
    "[MASK][MASK]",
    "[[MASK]]",
    "[mask]",
    "[MAS K]",
    "[MASK",
    "[PAD][BOS][EOS][MASK][CLS][SEP]",
    "a [MASK] b  [CLS]  c",
    "This is [MASK][MASK][MASK].",
    "\u2003[MASK]\x1c\x1f[CLS]\u3000x",
    "<a><ab><abc<b<bb> <mask> <mask",
    "x </s> y</s></s> z",
    " word words sword word.word word",
    "word",
    "é ab c éab c é~é ab c",
    "<new><unk><end><image> . ? ! , ' n't 'm",
    "plain <x> <MASK>plain<x",
]

FRAGMENTS = [
    *"ab [é~🙂",
    " ",
    "  ",
    "[MASK]",
    "[CLS]",
    "[SE",
    "<mask>",
    "</s>",
    "<a>",
    "<ab",
    "<b",
    "word",
    "ab c",
    "<new>",
    "plain",
    "<x>",
    "\x1d",
    "\u00a0",
]

PADDINGS = [False, "longest", "max_length"]
TRUNCATIONS = [False, "longest_first", "only_first", "only_second"]


def random_text(rng: np.random.Generator) -> str:
    return "".join(rng.choice(FRAGMENTS, size=rng.integers(0, 9)))


def random_options(rng: np.random.Generator, tokenizer: PerceiverTokenizer) -> dict[str, Any]:
    """Arguments of the tokenizer's call, with `truncation` always explicit, and no very long padding."""
    options: dict[str, Any] = {
        "add_special_tokens": bool(rng.random() < 0.7),
        "padding": PADDINGS[rng.integers(3)],
        "truncation": TRUNCATIONS[rng.integers(4)],
    }
    if rng.random() < 0.7 or tokenizer.model_max_length == 2048:
        options["max_length"] = int(rng.integers(0, 25))
    if rng.random() < 0.4:
        options["pad_to_multiple_of"] = int(rng.integers(1, 9))
    if rng.random() < 0.4:
        options["padding_side"] = ["left", "right"][rng.integers(2)]
    return options


def encode(tokenizer: PerceiverTokenizer, inputs: list[list[str]], batch: bool, options: dict[str, Any]) -> Any:
    """Encodings in the form of the Rust type, or `None` where the reference refuses."""
    first = [item[0] for item in inputs]
    second = [item[1] for item in inputs] if len(inputs[0]) == 2 else None
    if not batch:
        first, second = first[0], second[0] if second else None
    try:
        found = tokenizer(first, second, return_special_tokens_mask=True, return_attention_mask=True, **options)
    except ValueError as error:
        assert "not a multiple" in str(error), error
        return None
    keys = ["input_ids", "attention_mask", "special_tokens_mask"]
    columns = [found[key] if batch else [found[key]] for key in keys]
    return [
        {
            "input_ids": ids,
            "attention_mask": "".join(map(str, attention)),
            "special_tokens_mask": "".join(map(str, special)),
        }
        for ids, attention, special in zip(*columns, strict=True)
    ]


def decode(tokenizer: PerceiverTokenizer, ids: list[int], skip: bool) -> str | None:
    try:
        return tokenizer.decode(ids, skip_special_tokens=skip)
    except ValueError as error:
        assert "range" in str(error), error
        return None


def cases(name: str, tokenizer: PerceiverTokenizer) -> dict[str, Any]:
    rng = seeded(f"tokenizer/{name}")
    texts = TEXTS + [random_text(rng) for _ in range(40)]
    encoded = []

    def add(inputs: list[list[str]], batch: bool, options: dict[str, Any]) -> None:
        expected = encode(tokenizer, inputs, batch, options)
        encoded.append({"inputs": inputs, "batch": batch, "options": options, "expected": expected})

    for text in texts:
        add([[text]], False, {})
        add([[text]], False, {"add_special_tokens": False, "truncation": False})
    for _ in range(90):
        pair = bool(rng.random() < 0.5)
        batch = bool(rng.random() < 0.5)
        count = int(rng.integers(1, 4)) if batch else 1
        inputs = [[texts[rng.integers(len(texts))] for _ in range(1 + pair)] for _ in range(count)]
        add(inputs, batch, random_options(rng, tokenizer))

    decoded = []
    for _ in range(120):
        high = [262, 262, 262, 320][rng.integers(4)]
        ids = rng.integers(0, high, rng.integers(0, 14)).tolist()
        # Bytes of multi-byte characters, cut and mixed, so that decoding has something to replace.
        if rng.random() < 0.7:
            tail = (np.frombuffer("é東🙂\u0301".encode(), np.uint8).astype(int) + 6).tolist()
            ids += tail[rng.integers(len(tail)) :] + tail[: rng.integers(len(tail))]
        for skip in (False, True):
            decoded.append({"ids": ids, "skip_special_tokens": skip, "expected": decode(tokenizer, ids, skip)})
    return {"encode": encoded, "decode": decoded}


def write(target: Path, name: str, files: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file, content in files.items():
            (folder / file).write_text(json.dumps(content))
        tokenizer = PerceiverTokenizer.from_pretrained(temporary) if files else PerceiverTokenizer()
        tokenizer.save_pretrained(folder / "saved")
        saved = json.loads((folder / "saved/tokenizer_config.json").read_text())
    content = {
        "versions": {"transformers": transformers.__version__},
        "files": files,
        # Without the arguments of its call that from_pretrained adds.
        "saved": {key: value for key, value in saved.items() if key not in ("is_local", "local_files_only")},
        "vocabulary_size": len(tokenizer),
        "special_ids": sorted(set(tokenizer.all_special_ids)),
        "role_ids": {
            role: getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos", "mask", "cls", "sep")
        },
        **cases(name, tokenizer),
    }
    save(target / f"{name}.json", content)


def save(path: Path, content: dict[str, Any]) -> None:
    """JSON with one case per line, which stays small and readable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = []
    for key, value in content.items():
        text = json.dumps(value, separators=(",", ":"))
        if isinstance(value, list):
            lines = (json.dumps(item, separators=(",", ":")) for item in value)
            text = "[\n" + ",\n".join(lines) + "\n]"
        fields.append(f"{json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(fields) + "\n}\n")


def generate(target: Path) -> None:
    for name, files in TOKENIZERS.items():
        write(target, name, files)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of the tokenizer.", FIXTURES / "tokenizer", generate)
