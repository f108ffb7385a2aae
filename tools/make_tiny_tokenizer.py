#!/usr/bin/env python3
"""Makes tests/data/tiny-chat/tokenizer.json: a byte-level BPE of 512 ids in the shape of Qwen3.5's tokenizer.

It fits the vocabulary of the tiny golden models, so that a chat runs on them (what they say is noise). Not for use with
a real model. The result is a pure function of this file.
"""
import collections
import json
import pathlib
import re
import sys

VOCAB_SIZE = 512
ADDED = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>",
]
SPECIAL = {text for text in ADDED if text.startswith("<|")}
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXT = """system user assistant function name parameter description type object string number required properties
You are a helpful assistant. You speak in short and friendly sentences. What is your name? My name is Anna.
The weather in Oslo is cold today and the sun is out. Tell me a joke about a cat and a dog, please.
Sure, here is one: why did the cat sit on the computer? Because it wanted to keep an eye on the mouse.
How many days are there in a week? There are seven days in a week. Thank you, that was very kind of you.
I would like to hear a story about the sea. Once there was a little boat that was not afraid of the wind and the rain.
Can you remember what I said? Yes, you said that you like the sea. Who are you? I am here to talk with you.
"""


def byte_letters():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    letters.update({byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in letters)})
    return letters


def learn(count):
    letters = byte_letters()
    words = collections.Counter(
        tuple(letters[byte] for byte in word.encode()) for word in re.findall(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+", TEXT))
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = collections.Counter()
        for word, times in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i:i + 2] == best:
                    out.append(best[0] + best[1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += times
        words = merged
    return merges


def main():
    letters = byte_letters()
    merges = learn(VOCAB_SIZE - 256 - len(ADDED))
    vocab = {letter: id for id, letter in enumerate(sorted(letters.values()))}
    for left, right in merges:
        vocab[left + right] = len(vocab)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": len(vocab) + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": text in SPECIAL} for i, text in enumerate(ADDED)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(pair) for pair in merges]},
    }
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/tiny-chat/tokenizer.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(tokenizer, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
