#!/usr/bin/env python3
"""Random conversations through the chat templates of model folders, by prosa and by transformers: the prompts must be equal.

    python3 tools/compare_templates.py [--count 1000] [--seed 1] PROSA FOLDER...

PROSA is the program, FOLDER a model folder with a chat_template.jinja (no weights are read). Needs transformers (no PyTorch).
What the template raises must have the same text; where Jinja2 itself fails, any error will do. Templates that write the time
of day may differ once, at midnight. Exit code 1 when there was a difference; the first ones are printed.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template

WORDS = ["Hi", "  spaced ", "<|im_end|>", "\n\nlines\n", "ünïcode", "日本語", "👍🏽", "a\u00a0b", "\u3000x\u2028", "</think>x", "",
         "<think>\nhm\n</think>\n\nok", "<tool_response>r</tool_response>", "{{ x }}", "'q\" \\", "  ", "ΑΣ", "word word, word.",
         "/no_think", "\ta", "\x1c", "ﬁ ß", '{"a": 1}', "line1\r\nline2", "[INST]", "e\u0301"]
NUMBERS = [0.5, 1.0, 1e16, 1e-7, -2.25, 3.14159, 1e22, 123456789.123]


class Conversations:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        return "".join(self.random.choice(WORDS) for _ in range(self.random.choice([1, 1, 1, 2, 3])))

    def value(self, depth=0):
        pick = self.random.randrange(10 if depth < 3 else 7)
        if pick < 3:
            return [None, True, False][pick]
        if pick == 3:
            return self.random.randrange(-5, 10 ** self.random.randrange(1, 19))
        if pick == 4:
            return self.random.choice(NUMBERS)
        if pick < 7:
            return self.text()
        if pick == 7:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        return {self.text(): self.value(depth + 1) for _ in range(self.random.randrange(3))}

    def part(self):
        return self.random.choice([{"type": "text", "text": self.text()}, {"type": "image"}, {"type": "video"}, {"text": self.text()}])

    def content(self):
        chance = self.random.random()
        if chance < 0.85:
            return self.text()
        if chance < 0.9:
            return None
        return [self.part() for _ in range(self.random.randrange(3))] if chance < 0.97 else self.value()

    def call(self):
        arguments = self.random.choice([{"city": "Oslo", "n": 3}, {self.text(): self.value() for _ in range(3)}, '{"a": 1}', {}])
        call = {"id": "123456789", "type": "function", "function": {"name": self.text(), "arguments": arguments}}
        return call if self.random.random() < 0.85 else call["function"]

    def message(self, index):
        role = ["user", "assistant"][index % 2]
        if self.random.random() < 0.4:
            role = self.random.choice(["user", "assistant", "tool", "system", "developer"])
        message = {"role": role, "content": self.content()}
        if role == "assistant" and self.random.random() < 0.3:
            message["reasoning_content"] = self.random.choice([self.text(), None, ""])
        if role == "assistant" and self.random.random() < 0.35:
            message["tool_calls"] = [self.call() for _ in range(self.random.randrange(3))]
        return message

    def tool(self):
        properties = {self.random.choice("abc"): {"type": self.random.choice(["string", "integer", ["string", "null"]]),
                                                  "description": self.text()} for _ in range(self.random.randrange(3))}
        function = {"name": self.random.choice(["f", "alpha", "Beta"]), "description": self.text(),
                    "parameters": {"type": "object", "properties": properties, "required": []}}
        return {"type": "function", "function": function}

    def request(self):
        messages = [{"role": "system", "content": self.text()}] if self.random.random() < 0.4 else []
        messages += [self.message(i) for i in range(self.random.choice([0, 1, 1, 2, 3, 3, 4, 5, 7]))]
        request = {"messages": messages, "add_generation_prompt": self.random.random() < 0.8, "tools": None}
        if self.random.random() < 0.35:
            request["tools"] = [self.tool() for _ in range(self.random.choice([1, 1, 2, 3]))]
        for name in ("enable_thinking", "preserve_thinking", "add_vision_id"):
            if self.random.random() < 0.2:
                request[name] = self.random.random() < 0.5
        return request


def special_tokens(folder):
    tokens = {}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / file
        config = json.loads(path.read_text()) if path.exists() else {}
        for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
            token = config.get(name)
            token = token.get("content") if isinstance(token, dict) else token
            if token is not None:
                tokens.setdefault(name, token)
    return tokens


def official(template, tokens, request):
    """The prompt, or {"error": text}: of what the template raises, else of None."""
    try:
        return {"prompt": template.render(**{"documents": None, **tokens, **request})}
    except TemplateError as error:
        return {"error": str(error) if type(error) is TemplateError else None}
    except Exception:  # whatever Python says of the template's own mistakes
        return {"error": None}


def compare(program, folder, count, seed):
    conversations = Conversations(seed)
    requests = [conversations.request() for _ in range(count)]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    run = subprocess.run([program, "template", str(folder)], input=lines, capture_output=True, encoding="utf-8", check=False)
    answers = [json.loads(line) for line in run.stdout.split("\n") if line]
    if len(answers) != count:
        sys.exit(f"{folder}: {len(answers)} answers to {count} lines\n{run.stderr}")
    template = _compile_jinja_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))
    tokens = special_tokens(folder)
    differences, prompts = 0, 0
    for request, answer in zip(requests, answers):
        expected = official(template, tokens, request)
        prompts += "prompt" in expected
        if answer == expected or (expected.get("error", "") is None and "error" in answer):
            continue
        differences += 1
        if differences <= 3:
            print(f"{folder}: {json.dumps(request, ensure_ascii=False)}\n  transformers {expected!r}\n  prosa        {answer!r}")
    print(f"{folder}: {prompts} prompts, {count - prompts} errors, {differences} differences")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("folder", nargs="+", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    differences = [compare(arguments.program, folder, arguments.count, arguments.seed) for folder in arguments.folder]
    sys.exit(1 if any(differences) else 0)


if __name__ == "__main__":
    main()
