"""Trains the byte-level BPE of prosa-mini and writes the tokenizer files in Qwen3.5's form.
It does not tokenize the training data (data.py does). Invariant: ids 0..VOCAB-27 are BPE pieces, the 26 special
tokens follow in Qwen's order, and the pre-tokenizer expression is the one of Qwen3.5.

  python tokenizer.py --data DATA --out ../../models/prosa-mini [--template qwen3.5.chat_template.jinja]
"""
import argparse
import json
import lzma
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import settings as S


def samples(data, seed=S.SEED):
    """All chat twice, every text source but the big one whole, half of that one."""
    rng = random.Random(seed)
    for line in lzma.open(data / "chat.jsonl.xz", "rt", encoding="utf-8"):
        for message in json.loads(line)["messages"]:
            yield message["content"]
            yield message["content"]
    for line in lzma.open(data / "text.jsonl.xz", "rt", encoding="utf-8"):
        doc = json.loads(line)
        if doc["source"].startswith("classic_books") and rng.random() < 0.6:
            continue
        yield doc["text"]
    for line in lzma.open(data / "intents.jsonl.xz", "rt", encoding="utf-8"):
        yield json.loads(line)["text"]


def train(data):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    level = dict(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(S.PRETOKENIZER), behavior="isolated"), pre_tokenizers.ByteLevel(**level)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(samples(data), trainers.BpeTrainer(
        vocab_size=S.VOCAB - len(S.SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return json.loads(tokenizer.to_str())


def qwen_form(trained):
    """The same keys, in the same order and with the same values, as Qwen's own tokenizer.json."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    model = trained["model"]
    first = len(model["vocab"])
    assert first == S.VOCAB - len(S.SPECIAL), first
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [dict(id=first + i, content=token, single_word=False, lstrip=False, rstrip=False,
                              normalized=False, special=i < S.NOT_SPECIAL) for i, token in enumerate(S.SPECIAL)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": S.PRETOKENIZER}, "behavior": "Isolated", "invert": False}, level]},
        "post_processor": level, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": model["vocab"],
                  "merges": [m.split(" ") if isinstance(m, str) else list(m) for m in model["merges"]]},
    }


def write_config(out, first):
    added = {str(first + i): dict(content=token, lstrip=False, normalized=False, rstrip=False, single_word=False,
                                  special=i < S.NOT_SPECIAL) for i, token in enumerate(S.SPECIAL)}
    config = {"add_prefix_space": False, "added_tokens_decoder": added, "bos_token": None,
              "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
              "model_max_length": S.MODEL["max_position_embeddings"], "pad_token": "<|endoftext|>",
              "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_template(source, out):
    """The small models' variant of the Qwen3.5 template: thinking is off unless it is asked for."""
    text = pathlib.Path(source).read_text(encoding="utf-8")
    old = ("{%- if enable_thinking is defined and enable_thinking is false %}\n"
           "        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- else %}\n        {{- '<think>\\n' }}\n")
    new = ("{%- if enable_thinking is defined and enable_thinking is true %}\n"
           "        {{- '<think>\\n' }}\n    {%- else %}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n")
    assert text.count(old) == 1, "not the template this recipe knows"
    (out / "chat_template.jinja").write_text(text.replace(old, new), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--template", help="Qwen3.5's chat_template.jinja (4B); rewritten into the small models' form")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    made = qwen_form(train(args.data))
    (args.out / "tokenizer.json").write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    write_config(args.out, S.VOCAB - len(S.SPECIAL))
    if args.template:
        write_template(args.template, args.out)


if __name__ == "__main__":
    main()
