"""Held-out perplexity per source, MTP acceptance, name recall and sample chats of a checkpoint.
It computes with transformers' weights, as bfloat16 or as the 4-bit file has them; the program's own engine is measured
elsewhere. Invariant: nothing here is in a training row (data.py holds it out; name_recall.py keeps its names apart).

  python evaluate.py --checkpoint final.pt --model ../../models/prosa-mini --tokens tokens/ \
      [--names ../../tests/data/name_recall.jsonl] --out report.json
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch

import data as D
import export as X
import model as M
import quant
import settings as S

SAMPLES = [  # turns of a user; "@" opens a system prompt
    ["My name is Alex. What is my name?"], ["What is Swift?"], ["Hello!", "How are you?", "What is your name?"],
    ["hi, I'm Maria", "what can you do?", "tell me a joke", "why?", "do you remember my name?", "thanks, bye"],
    ["Who are you?", "Who made you?", "Are you a human?"], ["What is the capital of France?", "And of Japan?"],
    ["@Answer briefly.", "What is the sun?"], ["@You are a pirate.", "Hello, who are you?", "What is a dog?"],
    ["What is two plus three?", "What is 12 plus 7?"], ["What is my name?"], ["I feel sad today.", "Thank you."],
    ["My favorite color is green.", "What is the largest ocean?", "What is my favorite color?"],
    ["Tell me about elephants."], ["What is gravity?"], ["What is Python?", "What is C++?"],
    ["Set a timer for ten minutes."], ["What's the weather like?"], ["Tell me a story."],
    ["I have a dog called Rex.", "What is my dog's name?"], ["Why is the sky blue?"], ["Tell me a fun fact."],
    ["I live in Berlin.", "I like cheese.", "Where do I live?"], ["@Your name is Nova.", "What is your name?"],
    ["What is love?"], ["Do you like music?", "What is your favorite food?"], ["How many days are in a week?"],
    ["Goodbye!"], ["What is machine learning?"], ["I'm bored.", "OK, tell me a riddle."], ["Who wrote Hamlet?"],
]


def autocast(device):
    return torch.autocast(device, torch.bfloat16)


def prompt_of(turns, replies, system=None, thinking=False):
    messages = [{"role": "system", "content": system}] if system else []
    for i, user in enumerate(turns):
        messages.append({"role": "user", "content": user})
        if i < len(replies):
            messages.append({"role": "assistant", "content": replies[i]})
    return D.render(messages) + "<|im_start|>assistant\n<think>\n" + ("" if thinking else "\n</think>\n\n")


@torch.no_grad()
def generate(model, tokenizer, prompts, device, limit=48):
    """Greedy. On a GPU without a cache, whole rows each step; on a CPU one by one with transformers' own cache."""
    end = {tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")}
    if device == "cpu":
        out = []
        for prompt in prompts:
            ids = torch.tensor([tokenizer.encode(prompt).ids])
            made = model.lm.generate(ids, max_new_tokens=limit, do_sample=False, eos_token_id=sorted(end),
                                     pad_token_id=max(end), attention_mask=torch.ones_like(ids))
            out.append(tokenizer.decode([t for t in made[0, ids.shape[1]:].tolist() if t not in end],
                                        skip_special_tokens=False))
        return out
    rows = [tokenizer.encode(p).ids for p in prompts]
    starts, live = [len(r) for r in rows], set(range(len(rows)))
    for _ in range(limit):
        todo = sorted(live)
        width = (max(len(rows[i]) for i in todo) + 31) // 32 * 32
        ids = torch.zeros(len(todo), width, dtype=torch.long)
        for k, i in enumerate(todo):
            ids[k, :len(rows[i])] = torch.tensor(rows[i])
        ids = ids.to(device)
        pos = torch.arange(width, device=device).expand(len(todo), -1)
        with autocast(device):
            h = model.hidden(ids, pos, model.places(pos))
            h = h[torch.arange(len(todo)), [len(rows[i]) - 1 for i in todo]]
            best = torch.nn.functional.linear(h, model.lm.model.embed_tokens.weight).float().argmax(-1).tolist()
        for i, token in zip(todo, best):
            if token in end:
                live.discard(i)
            else:
                rows[i].append(token)
        if not live:
            break
    return [tokenizer.decode(r[s:], skip_special_tokens=False) for r, s in zip(rows, starts)]


@torch.no_grad()
def perplexity(model, store, device, limit):
    """{source: {"ppl", "tokens", "mtp"}}: text on all tokens, chat on what the assistant says."""
    out = {}
    for s, name in enumerate(store.names):
        docs = np.flatnonzero(store.held & (store.sources == s))[:limit]
        rng = np.random.default_rng(1)
        total = np.zeros(4)
        for part in range(0, len(docs), 16):
            some = [store.document(i, rng, 2) for i in docs[part:part + 16]]
            width = (max(len(d) for d, _ in some) + 31) // 32 * 32
            ids, weight = np.zeros((len(some), width), np.int64), np.zeros((len(some), width), np.float32)
            for k, (d, w) in enumerate(some):
                ids[k, :len(d)], weight[k, :len(d)] = d, w
            ids, weight = torch.tensor(ids, device=device), torch.tensor(weight, device=device)
            pos = torch.arange(width, device=device).expand(len(some), -1)
            ahead = lambda t, n: torch.cat((t[:, n:], torch.zeros_like(t[:, :n])), 1)
            target = ahead(weight, 1) > 0  # whether the next token counts
            both = target & (ahead(weight, 2) > 0)
            with autocast(device):
                places = model.places(pos)
                h = model.hidden(ids, pos, places)
                m = model.mtp_hidden(h, ahead(ids, 1), pos, places)
                table = model.lm.model.embed_tokens.weight
                score = lambda x: torch.nn.functional.linear(x, table).float()
                loss = torch.nn.functional.cross_entropy(score(h[target]), ahead(ids, 1)[target], reduction="sum")
                # what the head drafts for the token after next, and what the model itself says there
                agree = score(m[both]).argmax(-1) == score(ahead(h, 1)[both]).argmax(-1)
            total += [loss.item(), target.sum().item(), agree.sum().item(), both.sum().item()]
        if total[1]:
            out[name] = {"ppl": round(math.exp(total[0] / total[1]), 3), "nll": total[0], "tokens": int(total[1]),
                         "mtp": round(total[2] / max(total[3], 1), 4)}
    return out


def recall(model, tokenizer, path, device):
    tests = [json.loads(line) for line in open(path, encoding="utf-8")]
    replies = [[] for _ in tests]
    for turn in range(max(len(t["turns"]) for t in tests)):
        live = [i for i, t in enumerate(tests) if turn < len(t["turns"])]
        prompts = [prompt_of(tests[i]["turns"][:turn + 1], replies[i], tests[i].get("system")) for i in live]
        for i, reply in zip(live, generate(model, tokenizer, prompts, device)):
            replies[i].append(reply.strip())
    wrong = [{"turns": t["turns"], "expect": t["expect"], "replies": r}
             for t, r in zip(tests, replies) if t["expect"].lower() not in r[-1].lower()]
    return {"right": len(tests) - len(wrong), "of": len(tests), "wrong": wrong}


def chats(model, tokenizer, device):
    out = [[] for _ in SAMPLES]
    for turn in range(max(map(len, SAMPLES))):
        live, prompts = [], []
        for i, turns in enumerate(SAMPLES):
            system = turns[0][1:] if turns[0][0] == "@" else None
            users = turns[1:] if system else turns
            if turn < len(users):
                live.append(i)
                prompts.append(prompt_of(users[:turn + 1], out[i], system))
        for i, reply in zip(live, generate(model, tokenizer, prompts, device)):
            out[i].append(reply.strip())
    return [{"turns": t, "replies": r} for t, r in zip(SAMPLES, out)]


def report(model, tokenizer, store, names, device, exported, limit=100):
    """One dictionary; with exported=True every weight is what the 4-bit file holds."""
    parameters = M.named(model)
    masters = quant.fake_all(parameters) if exported else None
    blocks, model.blocks = model.blocks, {f: getattr(M, f) for f in model.blocks}
    try:
        ppl = perplexity(model, store, device, limit)
        out = {"rounded": exported, "perplexity": ppl}
        for kind, pick in (("text", S.TEXT), ("chat", [n for n in ppl if n not in S.TEXT])):
            rows = [ppl[n] for n in pick if n in ppl]
            if rows:
                out[kind] = {"ppl": round(math.exp(sum(r["nll"] for r in rows) / sum(r["tokens"] for r in rows)), 3),
                             "mtp": round(sum(r["mtp"] * r["tokens"] for r in rows) / sum(r["tokens"] for r in rows), 4)}
        if names and pathlib.Path(names).exists():
            out["name_recall"] = recall(model, tokenizer, names, device)
            out["chats"] = chats(model, tokenizer, device)
        return out
    finally:
        model.blocks = blocks
        if masters:
            quant.restore(parameters, masters)


def load(model, checkpoint):
    """A checkpoint of train.py, or a folder that export.py wrote."""
    folder = pathlib.Path(checkpoint).is_dir()
    raw = X.restore(checkpoint) if folder else torch.load(checkpoint, map_location="cpu")
    with torch.no_grad():
        for name, p in M.named(model):
            p.copy_(raw[name].float())


def main():
    from tokenizers import Tokenizer
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--names", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=100, help="documents of each source")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    model = M.Mini().to(device)
    load(model, args.checkpoint)
    store = D.Store(args.tokens, tokenizer)
    # an exported folder has its 4-bit values already
    kinds = (False,) if pathlib.Path(args.checkpoint).is_dir() else (True, False)
    out = [report(model, tokenizer, store, args.names, device, exported, args.limit) for exported in kinds]
    args.out.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in out[0].items() if k != "chats"}, indent=1))


if __name__ == "__main__":
    main()
