"""Writes tests/fixtures/parts: single parts of the Perceiver of transformers with their inputs and outputs.

`parts.py` regenerates the folder, `parts.py --check` compares it with a fresh copy.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PerceiverConfig

from common import (
    FIXTURES,
    Tensors,
    flatten,
    generate_or_check,
    nest,
    normal,
    randomize,
    reference,
    save_tensors,
    seeded,
    uniform,
)

Options = dict[str, Any]
# Shape of random input, or the tensor itself.
Source = tuple[int, ...] | torch.Tensor
Runner = Callable[[Any, dict[str, Any], Options], dict[str, Any]]

CONFIG: Options = {
    "num_latents": 7,
    "d_latents": 12,
    "d_model": 10,
    "num_self_attends_per_block": 2,
    "num_self_attention_heads": 3,
    "num_cross_attention_heads": 2,
    "num_labels": 5,
    "vocab_size": 31,
    "max_position_embeddings": 9,
    "samples_per_patch": 4,
}
LATENTS = (2, 7, 12)


class ProjectionDecoder(reference.PerceiverProjectionDecoder):
    """The reference's class is abstract because it lacks this property, so it cannot be built."""

    num_query_channels = None


@dataclass(frozen=True)
class Case:
    """One file of tests/fixtures/parts."""

    name: str
    part: Options
    inputs: dict[str, Source]
    run: Runner
    config: Options = field(default_factory=dict)
    # Further arguments of the call.
    call: Options = field(default_factory=dict)
    note: str = ""


def part(name: str, **arguments: Any) -> Options:
    """A part by its class (or function) in the reference; arguments can be parts themselves."""
    return {"part": name, "arguments": arguments}


def fourier(*resolution: int, bands: int = 3, concat: bool = True, sine: bool = False) -> Options:
    kwargs = {"num_bands": bands, "max_resolution": list(resolution), "concat_pos": concat, "sine_only": sine}
    return {"position_encoding_type": "fourier", "fourier_position_encoding_kwargs": kwargs}


def trainable(positions: int | list[int], channels: int) -> Options:
    kwargs = {"index_dims": positions, "num_channels": channels}
    return {"position_encoding_type": "trainable", "trainable_position_encoding_kwargs": kwargs}


def build(spec: Any, config: PerceiverConfig) -> Any:
    """Builds a part and, inside out, the parts among its arguments."""
    if not isinstance(spec, dict):
        return spec
    if "part" not in spec:
        return {name: build(item, config) for name, item in spec.items()}
    kind = ProjectionDecoder if spec["part"] == "PerceiverProjectionDecoder" else getattr(reference, spec["part"])
    arguments = build(spec["arguments"], config)
    if not inspect.isclass(kind):
        return partial(kind, **arguments)
    return kind(config, **arguments) if "config" in inspect.signature(kind).parameters else kind(**arguments)


def preprocess(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    tokens, sizes, without_positions = module(tensors["inputs"], **call)
    found = {"inputs": tokens, "inputs_without_pos": without_positions, "num_channels": module.num_channels}
    return found | ({"modality_sizes": sizes} if sizes else {})


def decode(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    query = module.decoder_query(
        tensors["inputs"],
        modality_sizes=call.get("modality_sizes"),
        inputs_without_pos=tensors.get("inputs_without_pos"),
        subsampled_points=tensors.get("subsampled_points"),
    )
    found = {"query": query, "num_query_channels": module.num_query_channels}
    if getattr(module, "position_encoding_only", False):
        return found
    attentive = "output_attentions" in inspect.signature(module.forward).parameters
    return found | dict(module(query, tensors["z"], **({"output_attentions": True} if attentive else {})))


def project(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    return {"logits": module(None, tensors["z"])}


def postprocess(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    return {"logits": module(tensors["inputs"], **call)}


def decode_embeddings(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    table = nn.Embedding.from_pretrained(tensors["embeddings"])
    return {"logits": module(tensors["hidden_states"], table)}


def layer(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    hidden_states, attentions = module(**tensors, output_attentions=True)
    return {"hidden_states": hidden_states, "attentions": attentions}


def function(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    return {"result": module(**tensors)}


def interpolate(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    return {"result": module.interpolate_pos_encoding(module.position_embeddings, **call)}


def whole(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    return dict(module(**tensors, **call, output_hidden_states=True, output_attentions=True))


def whole_projected(module: Any, tensors: dict[str, Any], call: Options) -> dict[str, Any]:
    """The reference's model cannot call its projection decoder, so the decoder is called by hand."""
    decoder, module.decoder = module.decoder, None
    found = whole(module, tensors, call)
    return found | {"logits": decoder(None, found["last_hidden_state"])}


def text_cases() -> Iterator[Case]:
    ids = torch.tensor([[30, 0, 7, 7, 1, 12, 3], [5, 29, 2, 0, 8, 8, 16]])
    yield Case("text", part("PerceiverTextPreprocessor"), {"inputs": ids}, preprocess)
    one_hot = part("PerceiverOneHotPreprocessor")
    yield Case("one_hot", one_hot, {"inputs": (2, 5)}, preprocess)


def image_case(name: str, prep_type: str, shape: tuple[int, ...], note: str = "", **arguments: Any) -> Case:
    call = {key: arguments.pop(key) for key in ("network_input_is_1d", "interpolate_pos_encoding") if key in arguments}
    spec = part("PerceiverImagePreprocessor", prep_type=prep_type, **arguments)
    return Case(f"image_{prep_type}_{name}", spec, {"inputs": shape}, preprocess, call=call, note=note)


def image_cases() -> Iterator[Case]:
    photo, flat = (2, 3, 21, 18), {"network_input_is_1d": False}
    yield image_case("fourier", "conv", photo, out_channels=6, **fourier(7, 5))
    yield image_case(
        "trainable_add_without_norm",
        "conv",
        (2, 2, 21, 18),
        in_channels=2,
        out_channels=6,
        conv2d_use_batchnorm=False,
        concat_or_add_pos="add",
        **trainable(20, 6),
    )
    yield image_case("fourier_projected", "conv", photo, out_channels=14, project_pos_dim=5, **fourier(7, 5))
    yield image_case(
        "trainable_add_projected",
        "conv",
        (1, 3, 16, 23),
        out_channels=6,
        concat_or_add_pos="add",
        project_pos_dim=6,
        **trainable([3, 5], 6),
    )

    small = (2, 3, 7, 5)
    yield image_case(
        "trainable_projected",
        "conv1x1",
        small,
        spatial_downsample=2,
        out_channels=6,
        project_pos_dim=4,
        **trainable(12, 6),
    )
    yield image_case(
        "fourier_add_sine",
        "conv1x1",
        small,
        "without raw positions the reference's encoding has no batch axis, so it can only be added",
        spatial_downsample=1,
        out_channels=6,
        concat_or_add_pos="add",
        **fourier(7, 5, concat=False, sine=True),
    )
    yield image_case(
        "interpolated",
        "conv1x1",
        (2, 3, 8, 10),
        spatial_downsample=2,
        out_channels=6,
        project_pos_dim=5,
        interpolate_pos_encoding=True,
        **trainable(9, 6),
    )
    yield image_case(
        "interpolated_add",
        "conv1x1",
        (2, 3, 3, 2),
        spatial_downsample=1,
        out_channels=6,
        concat_or_add_pos="add",
        interpolate_pos_encoding=True,
        **trainable(16, 6),
    )
    yield image_case("unflattened", "conv1x1", small, spatial_downsample=2, out_channels=6, **flat, **fourier(4, 3))
    yield image_case(
        "unflattened_without_raw_positions",
        "conv1x1",
        (1, 3, 7, 5),
        "a batch of one: with more the reference spreads the positions over the batch",
        spatial_downsample=1,
        out_channels=6,
        **flat,
        **fourier(7, 5, concat=False),
    )
    yield image_case(
        "fourier_sine", "conv1x1", small, spatial_downsample=3, out_channels=4, **fourier(4, 3, bands=1, sine=True)
    )

    yield image_case("fourier", "patches", (2, 3, 6, 8), spatial_downsample=2, **fourier(3, 4))
    yield image_case(
        "trainable_add",
        "patches",
        (2, 2, 9, 6),
        in_channels=2,
        spatial_downsample=3,
        concat_or_add_pos="add",
        **trainable(6, 18),
    )
    yield image_case(
        "projected",
        "patches",
        (2, 2, 9, 6),
        in_channels=2,
        out_channels=5,
        spatial_downsample=3,
        project_pos_dim=7,
        **trainable(6, 5),
    )
    clip = (2, 4, 3, 6, 4)
    halved: Options = {"spatial_downsample": 2, "temporal_downsample": 2}
    yield image_case("video", "patches", clip, **halved, **fourier(2, 3, 2))
    yield image_case("video_unflattened", "patches", clip, **halved, **flat, **fourier(2, 3, 2))
    linear = {"conv_after_patching": True, "conv_after_patching_in_channels": 24, "out_channels": 5}
    yield image_case("video_linear", "patches", clip, **halved, **linear, **fourier(2, 3, 2))
    yield image_case(
        "video_linear_squeezed",
        "patches",
        (2, 2, 3, 6, 4),
        "one frame remains, so its axis goes and positions have two dimensions",
        **halved,
        **linear,
        **fourier(3, 2),
    )

    yield image_case("fourier", "pixels", (2, 3, 5, 4), spatial_downsample=1, **fourier(5, 4))
    yield image_case(
        "strided_axes",
        "pixels",
        (4, 5, 3, 4),
        "the reference strides over batch and channels here, not over height and width",
        in_channels=5,
        spatial_downsample=2,
        **fourier(3, 4),
    )
    yield image_case(
        "trainable_add", "pixels", (2, 3, 4, 5), spatial_downsample=1, concat_or_add_pos="add", **trainable(20, 3)
    )
    yield image_case("video", "pixels", (2, 5, 3, 7, 6), **halved, **fourier(3, 4, 3))
    yield image_case(
        "video_projected",
        "pixels",
        (2, 3, 2, 4, 3),
        **halved,
        in_channels=2,
        out_channels=6,
        project_pos_dim=3,
        **trainable(8, 6),
    )


def audio_cases() -> Iterator[Case]:
    audio = partial(part, "PerceiverAudioPreprocessor")
    mono = {"inputs": (2, 30, 1)}
    yield Case("audio_fourier", audio(samples_per_patch=5, **fourier(30, bands=4)), mono, preprocess)
    yield Case("audio_trainable", audio(samples_per_patch=5, **trainable(6, 7)), mono, preprocess)
    add = audio(samples_per_patch=6, concat_or_add_pos="add", **trainable([5], 6))
    yield Case("audio_add", add, mono, preprocess)
    projected = audio(samples_per_patch=3, out_channels=9, project_pos_dim=4, **fourier(30, bands=4))
    yield Case("audio_projected", projected, mono, preprocess)
    stereo = {"inputs": (2, 15, 2)}
    note = "channels of one sample follow each other in a patch"
    yield Case("audio_stereo", audio(samples_per_patch=6, **fourier(15)), stereo, preprocess, note=note)


def multimodal_preprocessor(masks: dict[str, float] | None, padding: int) -> Options:
    modalities = {
        "image": part(
            "PerceiverImagePreprocessor", prep_type="patches", spatial_downsample=2, **fourier(2, 2, 3, bands=1)
        ),
        "audio": part("PerceiverAudioPreprocessor", samples_per_patch=4, **fourier(12, bands=2)),
        "label": part("PerceiverOneHotPreprocessor"),
    }
    arguments: Options = {"modalities": modalities, "min_padding_size": padding}
    return part("PerceiverMultimodalPreprocessor", **arguments | ({"mask_probs": masks} if masks else {}))


MODALITIES: dict[str, Source] = {"inputs.image": (2, 2, 3, 4, 6), "inputs.audio": (2, 12, 1), "inputs.label": (2, 5)}


def multimodal_preprocessor_cases() -> Iterator[Case]:
    for name, masks, padding in (
        ("unmasked", None, 3),
        ("masked_some", {"image": 0.0, "label": 1.0}, 2),
        ("masked_audio_and_image", {"audio": 1.0, "image": 1.0}, 1),
    ):
        yield Case(f"multimodal_{name}", multimodal_preprocessor(masks, padding), MODALITIES, preprocess)


def basic_decoder_cases() -> Iterator[Case]:
    basic = partial(part, "PerceiverBasicDecoder")
    latents: dict[str, Source] = {"z": LATENTS}
    flat: dict[str, Source] = latents | {"inputs": (2, 4, 3)}
    heads = {"num_heads": 3, "qk_channels": 15, "v_channels": 9, "widening_factor": 3, "use_query_residual": True}
    queries: Options = {"output_num_channels": 5, "output_index_dims": [11], "num_channels": 8}
    yield Case("decoder_trainable", basic(**queries, **heads, **trainable(11, 8)), flat, decode)
    yield Case(
        "decoder_query_shape",
        basic(**queries, num_heads=2, **trainable(11, 8)),
        flat,
        decode,
        config={"cross_attention_shape_for_attention": "q"},
    )
    yield Case(
        "decoder_trainable_subsampled",
        basic(**queries, **trainable(11, 8)),
        flat | {"subsampled_points": torch.tensor([3, 1, 10])},
        decode,
        note="trainable positions ignore the points: every position is decoded",
    )
    yield Case(
        "decoder_fourier_unflattened",
        basic(output_num_channels=5, num_channels=14, final_project=False, widening_factor=2, **fourier(4, 5)),
        latents | {"inputs": (2, 3, 4, 5)},
        decode,
        note="positions span the axes behind the second one of inputs",
    )
    grid = [4, 5, 3]
    points = {"subsampled_points": torch.tensor([59, 0, 7, 31, 31, 14])}
    yield Case(
        "decoder_fourier_subsampled",
        basic(output_num_channels=5, output_index_dims=grid, num_channels=21, num_heads=4, **fourier(4, 5, 3)),
        flat | points,
        decode,
        note="subsampled positions are -1 + 2 i / n, the last one is not 1",
    )
    yield Case(
        "decoder_fourier_projected",
        basic(
            output_num_channels=5,
            output_index_dims=grid,
            num_channels=8,
            out_channels=21,
            project_pos_dim=8,
            use_query_residual=True,
            **fourier(4, 5, 3),
        ),
        flat | points,
        decode,
    )
    yield Case(
        "decoder_concat_inputs",
        basic(output_num_channels=5, num_channels=12, concat_preprocessed_input=True, **trainable(11, 8)),
        flat | {"inputs_without_pos": (2, 11, 4)},
        decode,
    )
    only = basic(
        output_num_channels=5, position_encoding_only=True, out_channels=8, project_pos_dim=6, **trainable(11, 8)
    )
    yield Case("decoder_positions_only", only, flat, decode)


def decoder_cases() -> Iterator[Case]:
    latents: dict[str, Source] = {"z": LATENTS, "inputs": (2, 4, 3)}
    yield Case("decoder_projection", part("PerceiverProjectionDecoder"), {"z": LATENTS}, project)
    classification = partial(part, "PerceiverClassificationDecoder")
    residual = classification(num_channels=12, use_query_residual=True, num_heads=4, **trainable(1, 12))
    yield Case("decoder_classification", residual, latents, decode)
    plain = classification(num_channels=8, final_project=True, widening_factor=2, **trainable(1, 8))
    yield Case("decoder_classification_plain", plain, latents, decode)
    flow = part(
        "PerceiverOpticalFlowDecoder",
        output_image_shape=[3, 4],
        output_num_channels=3,
        rescale_factor=20.0,
        num_channels=9,
        num_heads=2,
        **fourier(3, 4),
    )
    yield Case("decoder_optical_flow", flow, {"z": LATENTS, "inputs": (2, 12, 9)}, decode)
    for name, extra in (("video", {}), ("video_projected", {"out_channels": 21, "project_pos_dim": 9})):
        video = part(
            "PerceiverBasicVideoAutoencodingDecoder",
            output_shape=[2, 3, 2, 4],
            output_num_channels=5,
            num_channels=9 if extra else 21,
            **extra,
            **fourier(3, 2, 4),
        )
        yield Case(f"decoder_{name}", video, {"z": LATENTS, "inputs": (2, 6, 3, 2, 4)}, decode)


def query_part(kind: str, **arguments: Any) -> Options:
    """A decoder inside the multimodal one: it only makes queries."""
    output = {} if "Classification" in kind else {"output_num_channels": 6}
    return part(kind, position_encoding_only=True, **output, **arguments)


def multimodal_decoder(label_channels: int, image: Options, padding: int = 2, **extra: Any) -> Options:
    modalities = {
        "image": image,
        "label": query_part("PerceiverClassificationDecoder", **trainable(1, label_channels)),
        "audio": query_part("PerceiverBasicDecoder", output_index_dims=[3], **trainable(3, 8)),
    }
    arguments = {"output_num_channels": 6, "num_outputs": None, "min_padding_size": padding}
    return part("PerceiverMultimodalDecoder", modalities=modalities, **arguments, **extra)


TRAINABLE_IMAGE = query_part(
    "PerceiverBasicVideoAutoencodingDecoder", output_shape=[1, 2, 2, 3], **trainable([2, 2, 3], 3)
)


def multimodal_decoder_cases() -> Iterator[Case]:
    sizes = {"modality_sizes": {"image": 12, "audio": 3, "label": 1}}
    tokens: dict[str, Source] = {"z": LATENTS, "inputs": (2, 16, 5)}
    fourier_image = query_part(
        "PerceiverBasicVideoAutoencodingDecoder", output_shape=[1, 2, 2, 3], **fourier(2, 2, 3, bands=1)
    )
    subsampled = {"subsampled_points.image": torch.tensor([11, 4, 0, 9, 6])}
    spec = multimodal_decoder(13, fourier_image, padding=3, num_heads=2, qk_channels=10, v_channels=4)
    yield Case("decoder_multimodal_subsampled", spec, tokens | subsampled, decode, call=sizes)
    spec = multimodal_decoder(5, TRAINABLE_IMAGE, use_query_residual=True)
    yield Case("decoder_multimodal_trainable", spec, tokens, decode, call=sizes)


def postprocessor_cases() -> Iterator[Case]:
    projection = part("PerceiverProjectionPostprocessor", in_channels=6, out_channels=4)
    audio = part("PerceiverAudioPostprocessor", in_channels=6)
    label = part("PerceiverClassificationPostprocessor", in_channels=6)
    yield Case("postprocess_projection", projection, {"inputs": (2, 5, 6)}, postprocess)
    yield Case("postprocess_audio", audio, {"inputs": (2, 5, 6)}, postprocess)
    yield Case("postprocess_classification", label, {"inputs": (2, 3, 6)}, postprocess)
    modalities = {"image": projection, "label": label, "audio": audio}
    joined = part("PerceiverMultimodalPostprocessor", modalities=modalities)
    sizes = {"modality_sizes": {"image": 5, "label": 1, "audio": 3}}
    yield Case("postprocess_multimodal", joined, {"inputs": (2, 9, 6)}, postprocess, call=sizes)
    separate = part("PerceiverMultimodalPostprocessor", modalities=modalities, input_is_dict=True)
    inputs: dict[str, Source] = {"inputs.image": (2, 5, 6), "inputs.audio": (2, 3, 6), "inputs.label": (2, 1, 6)}
    yield Case("postprocess_multimodal_dictionary", separate, inputs, postprocess)
    embedding: dict[str, Source] = {"hidden_states": (2, 4, 10), "embeddings": (31, 10)}
    yield Case("embedding_decoder", part("PerceiverEmbeddingDecoder"), embedding, decode_embeddings)


def function_cases() -> Iterator[Case]:
    for dimensions in ([1], [224], [4, 3], [2, 1, 5]):
        name = "x".join(map(str, dimensions))
        yield Case(f"linear_positions_{name}", part("build_linear_positions", index_dims=dimensions), {}, function)
    ranged = part("build_linear_positions", index_dims=[3, 6], output_range=[-2.0, 0.5])
    yield Case("linear_positions_range", ranged, {}, function)
    positions = uniform(seeded("fourier positions"), 2, 9, 3, low=-1, high=1)
    for concat in (True, False):
        for sine in (True, False):
            arguments = fourier(8, 10, 3, bands=4, concat=concat, sine=sine)["fourier_position_encoding_kwargs"]
            name = f"fourier_features_{'concat' if concat else 'plain'}_{'sine' if sine else 'both'}"
            note = "features come from the first row of the batch" + ("" if concat else " and have no batch axis")
            spec = part("generate_fourier_features", **arguments)
            yield Case(name, spec, {"pos": positions}, function, note=note)
    for name, shape, blocks in (
        ("image", (2, 3, 6, 9), {"spatial_block_size": 3}),
        ("video", (2, 4, 3, 6, 4), {"temporal_block_size": 2, "spatial_block_size": 2}),
    ):
        yield Case(f"space_to_depth_{name}", part("space_to_depth", **blocks), {"frames": shape}, function)
    for height, width in ((4, 4), (9, 11), (3, 2), (2, 8), (1, 1)):
        spec = part("PerceiverTrainablePositionEncoding", index_dims=16, num_channels=3)
        call = {"height": height, "width": width}
        yield Case(f"interpolate_{height}x{width}", spec, {}, interpolate, call=call)


def layer_cases() -> Iterator[Case]:
    build_layer = partial(part, "PerceiverLayer")
    hidden = torch.full((2, 1, 1, 9), 0.0)
    hidden[0, ..., 5:] = torch.finfo(torch.float32).min
    self_layer = build_layer(num_heads=3, q_dim=12, kv_dim=12, widening_factor=4)
    yield Case("layer_self", self_layer, {"hidden_states": (2, 7, 12)}, layer)
    channels = build_layer(num_heads=2, qk_channels=6, v_channels=12, q_dim=12, kv_dim=12)
    config = {"chunk_size_feed_forward": 7, "hidden_act": "quick_gelu"}
    yield Case("layer_self_channels", channels, {"hidden_states": (2, 7, 12)}, layer, config=config)
    masked: dict[str, Source] = {"hidden_states": (2, 9, 12), "attention_mask": hidden}
    narrow = build_layer(num_heads=2, qk_channels=6, v_channels=12, q_dim=12, kv_dim=12, use_query_residual=False)
    yield Case("layer_self_masked", narrow, masked, layer, note="masks are added to the scores")
    inputs: dict[str, Source] = {"hidden_states": (2, 7, 12), "inputs": (2, 9, 10), "inputs_mask": hidden}
    for shape in ("kv", "q"):
        spec = build_layer(is_cross_attention=True, num_heads=2, q_dim=12, kv_dim=10, widening_factor=2)
        config = {"cross_attention_shape_for_attention": shape}
        yield Case(f"layer_cross_{shape}", spec, inputs, layer, config=config)
    wide = {"qk_channels": 9, "v_channels": 15, "num_heads": 3, "q_dim": 12, "kv_dim": 10}
    spec = build_layer(is_cross_attention=True, use_query_residual=False, **wide)
    yield Case("layer_cross_channels", spec, inputs, layer, config={"chunk_size_feed_forward": 1})


def model_cases() -> Iterator[Case]:
    model = partial(part, "PerceiverModel")
    classification = part("PerceiverClassificationDecoder", num_channels=8, **trainable(1, 8))
    spec = model(input_preprocessor=part("PerceiverTextPreprocessor"), decoder=classification)
    ids = torch.tensor([[30, 0, 7, 7, 1, 12], [5, 29, 2, 0, 8, 16]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 1]])
    yield Case("model_text_classification", spec, {"inputs": ids, "attention_mask": mask}, whole)

    image = part("PerceiverImagePreprocessor", prep_type="patches", spatial_downsample=2, **fourier(3, 4, bands=2))
    yield Case("model_image", model(input_preprocessor=image), {"inputs": (2, 3, 6, 8)}, whole)
    learned = part(
        "PerceiverImagePreprocessor", prep_type="conv1x1", spatial_downsample=2, out_channels=6, **trainable(9, 6)
    )
    call = {"interpolate_pos_encoding": True}
    yield Case(
        "model_image_interpolated", model(input_preprocessor=learned), {"inputs": (2, 3, 8, 9)}, whole, call=call
    )

    basic = part("PerceiverBasicDecoder", output_num_channels=6, num_channels=8, num_heads=2, **trainable(11, 8))
    projection = part("PerceiverProjectionPostprocessor", in_channels=6, out_channels=4)
    spec = model(decoder=basic, output_postprocessor=projection)
    yield Case("model_decoder_and_postprocessor", spec, {"inputs": (2, 9, 10)}, whole)
    projected = model(decoder=part("PerceiverProjectionDecoder"))
    note = "transformers cannot call this decoder in a model; its formula is applied to last_hidden_state"
    yield Case("model_projection", projected, {"inputs": (2, 9, 10)}, whole_projected, note=note)

    postprocessors = {
        "audio": part("PerceiverAudioPostprocessor", in_channels=6),
        "image": projection,
        "label": part("PerceiverClassificationPostprocessor", in_channels=6),
    }
    spec = model(
        input_preprocessor=multimodal_preprocessor({"label": 1.0}, 2),
        decoder=multimodal_decoder(5, TRAINABLE_IMAGE),
        output_postprocessor=part("PerceiverMultimodalPostprocessor", modalities=postprocessors),
    )
    config = {"num_cross_attention_heads": 1}
    yield Case("model_multimodal", spec, MODALITIES, whole, config=config, note="every position decoded")


def all_cases() -> Iterator[Case]:
    for cases in (
        text_cases,
        image_cases,
        audio_cases,
        multimodal_preprocessor_cases,
        basic_decoder_cases,
        decoder_cases,
        multimodal_decoder_cases,
        postprocessor_cases,
        function_cases,
        layer_cases,
        model_cases,
    ):
        yield from cases()


def tensor(source: Source, rng: np.random.Generator) -> torch.Tensor:
    return source if isinstance(source, torch.Tensor) else normal(rng, *source, std=1.2)


def write_case(target: Path, case: Case) -> None:
    """Tensors of one case, and in the metadata what the part was built and called with."""
    config = CONFIG | case.config
    module = build(case.part, PerceiverConfig(**config, attn_implementation="eager"))
    rng = seeded(f"parts/{case.name}")
    weights: Tensors = {}
    if isinstance(module, nn.Module):
        randomize(module.eval(), rng)
        weights = {f"weights.{name}": item.clone() for name, item in module.state_dict().items()}
    inputs = {name: tensor(source, rng) for name, source in case.inputs.items()}
    found = case.run(module, nest(inputs), case.call)
    sizes = {
        name: found.pop(name) for name in ("num_channels", "num_query_channels", "modality_sizes") if name in found
    }
    outputs = flatten({name: value for name, value in found.items() if value is not None})
    options = {"config": config, "call": case.call, "note": case.note, **case.part, **sizes}
    tensors = weights | {f"inputs.{name}": item for name, item in inputs.items()}
    tensors |= {f"outputs.{name}": item for name, item in outputs.items()}
    save_tensors(target / f"{case.name}.safetensors", tensors, {"options": json.dumps(options, sort_keys=True)})


def generate(target: Path) -> None:
    for case in all_cases():
        write_case(target, case)


if __name__ == "__main__":
    generate_or_check("Writes the parity fixtures of single parts.", FIXTURES / "parts", generate)
