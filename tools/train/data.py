"""From the text folder to token files, and from token files to packed training rows.
It does not generate dialogues (dialogues.py) and trains nothing. Invariants: a document never crosses a row; the
held-out documents (by a hash of their text) are in no training row; a loss weight of 1 stands on every token in stage 1
and only on what the assistant says in stage 2.

  python data.py --data DATA --generated mixed.jsonl.xz names.jsonl.xz sums.jsonl.xz --model ../../models/prosa-mini --out tokens/
"""
import argparse
import concurrent.futures
import io
import json
import lzma
import multiprocessing
import pathlib
import random
import re
import zlib

import numpy as np

import names as N
import settings as S

NAMELESS = re.compile(r"don't have a name|call me Assistant|I'm your voice assistant|just called Assistant|famous Robo")
STATES = [  # what the chit-chat data says about the assistant's name, in this model's words
    "My name is prosa-mini.", "I am prosa-mini.", "I'm prosa-mini, a small demonstration model.",
    "You can call me prosa-mini."]
BAD = re.compile(r"\[name\]|\[Name\]|https?://|Cortana|Siri\b|Alexa\b|Microsoft|OpenAI|ChatGPT|LAION|Open Assistant"
                 r"|OpenAssistant")


def clean(doc, rng):
    """The chat record as it is trained on, or None."""
    messages = [dict(m, content=m["content"].strip()) for m in doc["messages"]]
    said = " ".join(m["content"] for m in messages if m["role"] == "assistant")
    if BAD.search(said) or any(not m["content"] for m in messages):
        return None
    for m in messages:
        if m["role"] == "assistant" and NAMELESS.search(m["content"]):
            m["content"] = rng.choice(STATES)
    if doc["source"] == "open_english_wordnet" and re.search(r"\((?!e)|genus|family of|any of various", said):
        return None
    if doc["source"] == "synthetic_names" and "Of course! Your name" in said:
        for m in messages:
            m["content"] = m["content"].replace("Of course! Your name is", "Your name is")
    return messages


def render(messages):
    """The history form of Qwen3.5's template: no think block on any turn, but a reasoning given with the last one."""
    out = []
    for m in messages:
        thought = f"<think>\n{m['reasoning']}\n</think>\n\n" if m.get("reasoning") else ""
        out.append(f"<|im_start|>{m['role']}\n{thought}{m['content']}<|im_end|>\n")
    return "".join(out)


def documents(data, generated):
    """(source, text, is_chat, turns_fixed) of everything."""
    rng = random.Random(S.SEED)
    for line in lzma.open(data / "text.jsonl.xz", "rt", encoding="utf-8"):
        d = json.loads(line)
        kept = zlib.crc32(d["text"].encode()) // 100 % 1000 < 1000 * S.KEEP.get(d["source"], 1)
        source = "factbook_text" if d["source"] == "factbook" else d["source"]
        if not kept or S.MIX[source] == (0, 0) or N.TEST_WORD.search(d["text"]):
            continue
        yield source, d["text"], False
    for line in lzma.open(data / "chat.jsonl.xz", "rt", encoding="utf-8"):
        d = json.loads(line)
        messages = None if N.TEST_WORD.search(line) else clean(d, rng)
        if messages and S.MIX[d["source"]] != (0, 0):
            yield d["source"], render(messages), True
    for path in generated:
        opener = lzma.open if path.suffix == ".xz" else open
        for line in opener(path, "rt", encoding="utf-8"):
            d = json.loads(line)
            source = "generated_" + path.name.split(".")[0]  # mixed, names, sums
            yield source, d["raw"] if "raw" in d else render(d["messages"]), True


_local = {}  # of a worker process: the tokenizer and what it is asked for often


def _begin(path):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(path)
    _local.update(tokenizer=tokenizer, opening=np.array(tokenizer.encode("<|im_start|>assistant\n").ids, np.uint16),
                  end=tokenizer.token_to_id("<|im_end|>"), eot=tokenizer.token_to_id("<|endoftext|>"), names=sorted(S.MIX))


def _encode(batch):
    """Documents -> (token ids, lengths, sources, assistant turns, turns of each document, hash of each text)."""
    tokenizer, opening, end = _local["tokenizer"], _local["opening"], _local["end"]
    pieces, sources, turns, turn_counts, hashes = [], [], [], [], []
    for source, text, chat in batch:
        ids, spans = np.array(tokenizer.encode(text).ids, np.uint16), []
        if chat:
            ids = ids[:-1] if ids[-1] != end else ids  # the last newline
            for i in np.flatnonzero(ids == opening[0]):
                if (ids[i:i + len(opening)] == opening).all():
                    spans.append((i + len(opening), i + int(np.argmax(ids[i:] == end)) + 1))
        else:
            ids = np.append(ids, np.uint16(_local["eot"]))
        for part in range(0, len(ids), S.ROW) if not chat else [0]:
            piece = (ids[part:part + S.ROW] if not chat else ids)[:S.ROW - 8]
            some = [s for s in spans if s[1] <= len(piece)]
            if chat and not some or len(piece) < 4:
                continue
            pieces.append(piece)
            sources.append(_local["names"].index(source))
            turns.extend(some)
            turn_counts.append(len(some))
            hashes.append(zlib.crc32(text.encode()))
    ids = np.concatenate(pieces) if pieces else np.zeros(0, np.uint16)
    return ids, [len(p) for p in pieces], sources, turns, turn_counts, hashes


def _batches(documents, size=2000):
    batch = []
    for doc in documents:
        batch.append(doc)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _compress(job):
    """Tokens are pairs of bytes, which the literal and position bits say to the coder."""
    path, raw = job
    lzma_filter = [{"id": lzma.FILTER_LZMA2, "preset": 4, "lc": 2, "lp": 1, "pb": 1, "dict_size": 1 << 25}]
    path.write_bytes(lzma.compress(raw, filters=lzma_filter))


def prepare(data, generated, model, out, parts=4):
    """Held out is about one document in a hundred, chosen by the text alone, so that copies go the same way."""
    out.mkdir(parents=True, exist_ok=True)
    names, held = sorted(S.MIX), []
    pieces, lengths, sources, turns, turn_counts = [], [], [], [], []
    with multiprocessing.Pool(initializer=_begin, initargs=(str(model / "tokenizer.json"),)) as pool:
        for ids, *more, hashes in pool.imap(_encode, _batches(documents(data, generated))):
            pieces.append(ids)
            for total, part in zip((lengths, sources, turns, turn_counts), more):
                total.extend(part)
            held.extend(crc % 100 == 7 for crc in hashes)
        ids = np.concatenate(pieces)
        index = dict(lengths=np.array(lengths, np.int32), sources=np.array(sources, np.uint8),
                     turns=np.array(turns, np.int16).reshape(-1, 2), turn_counts=np.array(turn_counts, np.int16),
                     held=np.array(held, bool))
        pool.map(_compress, [(out / f"tokens.{i}.xz", part.tobytes()) for i, part in enumerate(np.array_split(ids, parts))])
    with lzma.open(out / "index.npz.xz", "wb", preset=6) as f:
        np.savez(f, **index)
    for i, name in enumerate(names):
        mine = index["sources"] == i
        print(f"{name:28} {mine.sum():8} docs {index['lengths'][mine].sum() / 1e6:8.2f} M tokens "
              f"{(index['held'] & mine).sum():5} held out")


class Store:
    """The token files in memory."""

    def __init__(self, folder, tokenizer):
        folder = pathlib.Path(folder)
        parts = sorted(folder.glob("tokens.*.xz"))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            self.ids = np.frombuffer(b"".join(pool.map(lambda p: lzma.decompress(p.read_bytes()), parts)), np.uint16)
        with lzma.open(folder / "index.npz.xz") as f:
            index = np.load(io.BytesIO(f.read()))
            self.lengths, self.sources, self.turns, self.turn_counts, self.held = (
                index[k] for k in ("lengths", "sources", "turns", "turn_counts", "held"))
        self.start = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        self.turn_start = np.concatenate([[0], np.cumsum(self.turn_counts, dtype=np.int64)])
        self.names = sorted(S.MIX)
        enc = lambda text: np.array(tokenizer.encode(text).ids, np.uint16)
        self.block, self.think = enc("<think>\n\n</think>\n\n"), enc("<think>")[0]
        self.think_line = len(enc("<think>\n"))

    def document(self, i, rng, stage):
        """Tokens and loss weights of document i; of a chat, up to a chosen assistant turn with its think block."""
        ids = self.ids[self.start[i]:self.start[i + 1]]
        turns = self.turns[self.turn_start[i]:self.turn_start[i + 1]].astype(int)
        if not len(turns):
            return ids, np.ones(len(ids), np.uint8)
        last = len(turns) - 1
        if ids[turns[last][0]] != self.think:
            if last and rng.random() < 0.4:
                last = rng.integers(0, last + 1)
            at, stop = turns[last]
            thought, block = 0, self.block
        else:  # a reasoning is part of the text: the prompt ends with the line "<think>"
            at, stop = turns[last]
            thought, block = self.think_line, self.block[:0]
        out = np.concatenate([ids[:at], block, ids[at:stop]])
        if stage == 1:
            weight = np.ones(len(out), np.uint8)
            weight[at:at + len(block)] = 0
        else:
            weight = np.zeros(len(out), np.uint8)
            for a, b in turns[:last]:
                weight[a:b] = 1
            weight[at + len(block) + thought:] = 1
        return out, weight

    def rows(self, stage, seed):
        """Endless packed rows: ids uint16, pos int16, weight uint8, each [ROW]."""
        rng = np.random.default_rng(seed)
        mix = np.array([S.MIX[n][stage - 1] for n in self.names], float)
        p = mix[self.sources] * ~self.held * (self.lengths <= S.ROW - 8)
        docs = np.flatnonzero(p)
        whole, part = np.divmod(p[docs], 1)
        pool = []
        order, at = [], 0
        while True:
            ids, pos, weight = np.zeros(S.ROW, np.uint16), np.zeros(S.ROW, np.int16), np.zeros(S.ROW, np.uint8)
            used, tries = 0, 0
            while S.ROW - used > 8 and tries < 48:
                while len(pool) < 96:
                    if at == len(order):  # a pass: every document as often as its weight says
                        order = np.repeat(docs, (whole + (rng.random(len(docs)) < part)).astype(int))
                        rng.shuffle(order)
                        at = 0
                    pool.append(self.document(order[at], rng, stage))
                    at += 1
                k = int(rng.integers(len(pool))) if tries < 40 else min(range(len(pool)), key=lambda j: len(pool[j][0]))
                tries += 1
                d, w = pool[k]
                if len(d) > S.ROW - used:
                    continue
                pool[k] = pool[-1]
                pool.pop()
                ids[used:used + len(d)], weight[used:used + len(d)] = d, w
                pos[used:used + len(d)] = np.arange(len(d))
                used += len(d)
            # the rest: one empty document without weight (zeros would each open a document of their own)
            pos[used:] = np.arange(S.ROW - used)
            yield ids, pos, weight


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--generated", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    prepare(args.data, args.generated, args.model, args.out)
