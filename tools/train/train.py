"""Trains prosa-mini for a given number of minutes: stage 1 on text and chat, stage 2 on the assistant mix, the last part
with 4-bit weights in the forward pass (straight-through). It neither tokenizes (data.py) nor generates (dialogues.py).
Invariants: the schedule is a function of the elapsed fraction of --minutes alone; checkpoints (bfloat16 before the
4-bit part, float32-as-bfloat16 at the end) can be continued with --resume; the exported folder is complete.

  python train.py --tokens tokens/ --model ../../models/prosa-mini --out run/ --minutes 20 [--resume base.pt --from 0.66]
"""
import argparse
import json
import pathlib
import time

import torch

import data as D
import evaluate as E
import export as X
import model as M
import optim
import quant
import settings as S


# Where the fraction of the schedule leaves a checkpoint and an export behind
MARKS = ((0.3, "third"), (0.5, "half"), (S.STAGE2, "stage1"), (0.75, "assistant"), (S.QAT, "base"), (0.9, "late"), (0.96, "last"))


class Rows(torch.utils.data.IterableDataset):
    def __init__(self, store, stage):
        self.store, self.stage = store, stage

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        seed = S.SEED + 1000 * self.stage + (worker.id if worker else 0)
        for ids, pos, weight in self.store.rows(self.stage, seed):
            yield torch.from_numpy(ids.astype("int32")), torch.from_numpy(pos), torch.from_numpy(weight)


def batches(store, stage, rows, workers):
    return iter(torch.utils.data.DataLoader(Rows(store, stage), batch_size=rows, num_workers=workers,
                                            prefetch_factor=4 if workers else None))


def schedule(f, since):
    """Factor of the learning rates at the fraction f; since is what of it this run has done (it warms up as well)."""
    return min(1.0, since / S.WARMUP + 0.02, (1 - f) / (1 - S.COOL)) if f < 1 else 0.0


def save(model, path):
    torch.save({name: p.data.to(torch.bfloat16).cpu() for name, p in M.named(model)}, path)


def main():
    from tokenizers import Tokenizer
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--names", type=pathlib.Path)
    parser.add_argument("--resume", type=pathlib.Path)
    parser.add_argument("--from", dest="begin", type=float, default=0.0, help="where in the schedule a resumed run starts")
    parser.add_argument("--rows", type=int, default=S.ROWS)
    parser.add_argument("--parts", type=int, default=S.PARTS)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="no 4-bit part: a model to quantize afterwards")
    parser.add_argument("--steps", type=int, help="stop after so many steps (smoke test)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    log = open(args.out / "log.jsonl", "a", buffering=1)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    store = D.Store(args.tokens, tokenizer)
    stages = {n: batches(store, n, args.rows, args.workers) for n in (1, 2) if n == 2 or args.begin < S.STAGE2}

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(S.SEED)
    torch.backends.cuda.matmul.allow_tf32 = True  # for the little that runs in float32
    model = M.Mini().to(device)
    if args.resume:
        E.load(model, args.resume)
    parameters = M.named(model)
    log.write(json.dumps({"parameters": sum(p.numel() for _, p in parameters)}) + "\n")
    if args.compile:
        model.compile()
    optimizer = optim.Optimizer(parameters, S.MUON_LR, S.ADAM_LR, S.DECAY)

    def step(f):
        stage, exact = (1 if f < S.STAGE2 else 2), f >= S.QAT and not args.bfloat16
        masters = quant.fake_all(parameters) if exact else None
        sums = torch.zeros(2, device=device)
        for _ in range(args.parts):
            ids, pos, weight = (t.to(device, non_blocking=True) for t in next(stages[stage]))
            with E.autocast(device):
                one, w1, two, w2 = model.losses(ids.long(), pos.long(), weight.float())
            a = (one * w1).sum() / w1.sum().clamp(min=1)
            b = (two * w2).sum() / w2.sum().clamp(min=1)
            ((a + S.MTP_LOSS * b) / args.parts).backward()
            sums += torch.stack((a.detach(), b.detach())) / args.parts
        if masters:
            quant.restore(parameters, masters)
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in parameters], 1.0)
        for _, p in parameters:  # a step that overflowed moves nothing
            p.grad.nan_to_num_(0, 0, 0)
        optimizer.step(schedule(f, f - args.begin))
        optimizer.zero()
        return sums, norm

    def export(name):
        """A complete model at any time, so that a run that is cut off was not for nothing."""
        X.write(dict((k, p.data) for k, p in parameters), args.out / "part", tokenizer)
        (args.out / "part").rename(args.out / f"export-{name}")

    if device == "cuda":
        step(args.begin)  # compiles; outside the clock
        torch.cuda.synchronize()
    start, seconds, saved, n = time.time(), args.minutes * 60, set(), 0
    last = (start, 0)
    while True:
        f = args.begin + (1 - args.begin) * (time.time() - start) / seconds
        if f >= 1 or args.steps and n >= args.steps:
            break
        for mark, name in MARKS:
            if f >= mark > args.begin and name not in saved:
                saved.add(name)
                save(model, args.out / f"{name}.pt")
                export(name)
                log.write(json.dumps({"checkpoint": name, "step": n}) + "\n")
        sums, norm = step(f)
        n += 1
        if n % 50 == 0 or args.steps:
            now = time.time()
            a, b = sums.tolist()
            log.write(json.dumps({"step": n, "f": round(f, 4), "loss": round(a, 4), "mtp": round(b, 4),
                                  "norm": round(norm.item(), 3), "minutes": round((now - start) / 60, 2), "tok_s":
                                  int((n - last[1]) * args.rows * args.parts * S.ROW / (now - last[0]))}) + "\n")
            last = (now, n)
    save(model, args.out / "final.pt")
    torch.save({name: p.data.cpu() for name, p in parameters}, args.out / "final32.pt")
    export("final")
    log.write(json.dumps({"trained_minutes": (time.time() - start) / 60, "steps": n}) + "\n")
    out = [E.report(model, tokenizer, store, args.names if exported else None, device, exported) for exported in (True, False)]
    (args.out / "report.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    log.write("done\n")


if __name__ == "__main__":
    main()
