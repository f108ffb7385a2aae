"""Perplexity and KL of `prosa eval`, computed again with transformers in float32, and how far the two are apart.
It shares nothing with prosa but the files: an MLX-quantized folder is dequantized here with NumPy, and KL is summed in
float64 from whole rows of logits.
Invariant: nothing is written; exits with 1 when a number is further off than --bound.

  python3 tools/compare_eval.py --program build/prosa --model MODEL [--reference MODEL2] --text FILE [--window 512]
      [--stride 256] [--limit 4096] [--backend reference]
  python3 tools/compare_eval.py --program build/prosa --ids 2000 --model tests/data/golden/tiny-mlx-4bit ...

Needs torch, transformers (with Qwen3.5), safetensors and numpy. --ids N takes random ids, for models without tokenizer.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM


def dense(tensors, config):
    """Names without prefixes, float32, in the convention of raw Hugging Face folders. MLX affine: a little-endian bit
    stream a row, scale * code + bias for each group of columns."""
    out = {}
    group_size = config.get("quantization_group_size")
    for key in ("quantization", "quantization_config"):
        if isinstance(config.get(key), dict):
            group_size = config[key]["group_size"]
    for name, value in tensors.items():
        short = name
        for prefix in ("model.language_model.", "language_model.model.", "language_model.", "model."):
            if short.startswith(prefix):
                short = short[len(prefix):]
                break
        if short.endswith((".scales", ".biases")) or short.startswith(("mtp.", "visual", "vision")):
            continue
        base = name.removesuffix(".weight")
        if base + ".scales" in tensors:
            scales = tensors[base + ".scales"].float()
            biases = tensors[base + ".biases"].float()
            rows, words = value.shape
            group = group_size or 64
            cols = scales.shape[1] * group
            bits = words * 32 // cols
            stream = np.unpackbits(np.ascontiguousarray(value.numpy()).view(np.uint8).reshape(rows, -1), axis=1,
                                   bitorder="little")
            codes = stream.reshape(rows, cols, bits).astype(np.float32) @ (2.0 ** np.arange(bits, dtype=np.float32))
            codes = torch.from_numpy(codes).reshape(rows, -1, group)
            value = (codes * scales[..., None] + biases[..., None]).reshape(rows, cols)
        out[short] = value.float()
    conv = next(v for k, v in out.items() if k.endswith("conv1d.weight"))
    if conv.shape[-1] == 1:  # converted: [channels, taps, 1], norms hold 1 + w
        for name in out:
            if name.endswith("conv1d.weight"):
                out[name] = out[name].transpose(1, 2).contiguous()
            elif name.endswith(("layernorm.weight", "q_norm.weight", "k_norm.weight")) or name == "norm.weight":
                out[name] = out[name] - 1
    return out


def load(folder):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors.update(load_file(file))
    weights = dense(tensors, config)
    text = dict(config.get("text_config", config))
    for key in ("quantization", "quantization_config", "architectures", "dtype", "torch_dtype"):
        text.pop(key, None)
    model = Qwen3_5ForCausalLM(Qwen3_5TextConfig(**text)).float().eval()
    state = {("model." + name if name != "lm_head.weight" else name): value for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if name != "lm_head.weight" or not text.get("tie_word_embeddings")]
    if missing or unexpected:
        raise SystemExit(f"{folder}: missing {missing[:5]}, unexpected {unexpected[:5]}")
    model.tie_weights()
    return model


def windows_of(count, window, stride):
    """(begin, end, first scored) as docs/reference/eval.md has it."""
    covered, begin = 0, 0
    while begin + 1 < count and covered < count:
        end = min(begin + window, count)
        if stride == window and end - begin < window:
            return
        yield begin, end, max(begin + 1, covered)
        covered = end
        begin += stride


@torch.no_grad()
def evaluate(model, reference, ids, window, stride):
    nll, reference_nll, kl, same = [], [], [], []
    for begin, end, first in windows_of(len(ids), window, stride):
        tokens = torch.tensor([ids[begin:end]])
        rows = slice(first - begin - 1, end - begin - 1)
        truth = tokens[0, first - begin:]
        q = torch.log_softmax(model(tokens).logits[0, rows].double(), -1)
        nll += (-q.gather(1, truth[:, None])[:, 0]).tolist()
        if reference is None:
            continue
        p = torch.log_softmax(reference(tokens).logits[0, rows].double(), -1)
        reference_nll += (-p.gather(1, truth[:, None])[:, 0]).tolist()
        kl += (p.exp() * (p - q)).sum(-1).tolist()
        same += (p.argmax(-1) == q.argmax(-1)).tolist()
    result = {"perplexity": float(np.exp(np.mean(nll))), "scored": len(nll)}
    if reference is not None:
        result |= {"reference": float(np.exp(np.mean(reference_nll))), "kl": float(np.mean(kl)),
                   "kl_p99": float(np.quantile(kl, 0.99)), "kl_max": float(np.max(kl)), "top1": float(np.mean(same))}
    return result


def of_prosa(arguments, text):
    command = [arguments.program, "eval", arguments.model, "--text", text, "--json", "--window", str(arguments.window),
               "--limit", str(arguments.limit), "--backend", arguments.backend,
               "--control-tokens"]  # as transformers' tokenizer reads the text
    if arguments.stride != arguments.window:
        command += ["--stride", str(arguments.stride)]
    if arguments.reference:
        command += ["--reference", arguments.reference]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["text"]
    result = {"perplexity": found["perplexity"], "scored": found["scored"]}
    if arguments.reference:
        result |= {"reference": found["reference"]["perplexity"], "kl": found["kl"]["mean"],
                   "kl_p99": found["kl"]["p99"], "kl_max": found["kl"]["max"], "top1": found["top1"]["mean"]}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--reference")
    parser.add_argument("--text")
    parser.add_argument("--ids", type=int, default=0)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--stride", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--backend", default="reference")
    parser.add_argument("--bound", type=float, default=1e-3)
    arguments = parser.parse_args()
    arguments.stride = arguments.stride or arguments.window
    model = load(arguments.model)
    reference = load(arguments.reference) if arguments.reference else None
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        if arguments.ids:
            r = random.Random(1)
            ids = [r.randrange(model.config.vocab_size) for _ in range(arguments.ids)]
        else:
            text = pathlib.Path(arguments.text).read_text(encoding="utf-8")
            ids = AutoTokenizer.from_pretrained(arguments.model)(text)["input_ids"]
        if arguments.limit:
            ids = ids[:arguments.limit]
        # Text goes to prosa as text, so that its tokenizer is compared too; lines would keep the tail.
        if arguments.ids:
            length = len(ids) // arguments.window * arguments.window if arguments.stride == arguments.window else len(ids)
            ids = ids[:length]
            file.write(json.dumps({"ids": ids}) + "\n")
            file.flush()
        prosa = of_prosa(arguments, file.name if arguments.ids else arguments.text)
    theirs = evaluate(model, reference, ids, arguments.window, arguments.stride)
    worst = 0.0
    for name, value in theirs.items():
        off = abs(prosa[name] - value) / max(abs(value), 1e-12)
        worst = max(worst, off)
        print(f"{name:<12}{prosa[name]:>16.8g}{value:>16.8g}   {off:.1e}")
    print(f"worst relative difference {worst:.1e}, bound {arguments.bound:.0e}")
    sys.exit(worst > arguments.bound)


if __name__ == "__main__":
    main()
