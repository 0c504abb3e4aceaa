"""transformers' side of `cargo xtask bench compare`: a published head, run on demand.

Loads a checkpoint and its inputs once and says so in a line of JSON. Every line of standard input is then answered by
one pass, from tensors in the host's memory to tensors in the host's memory, and a line with its seconds and a few of its
results; the end of input by a line with the peak of memory. `tests/benches/published` is our side, of the same manners.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

# In so many parts the documentation of transformers decodes a clip.
CHUNKS = 128
LEARNING_RATE = 1e-4
# Every classifier has so many.
CLASSES = 10

# One pass, which returns samples of its results.
Pass = Callable[[], list[float]]


def generators() -> None:
    """Makes tests/generate importable: loading, naming and enlarging are its."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "generate"))


def torch_pass(arguments: argparse.Namespace) -> tuple[Pass, dict[str, str]]:
    """A pass through PyTorch, as `arguments.engine` and `arguments.device` say."""
    generators()
    import torch
    import transformers
    from common import load_tensors, prepare_torch, run
    from transformers import PerceiverConfig

    prepare_torch()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = torch.device(arguments.device)

    config = PerceiverConfig.from_pretrained(arguments.folder)
    if arguments.task == "train":
        config.attention_probs_dropout_prob = 0.0
    head = getattr(transformers, config.architectures[0])
    model = head.from_pretrained(
        arguments.folder, config=config, dtype=torch.float32, attn_implementation="eager"
    ).to(device)
    model.eval()
    if arguments.engine == "compile":
        model.compile()

    inputs = {
        name: item if is_points(name) else item.repeat(arguments.batch, *[1] * (item.dim() - 1))
        for name, item in load_tensors(arguments.folder / "inputs.safetensors").items()
    }

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, dtype=torch.bfloat16) if arguments.bf16 else nullcontext()

    def forward(tensors: dict[str, Any]) -> list[float]:
        with torch.inference_mode(), precision():
            outputs = run(model, {name: item.to(device) for name, item in tensors.items()})
            return [number for name in sorted(outputs) for number in sample(outputs[name].cpu())]

    def clip() -> list[float]:
        """As the documentation of transformers decodes a clip: every chunk is a whole call."""
        clip_inputs = {name: item for name, item in inputs.items() if not is_points(name)}
        pixels, patches = 16 * 224 * 224 // CHUNKS, 30720 // 16 // CHUNKS
        for chunk in range(arguments.chunks):
            points = {
                "subsampled_output_points.image": torch.arange(pixels * chunk, pixels * (chunk + 1)),
                "subsampled_output_points.audio": torch.arange(patches * chunk, patches * (chunk + 1)),
            }
            results = forward(clip_inputs | points)
        return results

    def train() -> Pass:
        """Forward pass, backward pass and AdamW's step. A photo's class is its place in the batch, up to ten; a text repeats 15 % of itself."""
        torch.set_grad_enabled(True)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
        labels = torch.arange(arguments.batch) % CLASSES
        if not inputs["inputs"].is_floating_point():
            places = torch.arange(inputs["inputs"].shape[1])
            labels = inputs["inputs"].masked_fill(places % 20 >= 3, -100)
        if "attention_mask" in inputs:
            labels = labels.masked_fill(inputs["attention_mask"] == 0, -100)
        tensors = {name: item.to(device) for name, item in (inputs | {"labels": labels}).items()}

        def step() -> list[float]:
            optimizer.zero_grad()
            loss = model(**tensors).loss
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return [loss.item()]

        return step

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    match arguments.task:
        case "forward":
            return lambda: forward(inputs), versions
        case "clip":
            return clip, versions
        case "train":
            return train(), versions
        case task:
            raise ValueError(f"no task is called {task}")


def onnx_pass(arguments: argparse.Namespace) -> tuple[Pass, dict[str, str]]:
    """A forward pass through ONNX Runtime, without PyTorch in the process."""
    import onnxruntime
    from safetensors.numpy import load_file

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(arguments.onnx, options, providers=["CPUExecutionProvider"])
    taken = {argument.name for argument in session.get_inputs()}
    inputs = {
        name: item if is_points(name) else item.repeat(arguments.batch, axis=0)
        for name, item in load_file(arguments.folder / "inputs.safetensors").items()
        if name in taken
    }

    def forward() -> list[float]:
        return [number for output in session.run(None, inputs) for number in sample(output)]

    return forward, {"onnxruntime": onnxruntime.__version__}


def sample(result: Any) -> list[float]:
    """The first numbers of a result, by which the sides are held to do the same."""
    return result.reshape(-1)[:4].tolist()


def is_points(name: str) -> bool:
    """Points are asked of every example alike."""
    return name.startswith("subsampled_output_points")


def peak_mebibytes() -> int | None:
    """The kernel's high-water mark of resident memory, where it keeps one (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def device_mebibytes(arguments: argparse.Namespace) -> int | None:
    """Peak device memory of PyTorch's allocator."""
    if arguments.device == "cpu":
        return None
    import torch

    return torch.cuda.max_memory_reserved() >> 20


def lines(answer: Pass) -> Iterator[dict[str, Any]]:
    for _ in sys.stdin:
        start = time.perf_counter()
        results = answer()
        yield {"seconds": time.perf_counter() - start, "results": results}


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs published Perceivers for `cargo xtask bench compare`.")
    parser.add_argument("task", choices=["forward", "clip", "train"])
    parser.add_argument("folder", type=Path, help="checkpoint, with inputs.safetensors beside it")
    parser.add_argument("--engine", choices=["eager", "compile", "onnxruntime"], default="eager")
    parser.add_argument("--onnx", type=Path, help="what export.py wrote, for onnxruntime")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="automatic mixed precision")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="how many chunks of a clip to decode")
    arguments = parser.parse_args()

    answer, versions = (onnx_pass if arguments.engine == "onnxruntime" else torch_pass)(arguments)
    say({"ready": True, "versions": versions})
    for line in lines(answer):
        say(line)
    say({"peak_mebibytes": peak_mebibytes(), "device_mebibytes": device_mebibytes(arguments)})


if __name__ == "__main__":
    main()
