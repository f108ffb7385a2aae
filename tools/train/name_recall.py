"""Writes the 200 name-recall dialogues of the acceptance test: names and phrasings that no training data holds.
It does not score (evaluate.py does, and the program's own test). Invariant: the last turn asks for the name given in an
earlier one (or in the same one); `expect` must occur in the reply to the last turn.

  python name_recall.py --out ../../tests/data/name_recall.jsonl
"""
import argparse
import json
import pathlib
import random

import names as N

BETWEEN = ["How are you today?", "What is the capital of France?", "Tell me a joke.", "What can you do?", "What is a cat?",
           "I like music.", "What is two plus two?", "The weather is nice today.", "Thank you.", "What is the moon?",
           "I had a long day.", "Who are you?", "Why is the sky blue?", "My sister is called Anna.", "What is Swift?",
           "I am a bit tired.", "Do you like dogs?", "What is gravity?", "I have a dog called Rex.", "That is funny.",
           "What is your name?", "My favorite color is green.", "Tell me something about elephants.", "OK, good.",
           "How many planets are there?", "I live in a small town.", "Can you help me?", "What should I eat tonight?"]


def dialogues(count=200, seed=7):
    r = random.Random(seed)
    names = r.sample(N.TEST, len(N.TEST))
    for i in range(count):
        name = names[i % len(names)]
        give, ask = r.choice(N.TEST_GIVE).format(n=name), r.choice(N.TEST_ASK)
        gap = r.choice((0, 0, 1, 1, 2, 2, 3, 4, 5, 6))
        turns = [f"{give} {ask}"] if i % 10 == 9 else [give, *r.sample(BETWEEN, gap), ask]
        yield {"turns": turns, "expect": name}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(args.out, "w", encoding="utf-8") as f:
        for d in dialogues():
            f.write(json.dumps(d, ensure_ascii=False) + "\n")
