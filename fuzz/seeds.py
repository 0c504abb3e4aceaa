"""Writes seeds/, from which fuzzing starts: one small valid file of each kind that a target reads.

Needs Python's standard library and ffmpeg with libvorbis, libmp3lame and libwebp. The parsers accept every seed unless its
name begins with `refused-`. Crashes are kept beside the seeds under names that begin with `crash-`; this program leaves
them alone.
"""

import collections
import io
import json
import pickle
import struct
import subprocess
import sys
import tempfile
import types
import wave
import zipfile
import zlib
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"


def write(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def ffmpeg(source, *options):
    """The bytes of a file; through a pipe, ffmpeg could not complete its header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        command = ["ffmpeg", "-v", "error", "-bitexact", "-f", "lavfi", "-i", source]
        subprocess.run([*command, "-bitexact", *options, path], check=True)
        return path.read_bytes()


def configs():
    every_field = {
        "model_type": "perceiver",
        "architectures": ["PerceiverForSequenceClassification"],
        "num_latents": 4,
        "d_latents": 8,
        "d_model": 8,
        "num_blocks": 2,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
        "qk_channels": None,
        "v_channels": 8,
        "cross_attention_shape_for_attention": "q",
        "self_attention_widening_factor": 1,
        "cross_attention_widening_factor": 1,
        "hidden_act": "swish",
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "use_query_residual": True,
        "vocab_size": 262,
        "max_position_embeddings": 16,
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": "0", "yes": 1},
        "problem_type": "single_label_classification",
        "chunk_size_feed_forward": 0,
        "output_attentions": False,
        "output_hidden_states": False,
        "return_dict": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "5.23.0",
    }
    write("config", "text.json", json.dumps(every_field))
    video = {
        "architectures": ["PerceiverForMultimodalAutoencoding"],
        "num_cross_attention_heads": 1,
        "image_size": 8,
        "train_size": [16, 24],
        "num_frames": 2,
        "audio_samples_per_frame": 32,
        "samples_per_patch": 16,
        "output_shape": [1, 2, 8, 8],
        "output_num_channels": 16,
        "_label_trainable_num_channels": 8,
        "num_labels": 3,
        "dtype": "float16",
    }
    write("config", "video.json", json.dumps(video))


def tensor_file(tensors, metadata=None):
    header, body = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def weights():
    tensors = {
        "a.weight": ("F32", [2, 1], struct.pack("<2f", 1, -2)),
        "a.bias": ("BF16", [2], bytes(4)),
        "n": ("I64", [], struct.pack("<q", 3)),
        "b": ("BOOL", [3], bytes([0, 1, 1])),
    }
    one = tensor_file(tensors, {"format": "pt"})
    write("safetensors", "mixed.safetensors", one)
    write("weight_folder", "weights", one)
    write("weight_folder", "refused-pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n")
    write("weight_folder", "refused-page", "<!DOCTYPE html><html><body>Not found</body></html>")
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    write("safetensors_index", "two.json", json.dumps(index))


class Network:
    """A module of PyTorch, as torch.save writes it whole: its tables of parameters and modules."""

    def __init__(self, parameters, modules):
        self.training = False
        self._parameters = collections.OrderedDict(parameters)
        self._buffers = collections.OrderedDict()
        self._non_persistent_buffers_set = set()
        self._modules = collections.OrderedDict(modules)


def fake_torch():
    """Classes whose pickles look like PyTorch's."""
    torch = types.ModuleType("torch")
    utils = types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_):
        return None

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    storages = {}
    for name in ["FloatStorage", "HalfStorage", "LongStorage"]:
        storages[name] = type(name, (), {"__module__": "torch"})
        setattr(torch, name, storages[name])
    sys.modules |= {"torch": torch, "torch._utils": utils}
    return storages, _rebuild_tensor_v2


def pickles():
    storages, rebuild = fake_torch()

    class Storage:
        def __init__(self, kind, key, count):
            self.key = ("storage", storages[kind], key, "cpu", count)

    class Tensor:
        def __init__(self, storage, offset, shape, strides):
            self.parts = (storage, offset, shape, strides, False, collections.OrderedDict())

        def __reduce__(self):
            return rebuild, self.parts

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.key if isinstance(value, Storage) else None

    def dumped(value):
        file = io.BytesIO()
        Pickler(file, 2).dump(value)
        return file.getvalue()

    floats, counts = Storage("FloatStorage", "0", 4), Storage("LongStorage", "1", 1)
    state = collections.OrderedDict(
        weight=Tensor(floats, 0, (2, 2), (2, 1)), view=Tensor(floats, 1, (2,), (2,)), n=Tensor(counts, 0, (), ())
    )
    data = {"0": struct.pack("<4f", 1, 2, 3, 4), "1": struct.pack("<q", 5)}
    part = Network({"bias": Tensor(floats, 1, (2,), (2,))}, {})
    network = Network({"weight": Tensor(floats, 0, (2, 2), (2, 1)), "none": None}, {"part": part})
    for seed, value in [("zip.bin", state), ("module.bin", network)]:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in [("data.pkl", dumped(value)), ("byteorder", b"little"), ("version", b"3\n")]:
                archive.writestr(zipfile.ZipInfo(f"m/{name}"), content)
            for key, content in data.items():
                archive.writestr(zipfile.ZipInfo(f"m/data/{key}"), content)
        write("pickle", seed, file.getvalue())
    legacy = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    stream = b"".join(map(dumped, [*legacy, state, ["0", "1"]]))
    stream += b"".join(struct.pack("<q", count) + data[key] for key, count in [("0", 4), ("1", 1)])
    write("pickle", "legacy.bin", stream)
    write("pickle", "nested.bin", dumped({"state_dict": {"a": [1, 2.5, None, True, "x"]}, "epoch": 3}))


def settings():
    text = "a [MASK]b \u00e9[X]  c"
    added = {"0": {"content": "[PAD]", "special": True}, "262": {"content": "[X]", "lstrip": True, "single_word": True}}
    new = {
        "added_tokens_decoder": added,
        "model_max_length": 2048,
        "mask_token": "[MASK]",
        "pad_token": {"content": "[PAD]", "rstrip": True},
        "extra_special_tokens": ["<e>"],
        "padding_side": "left",
        "tokenizer_class": "PerceiverTokenizer",
    }
    write("tokenizer", "new", "\0".join([json.dumps(new), "", "", text]))
    old = {"model_max_length": 1e30, "cls_token": "[CLS]", "clean_up_tokenization_spaces": True}
    special = {"mask_token": {"content": "[M]"}, "additional_special_tokens": ["[X]"]}
    write("tokenizer", "old", "\0".join([json.dumps(old), json.dumps(special), json.dumps({"[X]": 262}), text]))
    image = {
        "image_processor_type": "PerceiverImageProcessor",
        "do_center_crop": True,
        "crop_size": {"height": 8, "width": 8},
        "do_resize": True,
        "size": {"height": 6, "width": 6},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    write("image_processor", "own", json.dumps(image))
    shortest = {"image_processor": {"do_center_crop": False, "size": {"shortest_edge": 7, "longest_edge": 9}}}
    write("image_processor", "combined", "\0" + json.dumps(shortest))
    write("image_processor", "numbers", json.dumps({"size": 5, "crop_size": 7, "resample": 2, "image_mean": 0.5}))


def png(width, height, depth, colour, rows):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pictures():
    still = "testsrc=size=16x12:rate=1:duration=1"
    for name, options in {
        "rgb.png": ["-f", "image2pipe", "-c:v", "png", "-pix_fmt", "rgb24"],
        "palette.png": ["-f", "image2pipe", "-c:v", "png", "-pix_fmt", "pal8"],
        "grey16.png": ["-f", "image2pipe", "-c:v", "png", "-pix_fmt", "gray16be"],
        "photo.jpg": ["-f", "image2pipe", "-c:v", "mjpeg"],
        "lossy.webp": ["-f", "webp", "-c:v", "libwebp", "-lossless", "0"],
        "lossless.webp": ["-f", "webp", "-c:v", "libwebp", "-lossless", "1"],
        "lzw.tiff": ["-f", "image2pipe", "-c:v", "tiff", "-compression_algo", "lzw", "-pix_fmt", "rgb24"],
        "rgb.bmp": ["-f", "image2pipe", "-c:v", "bmp", "-pix_fmt", "bgr24"],
        "rgb565.bmp": ["-f", "image2pipe", "-c:v", "bmp", "-pix_fmt", "rgb565le"],
        "still.gif": ["-f", "gif"],
    }.items():
        write("image", name, ffmpeg(still, *options))
    moving = "testsrc=size=16x12:rate=10:duration=0.3"
    write("animation", "three.gif", ffmpeg(moving, "-f", "gif"))
    write("animation", "three.png", ffmpeg(moving, "-f", "apng", "-plays", "0"))
    write("animation", "three.webp", ffmpeg(moving, "-f", "webp", "-c:v", "libwebp_anim", "-lossless", "1"))


def flows():
    numbers = [1.5, -2, 1e10, 0, 0, 0.25]
    write("flow_file", "middlebury.flo", b"PIEH" + struct.pack("<ii", 3, 1) + struct.pack("<6f", *numbers))
    row = struct.pack(">9H", 32768, 32832, 1, 0, 0, 0, 32000, 33000, 1)
    write("flow_file", "kitti.png", png(3, 2, 16, 2, [row, row]))


def sounds():
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(range(240)))
    write("sound", "stereo.wav", file.getvalue())
    tone = "sine=frequency=440:sample_rate=8000:duration=0.05"
    samples = struct.pack("<4f", 0, 0.5, -1, 0.25)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples
    write("sound", "floats.wav", b"RIFF" + struct.pack("<I", len(body)) + body)
    write("sound", "tone.flac", ffmpeg(tone, "-metadata_header_padding", "0", "-f", "flac"))
    write("sound", "tone.ogg", ffmpeg(tone, "-c:a", "libvorbis", "-f", "ogg"))
    write("sound", "tone.mp3", ffmpeg(tone, "-c:a", "libmp3lame", "-b:a", "8k", "-f", "mp3"))


def tables():
    write("table_csv", "quotes.csv", 'label,text\nspam,"buy, ""now""\nhere"\nham,hello\n')
    write("table_csv", "numbers.csv", "\ufefftext,label\na,1.5\nb,-2e3\n")
    records = [{"text": "a", "label": "x"}, {"label": 3, "text": "\u00e9"}]
    write("table_json_lines", "two.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    write("table_json", "two.json", json.dumps(records, indent=1))
    write("text", "marked", "\ufeffa\r\n\u00e9\n")
    write("text", "utf16", "\ufeffa\u20ac".encode("utf-16-le"))
    packer = zlib.compressobj(wbits=31)
    write("text", "packed", packer.compress(b"a\nb") + packer.flush())
    write("idx", "plain", bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 9, 8, 7, 6]))
    packer = zlib.compressobj(wbits=31)
    write("idx", "packed", packer.compress(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9])) + packer.flush())


def recipes():
    folder = Path(__file__).parent.parent / "recipes"
    for name in ["autoencoder", "fashion-mnist", "flow", "language", "spam"]:
        write("recipe", f"{name}.toml", (folder / f"{name}.toml").read_bytes())


for generate in [configs, weights, settings, pictures, flows, sounds, tables, recipes, pickles]:
    generate()
