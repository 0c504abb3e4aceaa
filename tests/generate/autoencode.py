"""Writes `../fixtures/autoencode`: a video as the multimodal notebook of Perceiver IO re-creates it, part by part."""

from __future__ import annotations

from pathlib import Path

import torch
from common import FIXTURES, Tensors, generate_or_check, integers, save_tensors, seeded
from transformers import PerceiverConfig, PerceiverForMultimodalAutoencoding

# The weights; no parameter depends on what this changes in the configuration.
CHECKPOINT = FIXTURES / "heads" / "multimodal"
CHANGES = {"output_shape": [1, 3, 24, 24], "audio_samples_per_frame": 40}

# Parts that a clip is decoded in, each by a call of the whole model. The notebook has 128.
PARTS = 8

# One clip of three frames and two frames more; the sound is ten samples too short.
FRAMES, SAMPLES = 5, 190


def decode(model: PerceiverForMultimodalAutoencoding, frames: torch.Tensor, sound: torch.Tensor) -> Tensors:
    """A clip of `[frames, 24, 24, 3]` levels and its 16-bit samples, in the order of the notebook's steps."""
    config = model.config
    inputs = {
        "image": (frames / 255).permute(0, 3, 1, 2)[None],
        "audio": (sound / 2**15)[None, :, None],
        "label": torch.zeros(1, config.num_labels),
    }
    points, patches = frames[..., 0].numel() // PARTS, len(sound) // config.samples_per_patch // PARTS
    image, audio = [], []
    for part in range(PARTS):
        subsampling = {
            "image": torch.arange(points * part, points * (part + 1)),
            "audio": torch.arange(patches * part, patches * (part + 1)),
            "label": None,
        }
        logits = model(inputs=inputs, subsampled_output_points=subsampling).logits
        image.append(logits["image"])
        audio.append(logits["audio"])
    return {
        "image": torch.cat(image, dim=1).reshape(frames.shape).clamp(0, 1),
        "audio": torch.cat(audio, dim=1).reshape(-1),
        "label": logits["label"].softmax(-1)[0],
    }


def psnr(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    return -10 * (found.double() - expected.double()).square().mean().log10().float()


def generate(target: Path) -> None:
    config = PerceiverConfig.from_pretrained(CHECKPOINT)
    config.update(CHANGES)
    model = PerceiverForMultimodalAutoencoding.from_pretrained(
        CHECKPOINT, config=config, dtype=torch.float32, attn_implementation="eager"
    ).eval()

    rng = seeded("autoencode")
    frames = integers(rng, FRAMES, 24, 24, 3, high=256).float()
    sound = integers(rng, SAMPLES, low=-(2**15), high=2**15).float()
    clip, of_frame = config.num_frames, config.audio_samples_per_frame
    clips = []
    for start in range(0, FRAMES, clip):
        missing = max(0, start + clip - FRAMES)
        shown = torch.cat([frames[start : start + clip], frames[-1:].expand(missing, -1, -1, -1)])
        heard = sound[start * of_frame : (start + clip) * of_frame]
        heard = torch.cat([heard, torch.zeros(clip * of_frame - len(heard))])
        clips.append(decode(model, shown, heard))

    image = torch.cat([clip["image"] for clip in clips])[:FRAMES]
    audio = torch.cat([clip["audio"] for clip in clips])[: FRAMES * of_frame]
    silence = torch.zeros(len(audio) - SAMPLES)
    config.save_pretrained(target)
    save_tensors(target / "inputs.safetensors", {"frames": frames, "sound": sound})
    save_tensors(
        target / "outputs.safetensors",
        {
            "image": image,
            "audio": audio,
            "label": torch.stack([clip["label"] for clip in clips]),
            "image_psnr": psnr(image, frames / 255),
            "audio_psnr": psnr(audio, torch.cat([sound, silence]) / 2**15),
        },
    )


if __name__ == "__main__":
    generate_or_check(__doc__, FIXTURES / "autoencode", generate)
