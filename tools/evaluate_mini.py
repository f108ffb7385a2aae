"""Judges the embedded model with the program itself: name recall over the 200 test dialogues, and sample conversations as
a Markdown page. It trains nothing and edits nothing the model says.
Invariant: everything runs at temperature 0, so two runs with one build print the same.

  python3 tools/evaluate_mini.py recall  --program build/prosa --dialogues tests/data/name_recall.jsonl
  python3 tools/evaluate_mini.py samples --program build/prosa > docs/prosa-mini.md
"""
import argparse
import json
import re
import subprocess
import tempfile

GREEDY = ["--temperature", "0", "--repetition-penalty", "1", "--max-tokens", "60"]

CONVERSATIONS = [
    ["Hello!", "How are you?", "Goodbye."],
    ["Hi, my name is Alex.", "Nice to meet you too.", "What is my name?"],
    ["My name is Marisol. What is my name?"],
    ["I'm Dagny.", "Tell me a joke.", "Do you remember my name?"],
    ["What is my name?"],
    ["Who are you?", "What can you do?", "Who made you?"],
    ["What is Swift?"],
    ["What is Python?", "Thanks."],
    ["What is the capital of France?", "And of Japan?"],
    ["What is the capital of Norway?"],
    ["What is two plus three?", "What is seven minus four?"],
    ["What is 4 times 6?"],
    ["Tell me a joke.", "Another one, please."],
    ["Tell me a fact about cats."],
    ["What is the moon?"],
    ["What is a violin?"],
    ["What is a volcano?"],
    ["Answer briefly: what is water?"],
    ["Are you a robot?", "Are you alive?"],
    ["Do you like music?"],
    ["I am bored.", "What should I do?"],
    ["I feel sad today."],
    ["Good morning!", "Thank you.", "See you later."],
    ["What is your favorite color?"],
    ["My favorite color is green.", "What is my favorite color?"],
    ["I live in Bergen.", "Where do I live?"],
    ["Can you sing?"],
    ["What language do they speak in Brazil?"],
    ["Actually, call me Sam.", "What should you call me?"],
    ["You are very helpful.", "Good night."],
]


def play(program, turns, options):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as script:
        script.write("\n".join(turns) + "\n")
        script.flush()
        done = subprocess.run([program, "chat", "--script", script.name, "--json", *options], capture_output=True,
                              text=True, check=True)
    return [json.loads(line)["reply"] for line in done.stdout.splitlines()]


def recall(program, path, options):
    lines = [json.loads(line) for line in open(path, encoding="utf-8")]
    right = 0
    for line in lines:
        reply = play(program, line["turns"], GREEDY + options)[-1]
        good = re.search(rf"\b{re.escape(line['expect'])}\b", reply) is not None
        right += good
        if not good:
            print(f"wanted {line['expect']!r}, got {reply!r} after {line['turns']!r}")
    print(f"name recall: {right} of {len(lines)} = {100 * right / len(lines):.1f} %")


def samples(program, options):
    print("# What prosa-mini says\n\nThirty conversations with the embedded demonstration model, unedited, at temperature "
          "0.\nMade by `python3 tools/evaluate_mini.py samples --program build/prosa`. What it is and what it can't do: "
          "[its card](../models/prosa-mini/README.md).\n")
    for number, turns in enumerate(CONVERSATIONS, 1):
        print(f"## {number}\n")
        for user, reply in zip(turns, play(program, turns, GREEDY + options)):
            print(f"> {user}\n\n{reply}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["recall", "samples"])
    parser.add_argument("--program", default="build/prosa")
    parser.add_argument("--dialogues", default="tests/data/name_recall.jsonl")
    parser.add_argument("--model", help="a folder; default: the embedded model")
    args = parser.parse_args()
    extra = ["--model", args.model] if args.model else []
    recall(args.program, args.dialogues, extra) if args.what == "recall" else samples(args.program, extra)
