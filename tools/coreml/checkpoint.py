"""A Qwen3.5 checkpoint's folder as NumPy arrays: config.json and safetensors, Hugging Face's files as they are and MLX's with
affine quantization. It knows no Core ML and checks no more than what the conversion needs.

Invariant: `Checkpoint.tensor()` is float32, in Hugging Face's shapes, with the 1 of zero-centred norms added.
"""
import json
import pathlib
import struct

import numpy as np

_PREFIXES = ("model.language_model.", "language_model.model.", "model.")
_CENTRED = ("input_layernorm.weight", "post_attention_layernorm.weight", "q_norm.weight", "k_norm.weight")
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U32": np.uint32, "I32": np.int32}


class CheckpointError(Exception):
    """What is wrong with the folder, in a sentence for its user."""


def read_safetensors(path):
    """name -> array; bfloat16 becomes float32. Other dtypes than float and int32 are left out: nothing here reads them."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if length < 2 or length > size - 8:
            raise CheckpointError(f"{path}: this is no safetensors file: its header does not fit into it")
        header = json.loads(file.read(length))
    raw = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _DTYPES:
            continue
        begin, end = entry["data_offsets"]
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        if not 0 <= begin <= end <= len(raw) or end - begin != dtype.itemsize * int(np.prod(entry["shape"], dtype=np.int64)):
            raise CheckpointError(f"{path}: {name} lies outside of the file; download it again")
        array = raw[begin:end].view(dtype).reshape(entry["shape"])
        tensors[name] = (array.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else array
    return tensors


def dequantize(words, scales, biases, bits, group):
    """MLX's affine form: `bits` a value, one little-endian bit stream a row; value = scale · q + bias of its group."""
    rows, columns = scales.shape[0], scales.shape[1] * group
    stream = np.unpackbits(words.view(np.uint8).reshape(rows, -1), axis=1, bitorder="little")
    q = stream[:, :columns * bits].reshape(rows, columns, bits) @ (1 << np.arange(bits)).astype(np.float32)
    return (q.reshape(rows, -1, group) * scales[..., None] + biases[..., None]).reshape(rows, columns).astype(np.float32)


class Checkpoint:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        if not (self.folder / "config.json").is_file():
            raise CheckpointError(f"{self.folder}: there is no config.json; name the folder of a Qwen3.5 checkpoint")
        self.root = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.config = self.root.get("text_config", self.root)
        self.raw = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            self.raw.update(read_safetensors(path))
        self.names = {}
        for name in self.raw:
            prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
            self.names.setdefault(name.removeprefix(prefix).removeprefix("language_model."), name)
        if "embed_tokens.weight" not in self.names:
            raise CheckpointError(f"{self.folder}: no embed_tokens.weight in its safetensors; is the download complete?")
        conv = next((n for n in self.names if n.endswith("conv1d.weight")), None)
        # Raw files have [channels, 1, kernel] and norms less 1, MLX's [channels, kernel, 1] and whole norms.
        self.centred = conv is None or self.raw[self.names[conv]].shape[1] == 1

    def __getitem__(self, key):
        """A number of the config; the ones that may be left out have transformers' defaults."""
        defaults = {"rms_norm_eps": 1e-6, "linear_conv_kernel_dim": 4, "full_attention_interval": 4, "head_dim": 256}
        if key in self.config:
            return self.config[key]
        if key in defaults:
            return defaults[key]
        raise CheckpointError(f"{self.folder}/config.json: {key} is missing")

    def layer_types(self):
        types = self.config.get("layer_types")
        every = self["full_attention_interval"]
        return types or ["full_attention" if (i + 1) % every == 0 else "linear_attention"
                         for i in range(self["num_hidden_layers"])]

    def rope(self):
        """(theta, rotated dimensions of a head)."""
        rope = self.config.get("rope_parameters") or {}
        share = rope.get("partial_rotary_factor", self.config.get("partial_rotary_factor", 0.25))
        return rope.get("rope_theta", self.config.get("rope_theta", 1e7)), int(self["head_dim"] * share)

    def has(self, name):
        return name in self.names

    def tensor(self, name):
        if name not in self.names:
            raise CheckpointError(f"{self.folder}: the tensor {name} is missing; is the download complete?")
        full = self.names[name]
        array = self.raw[full]
        if array.dtype == np.uint32:
            array = self._dequantized(name, full, array)
        array = np.asarray(array, np.float32)
        if name.endswith("conv1d.weight"):
            return array.reshape(array.shape[0], -1)
        if self.centred and (name == "norm.weight" or name.endswith(_CENTRED)):
            array = array + 1
        return array

    def _dequantized(self, name, full, words):
        stem = full.removesuffix(".weight")
        quantization = self.root.get("quantization") or self.config.get("quantization") or {
            "bits": self.root.get("quantization_bits"), "group_size": self.root.get("quantization_group_size")}
        own = quantization.get(stem, {})
        own = own if isinstance(own, dict) else {}
        if own.get("mode", quantization.get("mode", "affine")) != "affine":
            raise CheckpointError(f"{self.folder}: {name} is quantized in another mode than affine; convert the original checkpoint")
        bits, group = own.get("bits", quantization.get("bits")), own.get("group_size", quantization.get("group_size"))
        if not bits or not group:
            raise CheckpointError(f"{self.folder}/config.json: it does not say how {name} is quantized")
        return dequantize(words, *(np.asarray(self.raw[f"{stem}.{part}"], np.float32) for part in ("scales", "biases")), bits, group)
