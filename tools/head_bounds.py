"""How much of the head's weights an exact bound could leave unread.

The head of a 4-bit model (MLX folder, group 64) is a third of what a decode step reads. If the high bits of its codes
bounded every logit well enough, the low bits would be needed only of rows that can still be among the k largest. This
measures the share of such rows over real hidden states, with the tightest of three bounds of what the low bits may add: the
sum of magnitudes, Cauchy-Schwarz by groups, Cauchy-Schwarz by rows. Not a part of prosa: needs numpy.

  python3 tools/head_bounds.py MODEL --text texts.jsonl [--prosa build/prosa]     (lines of {"messages": [...]})

Hidden states are not asked of the program: with more rows than columns, the logits determine them.
"""
import argparse
import json
import pathlib
import struct
import subprocess
import tempfile

import numpy as np

GROUP = 64
BITS = 4
TOP = (1, 20)  # greedy, and what the default sampling keeps


def tensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] in ("U32", "F32"):
            values = np.frombuffer(raw, "<u4" if entry["dtype"] == "U32" else "<f4")
        else:
            continue
        yield name, values.reshape(entry["shape"])


def head_of(folder):
    """Codes [rows, groups, 64], scales and biases [rows, groups]."""
    found = dict(tensors(folder / "model.safetensors"))
    names = [name for name in found if name.endswith(("lm_head.weight", "embed_tokens.weight"))]
    stem = sorted(names, key=lambda name: "lm_head" not in name)[0].removesuffix(".weight")
    words = found[stem + ".weight"]
    codes = np.stack([words >> (BITS * i) & (2**BITS - 1) for i in range(32 // BITS)], -1)
    codes = codes.reshape(len(words), -1, GROUP).astype(np.float64)
    return codes, found[stem + ".scales"].astype(np.float64), found[stem + ".biases"].astype(np.float64)


def logits_of(prosa, folder, text):
    asked = json.dumps({"text": text})
    answer = subprocess.run([prosa, "tokenize", folder], input=asked, capture_output=True, text=True, check=True)
    ids = json.loads(answer.stdout)["ids"][:48]
    with tempfile.TemporaryDirectory() as place:
        out = pathlib.Path(place) / "logits.safetensors"
        listed = ",".join(map(str, ids))
        subprocess.run([prosa, "forward", folder, "--ids", listed, "--out", out], check=True, capture_output=True)
        return dict(tensors(out))["logits"].astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--prosa", default="build/prosa")
    parser.add_argument("--documents", type=int, default=12)
    arguments = parser.parse_args()

    codes, scales, biases = head_of(arguments.model)
    weights = (codes * scales[:, :, None] + biases[:, :, None]).reshape(len(codes), -1)
    gram = weights.T @ weights
    needed = {(low, k): [] for low in (1, 2) for k in TOP}
    for line in arguments.text.read_text().splitlines()[: arguments.documents]:
        logits = logits_of(arguments.prosa, arguments.model, json.loads(line)["messages"][-1]["content"][:300])
        for x in np.linalg.solve(gram, weights.T @ logits[2:26:3].T).T:
            grouped = x.reshape(-1, GROUP)
            exact = weights @ x
            for low in (1, 2):
                middle = (2**low - 1) / 2
                known = np.floor(codes / 2**low) * 2**low + middle
                left = codes - known
                estimate = (np.einsum("rgc,gc->rg", known, grouped) * scales + biases * grouped.sum(1)).sum(1)
                magnitudes = (np.abs(scales) * middle * np.abs(grouped).sum(1)).sum(1)
                by_group = (np.abs(scales) * np.linalg.norm(left, axis=2) * np.linalg.norm(grouped, axis=1)).sum(1)
                by_row = np.linalg.norm((scales[:, :, None] * left).reshape(len(codes), -1), axis=1) * np.linalg.norm(x)
                bound = np.minimum(magnitudes, np.minimum(by_group, by_row))
                assert (np.abs(estimate - exact) <= bound + 1e-6).all()
                for k in TOP:
                    reached = np.sort(estimate - bound)[-k]
                    needed[low, k].append((estimate + bound >= reached).mean())
    for (low, k), shares in needed.items():
        read = (BITS - low + 0.5 + low * np.mean(shares)) / (BITS + 0.5)
        print(f"{low} low bit(s) unread, top {k}: {np.mean(shares):.0%} of rows need them (median {np.median(shares):.0%}), "
              f"{read:.0%} of the bytes, {len(shares)} positions")


if __name__ == "__main__":
    main()
