"""Goes on from an exported folder without a GPU: the 4-bit integers stay, and the scales and biases of their groups learn
(1.6 million numbers), with the norms and the other small tensors. It is no substitute for train.py: it corrects a habit.
Invariants: embedding and MTP head stay as they are; every number is rounded in the forward pass as the file rounds it.

  python tune.py --folder ../../models/prosa-mini --tokens tokens/ --out tuned/ --steps 150
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import data as D
import evaluate as E
import export as X
import model as M
import settings as S

# Mostly names, and enough of the rest that it is not forgotten
MIX = {"generated_names": 1, "generated_mixed": 0.5, "generated_sums": 0.5, "ms_chitchat_friendly": 0.5,
       "clinc150_templated": 0.5, "synthetic_names": 0.5, "countries_list": 0.5}
RATE_SCALE, RATE_BIAS, RATE_SMALL = 3e-3, 5e-3, 5e-4


def rounded(x):
    return x.to(torch.bfloat16).float()


class Groups:
    """A matrix as integers q [groups, GROUP], scale · (1 + a) and bias + scale · c."""

    def __init__(self, words, scales, biases):
        per = 32 // S.BITS
        q = (words.view(torch.int32).to(torch.int64)[..., None] >> (torch.arange(per) * S.BITS)) & (2**S.BITS - 1)
        self.q = q.reshape(-1, S.GROUP).to(torch.float32)
        self.scale, self.bias = scales.float().reshape(-1), biases.float().reshape(-1)
        self.a, self.c = torch.zeros_like(self.scale), torch.zeros_like(self.scale)

    def numbers(self):
        return rounded(self.scale * (1 + self.a)), rounded(self.bias + self.scale * self.c)

    def value(self, shape):
        scale, bias = self.numbers()
        return (self.q * scale[:, None] + bias[:, None]).view(shape)

    def gradients(self, grad):
        grad = grad.reshape(-1, S.GROUP)
        return (grad * self.q).sum(1) * self.scale, grad.sum(1) * self.scale


class Adam:
    def __init__(self, tensors, rates):
        self.tensors, self.rates, self.count = tensors, rates, 0
        self.m, self.v = ([torch.zeros_like(t) for t in tensors] for _ in range(2))

    @torch.no_grad()
    def step(self, grads, factor):
        self.count += 1
        torch._foreach_lerp_(self.m, grads, 0.1)
        torch._foreach_mul_(self.v, 0.98)
        torch._foreach_addcmul_(self.v, grads, grads, 0.02)
        for t, m, v, rate in zip(self.tensors, self.m, self.v, self.rates):
            t.addcdiv_(m / (1 - 0.9**self.count), (v / (1 - 0.98**self.count)).sqrt() + 1e-10, value=-rate * factor)


def loss_of(model, ids, pos, weight):
    places = model.places(pos)
    h = model.hidden(ids, pos, places)
    at = (torch.nn.functional.pad(weight[:, 1:], (0, 1)) > 0) & (torch.nn.functional.pad(pos[:, 1:], (0, 1)) > 0)
    target = torch.nn.functional.pad(ids[:, 1:], (0, 1))[at]
    scores = torch.nn.functional.linear(h[at], model.lm.model.embed_tokens.weight).float()
    return torch.nn.functional.cross_entropy(scores, target)


def main():
    from tokenizers import Tokenizer
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--row", type=int, default=384, help="tokens of a row; longer dialogues are left out")
    args = parser.parse_args()
    S.ROW = args.row
    S.MIX = {name: (0, MIX.get(name, 0)) for name in S.MIX}
    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    torch.manual_seed(S.SEED)
    model = M.Mini()
    E.load(model, args.folder)
    file = load_file(str(args.folder / "model.safetensors"))
    groups, small = {}, {}
    for name, p in M.named(model):
        base = ("language_model." + name).removesuffix(".weight")
        if "mtp." in name or "embed_tokens" in name:
            p.requires_grad_(False)
        elif base + ".scales" in file:
            groups[name] = (p, base, Groups(*(file[base + "." + k] for k in ("weight", "scales", "biases"))))
        else:
            small[name] = p
    sides = [g for _, _, g in groups.values()]
    adam = Adam([g.a for g in sides] + [g.c for g in sides] + [p.data for p in small.values()],
                [RATE_SCALE] * len(sides) + [RATE_BIAS] * len(sides) + [RATE_SMALL] * len(small))

    def export(folder):
        folder.mkdir(parents=True, exist_ok=True)
        out = dict(file)
        for _, base, g in groups.values():
            shape = file[base + ".scales"].shape
            scale, bias = (n.view(shape).to(torch.bfloat16).contiguous() for n in g.numbers())
            out[base + ".scales"], out[base + ".biases"] = scale, bias
        out.update({k: v for k, v in X.convert({n: p.data for n, p in small.items()}).items()})
        save_file(out, str(folder / "model.safetensors"), metadata={"format": "mlx"})

    rows = D.Store(args.tokens, tokenizer).rows(2, S.SEED)
    log, start = open(args.out.with_suffix(".jsonl"), "a", buffering=1), time.time()
    for n in range(args.steps):
        with torch.no_grad():
            for p, _, g in groups.values():
                p.data = g.value(p.shape)
        ids, pos, weight = (torch.from_numpy(np.stack(t).astype(np.int64)) for t in zip(*(next(rows) for _ in range(args.rows))))
        with E.autocast("cpu"):
            loss = loss_of(model, ids, pos, weight)
        loss.backward()
        pairs = [g.gradients(p.grad) for p, _, g in groups.values()]
        grads = [a for a, _ in pairs] + [c for _, c in pairs] + [p.grad for p in small.values()]
        adam.step(grads, min(1.0, (n + 1) / 10, 2 * (1 - n / args.steps)))
        for p in model.parameters():
            p.grad = None
        log.write(json.dumps({"step": n + 1, "loss": round(loss.item(), 4), "minutes": round((time.time() - start) / 60, 2)}) + "\n")
        if (n + 1) % 25 == 0 or n + 1 == args.steps:
            export(args.out)


if __name__ == "__main__":
    main()
