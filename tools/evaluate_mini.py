"""Judges the embedded model with the program itself: name recall over the 200 test dialogues, small sums, what people ask
first (fifteen kinds of questions that no training dialogue holds), and sample conversations as a Markdown page. It trains nothing and edits nothing the model says.
Invariant: everything runs at temperature 0, so two runs with one build print the same.

  python3 tools/evaluate_mini.py recall  --program build/prosa --dialogues tests/data/name_recall.jsonl
  python3 tools/evaluate_mini.py sums    --program build/prosa
  python3 tools/evaluate_mini.py questions --program build/prosa
  python3 tools/evaluate_mini.py samples --program build/prosa > docs/measurements/prosa-mini.md
"""
import argparse
import json
import pathlib
import random
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
            print(f"wanted {line['expect']!r}, got {reply!r} after {line['turns']!r}", flush=True)
    print(f"name recall: {right} of {len(lines)} = {100 * right / len(lines):.1f} %")


ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen").split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def spoken(n):
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    return ONES[n // 100] + " hundred" + (" " + spoken(n % 100) if n % 100 else "")


def sums(program, options):
    """Fifty of each kind, half in digits and half in words; the reply must end with the result."""
    r = random.Random(11)
    kinds = {  # (first, second, result)
        "plus, to 20": lambda a, b: (a % 11, "plus", b % 11, a % 11 + b % 11),
        "plus, to 100": lambda a, b: (a % 51, "plus", b % 51, a % 51 + b % 51),
        "minus, to 20": lambda a, b: (a % 11 + b % 11, "minus", b % 11, a % 11),
        "minus, to 100": lambda a, b: (a % 51 + b % 51, "minus", b % 51, a % 51),
        "times, to 12": lambda a, b: (a % 13, "times", b % 13, a % 13 * (b % 13))}
    for kind, make in kinds.items():
        right = 0
        for number in range(50):
            say = str if number % 2 else spoken
            a, op, b, c = make(r.randrange(10**6), r.randrange(10**6))
            question = f"What is {say(a)} {op} {say(b)}?"
            reply = play(program, [question], GREEDY + options)[-1]
            good = re.search(rf"(^|\s){re.escape(say(c))}\.?$", reply, re.IGNORECASE) is not None
            right += good
            if not good:
                print(f"{question} {reply}")
        print(f"{kind}: {right} of 50", flush=True)


def questions(program, options):
    """Each by itself; a reply is right when it matches, an honest "I don't know" included where the file says so."""
    right, of = {}, {}
    for line in open(pathlib.Path(__file__).parent / "train/questions_held.txt", encoding="utf-8"):
        if not line.strip() or line.startswith("#"):
            continue
        kind, question, good = line.rstrip("\n").split(" | ")
        reply = play(program, [question], GREEDY + options)[-1]
        fits = re.search(good, reply, re.IGNORECASE) is not None
        of[kind], right[kind] = of.get(kind, 0) + 1, right.get(kind, 0) + fits
        if not fits:
            print(f"{kind}: {question} {reply}", flush=True)
    for kind in of:
        print(f"{kind}: {right[kind]} of {of[kind]}")
    print(f"questions: {sum(right.values())} of {sum(of.values())} = {100 * sum(right.values()) / sum(of.values()):.1f} %")


def samples(program, options):
    print("# What prosa-mini says\n\nThirty conversations with the embedded demonstration model, unedited, at temperature "
          "0.\nMade by `python3 tools/evaluate_mini.py samples --program build/prosa`. What it is and what it can't do: "
          "[its card](../../models/prosa-mini/README.md).\n")
    for number, turns in enumerate(CONVERSATIONS, 1):
        print(f"## {number}\n")
        for user, reply in zip(turns, play(program, turns, GREEDY + options)):
            print(f"> {user}\n\n{reply}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["recall", "sums", "questions", "samples"])
    parser.add_argument("--program", default="build/prosa")
    parser.add_argument("--dialogues", default="tests/data/name_recall.jsonl")
    parser.add_argument("--model", help="a folder; default: the embedded model")
    args = parser.parse_args()
    extra = ["--model", args.model] if args.model else []
    if args.what == "recall":
        recall(args.program, args.dialogues, extra)
    else:
        {"sums": sums, "questions": questions, "samples": samples}[args.what](args.program, extra)
