"""Compares `prosa convert` and `prosa forward` with mlx-lm (pip install "mlx[cpu]" mlx-lm safetensors numpy).

    python tools/compare_with_mlx.py --prosa build/prosa MODEL [--bits 4,8] [--groups 32,64,128] [--logits IDS]

For every number of bits and every group, converts MODEL with both and compares each tensor byte for byte; then lets
mlx-lm load what prosa wrote, with the config and index as they are, and compares the logits of both for the given ids.
mlx-lm computes in bfloat16, so its own noise is measured beside: its logits of the same weights in float32, against its
logits in bfloat16. Exit code 1: a byte differs, or the logits are further apart than 1.5 times that noise.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm.convert import convert
from mlx_lm.utils import load_model, quantize_model, save_model


def tensors_of(folder):
    """name -> (dtype, shape, bytes) of all safetensors files of a folder."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = (entry["dtype"], tuple(entry["shape"]), data[begin:end])
    return found


def convert_with_mlx(model, out, bits, group):
    if (model / "tokenizer.json").exists():
        convert(str(model), str(out), quantize=True, q_bits=bits, q_group_size=group)
        return
    loaded, config = load_model(model, lazy=True)  # the same steps without a tokenizer
    loaded, config = quantize_model(loaded, config, group, bits)
    save_model(out, loaded)


def differences(ours, theirs):
    a, b = tensors_of(ours), tensors_of(theirs)
    problems = [f"only in one: {name}" for name in sorted(a.keys() ^ b.keys())]
    problems += [f"{name}: {a[name][:2]} and {b[name][:2]}" for name in sorted(a.keys() & b.keys()) if a[name] != b[name]]
    return len(a), problems


def mlx_logits(folder, ids, dtype=None):
    model, _ = load_model(folder)
    if dtype is not None:
        cast = lambda array: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array
        model.update(tree_map(cast, model.parameters()))
    return np.array(model(mx.array([ids]))[0].astype(mx.float32))


def prosa_logits(prosa, folder, ids, scratch):
    out = pathlib.Path(scratch) / "logits.safetensors"
    command = [prosa, "forward", folder, "--ids", ",".join(map(str, ids)), "--out", out]
    subprocess.run(list(map(str, command)), check=True)
    return np.array(mx.load(str(out))["logits"])


def kl(reference, other):
    def log_softmax(x):
        x = x.astype(np.float64) - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def compare_logits(arguments, folder, ids, scratch):
    ours = prosa_logits(arguments.prosa, folder, ids, scratch)
    exact = mlx_logits(folder, ids, mx.float32)
    rounded = mlx_logits(folder, ids)
    noise, apart = np.abs(rounded - exact).max(), np.abs(ours - exact).max()
    print(
        f"    logits: mlx bf16 against f32 {noise:.4f} (KL {kl(exact, rounded):.2e}), "
        f"prosa against mlx f32 {apart:.4f} (KL {kl(exact, ours):.2e}), "
        f"same top token {np.mean(ours.argmax(-1) == rounded.argmax(-1)):.3f} (mlx with itself "
        f"{np.mean(exact.argmax(-1) == rounded.argmax(-1)):.3f})"
    )
    return apart <= 1.5 * noise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",") if part]
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--prosa", default="build/prosa")
    parser.add_argument("--bits", type=numbers, default=[2, 3, 4, 5, 6, 8])
    parser.add_argument("--groups", type=numbers, default=[32, 64, 128])
    parser.add_argument("--logits", type=numbers, default=[], metavar="IDS")
    parser.add_argument("--bytes", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    mx.set_default_device(mx.cpu)
    good = True
    for bits in arguments.bits:
        for group in arguments.groups:
            with tempfile.TemporaryDirectory() as scratch:
                ours, theirs = pathlib.Path(scratch) / "prosa", pathlib.Path(scratch) / "mlx"
                command = [arguments.prosa, "convert", arguments.model, ours, "--bits", bits, "--group", group]
                subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
                if arguments.bytes:
                    convert_with_mlx(arguments.model, theirs, bits, group)
                    count, problems = differences(ours, theirs)
                    print(f"{bits} bit, group {group}: {count} tensors, {len(problems)} differ")
                    for problem in problems[:5]:
                        print("   ", problem)
                    good = good and not problems
                if arguments.logits:
                    good = compare_logits(arguments, ours, arguments.logits, scratch) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
