"""Writes a checkpoint as the folder that ships: 4-bit MLX safetensors, config.json, generation_config.json.
The tokenizer files are tokenizer.py's. Invariants: norms have the 1 added, conv1d is [channels, kernel, 1] (the sign of
a converted file), every matrix is 4-bit with groups of 64, all files together stay under 32 MB.

  python export.py --checkpoint final.pt --model ../../models/prosa-mini
  python export.py --checkpoint final.pt --model ../../models/prosa-mini --bfloat16 bf16/    (raw, for `prosa convert`)
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

import quant
import settings as S


def convert(raw):
    """{raw name: float tensor} -> {MLX name: tensor}."""
    out = {}
    for name, w in raw.items():
        new = name if name.startswith("mtp.") else "language_model." + name
        if quant.quantized(name, w.shape):
            words, scales, biases = quant.pack(w.float())
            base = new.removesuffix(".weight")
            out[base + ".weight"] = words.view(torch.uint32).contiguous()
            out[base + ".scales"], out[base + ".biases"] = scales.contiguous(), biases.contiguous()
            continue
        if name.endswith("conv1d.weight"):
            w = w.transpose(1, 2)
        if quant.centred(name):
            w = w.float() + 1
        out[new] = w.to(torch.bfloat16).contiguous()
    return out


def restore(folder):
    """The other way round: {raw name: float32 tensor} of a folder that write() made, to go on training from it."""
    file = load_file(str(pathlib.Path(folder) / "model.safetensors"))
    out = {}
    for new, w in file.items():
        base, name = new.removesuffix(".weight"), new.removeprefix("language_model.")
        if base + ".scales" in file and new.endswith(".weight"):
            out[name] = quant.unpack(w.view(torch.int32), file[base + ".scales"], file[base + ".biases"])
        elif not new.endswith((".scales", ".biases")):
            w = w.float() - (1 if quant.centred(name) else 0)
            out[name] = w.transpose(1, 2) if name.endswith("conv1d.weight") else w
    return out


def configs(tokenizer, quantized=True):
    ids = {t: tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>")}
    text = {k: v for k, v in S.MODEL.items()}
    text.update(model_type="qwen3_5_text", bos_token_id=None, eos_token_id=ids["<|im_end|>"],
                pad_token_id=ids["<|endoftext|>"], mtp_num_hidden_layers=1, use_cache=True, initializer_range=0.02,
                attn_output_gate=True, full_attention_interval=4)
    quantization = {"group_size": S.GROUP, "bits": S.BITS}
    config = {"architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5", "text_config": text,
              "quantization": quantization, "quantization_config": quantization, "tie_word_embeddings": True}
    if not quantized:
        del config["quantization"], config["quantization_config"]
        text["dtype"] = "bfloat16"
    generation = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95,
                  "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "pad_token_id": ids["<|endoftext|>"]}
    return config, generation


def write(raw, folder, tokenizer):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.cpu() for k, v in convert(raw).items()}, str(folder / "model.safetensors"),
              metadata={"format": "mlx"})
    (folder / "model.safetensors").chmod(0o644)
    config, generation = configs(tokenizer)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")


def write_raw(raw, folder, tokenizer, files):
    """The unquantized folder, as a Hugging Face repository of the family holds it; files: where the tokenizer lies."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name if name.startswith("mtp.") else name.replace("model.", "model.language_model.", 1):
               w.to(torch.bfloat16).contiguous().cpu() for name, w in raw.items()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config, generation = configs(tokenizer, quantized=False)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(pathlib.Path(files) / name, folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder with the tokenizer files")
    parser.add_argument("--bfloat16", type=pathlib.Path, help="write a raw bfloat16 folder here instead")
    args = parser.parse_args()
    from tokenizers import Tokenizer
    raw, tokenizer = torch.load(args.checkpoint, map_location="cpu"), Tokenizer.from_file(str(args.model / "tokenizer.json"))
    if args.bfloat16:
        write_raw(raw, args.bfloat16, tokenizer, args.model)
        raise SystemExit
    write(raw, args.model, tokenizer)
    total = sum(f.stat().st_size for f in args.model.rglob("*") if f.is_file())
    print(f"{total / 1e6:.2f} MB in all")
    assert total <= 32e6
