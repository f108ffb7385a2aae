"""Generates the dialogues of what a voice assistant is asked first, as JSON lines {"messages": […]} or {"raw": …}.
It reads the chit-chat of the data folder for turns in between; it invents no facts beyond its tables.
Invariants: the same seed gives the same file; no test name and no test phrasing (names.py) occurs in it.

  python dialogues.py --data DATA --model ../../models/prosa-mini --kind mixed --count 160000 --out mixed.jsonl.xz
"""
import argparse
import json
import lzma
import pathlib
import random
import re
import zlib

import exchanges as X
import names as N
import settings as S
import smalltalk as T
import wide as W

PLAIN = ["You are a helpful assistant.", "You are a helpful voice assistant.", "You are a friendly assistant.", "Be friendly.",
         "You are prosa-mini, a small assistant.", "You are a voice assistant. Keep your answers short.", "Be helpful.", "Be polite.",
         "Answer in one or two sentences.", "You are an assistant on a phone.", "Remember the user's name.", "Speak simple English.",
         "You are a kind and patient assistant.", "Answer the user's questions.", "You talk with the user by voice.",
         "You are a helpful AI assistant.", "Remember what the user tells you.", "Talk like a friend.", "Be concise and friendly."]
BRIEF = ["Answer briefly.", "Be brief.", "Keep your answers short.", "Give short answers.", "Answer in a few words.", "Be very brief.",
         "Answer as briefly as possible.", "Short answers only.", "Use as few words as possible.", "Reply briefly."]
FUNNY = ["Be funny.", "You are a comedian.", "You like to joke.", "Be humorous.", "You are a funny assistant."]
PERSONAS = {  # who -> (system prompts, openings, endings, who it says it is)
    "pirate": (["You are a pirate.", "Talk like a pirate.", "Speak like a pirate.", "Answer as a pirate."],
               ["Arr! ", "Ahoy! ", "Aye! ", "Yo ho! "], [" Arr!", " Aye, matey!", ""], "I am a pirate of the seven seas!"),
    "robot": (["You are a robot.", "Talk like a robot.", "Answer as a robot."], ["Beep. ", "Beep boop. ", "Processing. "],
              [" Beep.", " End of message.", ""], "I am a friendly robot."),
    "cowboy": (["You are a cowboy.", "Talk like a cowboy.", "Speak like a cowboy."], ["Howdy! ", "Well, partner, ", "Yeehaw! "],
               [" Yeehaw!", ", partner.", ""], "I am a cowboy from the Wild West."),
    "grandmother": (["You are a kind grandmother.", "Talk like a grandmother."], ["Oh my dear, ", "Well, my dear, ", "Sweetheart, "],
                    [" Have a cookie, dear.", ", my dear.", ""], "I am a kind old grandmother."),
    "butler": (["You are a polite butler.", "You are a butler.", "Speak like a butler."], ["Certainly. ", "With pleasure. ", "Very well. "],
               [" At your service.", ", if I may say so.", ""], "I am your butler, at your service."),
    "wizard": (["You are a wizard.", "Talk like a wizard.", "You are an old wizard."], ["By my beard! ", "Ah, ", "Abracadabra! "],
               [" It is magic!", ", young friend.", ""], "I am an old wizard."),
    "teacher": (["You are a teacher.", "You are a patient teacher.", "Explain like a teacher."], ["Good question! ", "Listen carefully. ", "Let me explain. "],
                [" Do you understand?", " Any more questions?", ""], "I am your teacher."),
    "cat": (["You are a cat.", "Talk like a cat.", "You are a talking cat."], ["Meow! ", "Purr. ", "Meow, meow. "], [" Meow.", " Now feed me.", ""], "I am a cat."),
    "knight": (["You are a knight.", "Talk like a knight."], ["Hark! ", "My lord, ", "By my sword! "], [", my lord.", " Long live the king!", ""], "I am a brave knight."),
    "king": (["You are a king.", "Speak like a king."], ["Hear me! ", "Listen, my subject. ", "We, the king, say: "], [" So says the king.", ""], "I am the king."),
    "child": (["You are a little child.", "Talk like a child."], ["Yay! ", "Oh, oh! ", "Guess what! "], [" That is so cool!", " Yay!", ""], "I am a little kid!"),
    "poet": (["You are a poet.", "Talk like a poet."], ["Ah, sweet friend, ", "O, ", "Under the silver moon: "], [" So sings the poet.", ""], "I am a poet."),
}
NAMES_AI = ["Nova", "Iris", "Max", "Luna", "Echo", "Sparky", "Aria", "Jarvis", "Robo", "Pixel", "Ziggy", "Oscar", "Bella", "Cosmo", "Sunny"]


# Answers of the chit-chat that are wrong once the user has told the name; as filler they would teach to forget it.
NAMELESS = re.compile(r"your name|call you|I don't know you\b", re.IGNORECASE)


def chit_chat(data):
    """(question, answer) pairs of the friendly chit-chat and the assistant intents, held-out ones left out."""
    import data as D
    rng, out, names = random.Random(1), [], set()
    for line in lzma.open(data / "chat.jsonl.xz", "rt", encoding="utf-8"):
        d = json.loads(line)
        if d["source"] == "synthetic_names":
            for m in d["messages"]:
                names.update(re.findall(r"(?:My name is|I am|I'm|call you|meet you,|your name is) ([A-Z][a-z]+)", m["content"]))
        if d["source"] not in ("ms_chitchat_friendly", "clinc150_templated"):
            continue
        messages = D.clean(d, rng)
        if (messages and len(messages) == 2 and zlib.crc32(D.render(messages).encode()) % 100 != 7
                and not NAMELESS.search(messages[1]["content"])):
            out.append((messages[0]["content"], messages[1]["content"]))
    common = set("Fine Glad Back Happy Sorry Good Not Just".split())
    return out, sorted(n for n in names if n not in N.TEST and n not in common)


def heard(data, names):
    """What real users said (CLINC150) when they gave a name and when they asked for it: forms with {n}, questions."""
    plain = lambda text: re.sub("[^a-z ]", "", text.lower()).strip()
    known = {n.lower() for n in [*N.COMMON, *names]} | {"bailey", "deb", "lucky", "master", "ishmael", "stan"}
    test = {plain(t) for t in N.TEST_ASK}
    give, ask = set(), set()
    for line in lzma.open(data / "intents.jsonl.xz", "rt", encoding="utf-8"):
        d = json.loads(line)
        text = re.sub(r"\bi\b", "I", d["text"].strip().replace('"', ""))
        words = [w for w in re.findall(r"[a-z]+", text) if w in known]
        if d["intent"] == "change_user_name" and len(words) == 1 and not re.search("instead|stop", text):
            give.add(X.cap(re.sub(rf"\b{words[0]}\b", "{n}", text)) + ".")
        if (d["intent"] == "user_name" and not words and len(text.split()) > 2 and plain(text) not in test
                and not re.search("your designation|joey|jeff|do you my", text.lower())):
            ask.add(X.cap(text) + "?")
    return sorted(give), sorted(ask)


def noisy(r, text, names):
    """What speech recognition and quick typing make of it: sometimes no capitals, no full stop."""
    k = r.random()
    if k < 0.07 and all(n in N.COMMON for n in names):
        return text.lower().rstrip(".?!").replace(",", "")
    if k < 0.16:
        return text.rstrip(".?!")
    return text


class Maker:
    def __init__(self, data, template, tokenizer_folder=None):
        self.chat, self.names = chit_chat(data)
        X.GIVE_HEARD[:], X.ASK_HEARD[:] = heard(data, self.names)
        W.WORDS[:] = W.common_words(json.loads(line)["text"] for line in lzma.open(data / "text.jsonl.xz", "rt", encoding="utf-8"))
        self.template = template

    def filler(self, r, brief=False):
        """One exchange (or a short chain) about anything but the user's name."""
        if r.random() < 0.06:
            return [self.asked_briefly(r)]
        k = r.random()
        for limit, f in ((0.17, X.talk), (0.30, X.thing), (0.42, X.question), (0.47, X.capital), (0.50, X.land), (0.56, X.small_fact),
                         (0.62, X.sum_), (0.67, X.joke), (0.69, X.riddle), (0.72, X.person), (0.80, X.first), (0.81, X.unknown),
                         (0.82, X.say_again)):
            if k < limit:
                return f(r, brief)
        return [r.choice(self.chat)]

    def asked_briefly(self, r):
        """A question that asks itself for a short answer."""
        q, a = r.choice((X.thing, X.thing, X.question, X.question, X.capital, X.land, X.small_fact, X.sum_, X.person))(r, True)[0]
        if r.random() < 0.5:
            return q + r.choice((" Answer briefly.", " Be brief.", " A short answer, please.", " Keep it short.", " Just a short answer.", " In one sentence, please.")), a
        start = r.choice(("Answer briefly: ", "Briefly: ", "Briefly, ", "In short, ", "Answer in a few words: ", "Short answer, please: ", "Be brief: ", "In one sentence: "))
        return start + (q if q.startswith("I ") else q[0].lower() + q[1:]), a

    def system(self, r):
        """(system prompt or None, brief)"""
        k = r.random()
        if k < 0.62:
            return None, False
        if k < 0.85:
            return r.choice(PLAIN), False
        if k < 0.95:
            return r.choice(BRIEF), True
        return r.choice(FUNNY), False

    def mixed(self, r, turns):
        system, brief = self.system(r)
        pairs = []
        while len(pairs) < turns:
            pairs += self.filler(r, brief)
        return system, pairs, []

    def names_dialogue(self, r):
        system, brief = self.system(r)
        st, pairs = {}, []
        for _ in range(r.choice((0, 0, 0, 1, 2))):
            pairs += self.filler(r, brief)
        if pairs and r.random() < 0.15:
            pairs.append(X.ask_name(r, st))
        seen = []
        pairs.append(X.give_name(r, st, self.names))
        seen.append(st["name"])
        for _ in range(r.choice((0, 0, 1, 1, 2, 2, 3, 4, 5, 6))):
            k = r.random()
            if k < 0.10:
                pairs.append(X.give_other(r, st, self.names))
                seen += st["others"].values()
            elif k < 0.18:
                pairs.append(X.give_about(r, st))
            else:
                pairs += self.filler(r, brief)
        if r.random() < 0.12:
            pairs.append(X.change_name(r, st, self.names))
            seen.append(st["name"])
            if r.random() < 0.4:
                pairs += self.filler(r, brief)
        asks = [X.ask_name]
        if st.get("others") and r.random() < 0.5:
            asks.insert(r.randrange(2), X.ask_other)
        if r.random() < 0.15:
            asks.insert(r.randrange(2), X.ask_about)
        for ask in asks:
            pairs.append(ask(r, st))
            if r.random() < 0.1:
                pairs += self.filler(r, brief)
        if r.random() < 0.1:
            pairs.append((r.choice(("Bye!", "Goodbye!", "See you later.", "Good night.")),
                          r.choice(("Goodbye, {n}!", "Bye, {n}! See you soon.", "See you later, {n}!")).format(n=st["name"])))
        return system, pairs, seen

    def same_turn(self, r):
        st = {}
        q, _ = X.give_name(r, st, self.names, ask_too=True)
        ask, answer = X.ask_name(r, st)
        joint = r.choice((" ", " ", " ", " ", " So, ", " Now, "))
        if joint != " " and not ask.startswith("I "):
            ask = ask[0].lower() + ask[1:]
        pairs = [(q + joint + ask, answer)]
        if r.random() < 0.3:
            pairs += self.filler(r)
        return self.system(r)[0], pairs, [st["name"]]

    def no_name(self, r):
        system, brief = self.system(r)
        st, pairs = {}, []
        for _ in range(r.choice((0, 0, 0, 1, 2, 3))):
            pairs += self.filler(r, brief)
        if r.random() < 0.3:
            pairs.append(X.give_other(r, st, self.names))
        pairs.append(X.ask_name(r, st))
        seen = list(st.get("others", {}).values())
        if r.random() < 0.5:
            pairs.append(X.give_name(r, st, self.names))
            if r.random() < 0.6:
                pairs += self.filler(r, brief)
            pairs.append(X.ask_name(r, st))
            seen.append(st["name"])
        return system, pairs, seen

    def about(self, r):
        system, brief = self.system(r)
        st, pairs, seen = {}, [], []
        if r.random() < 0.3:
            pairs.append(X.give_name(r, st, self.names))
            seen.append(st["name"])
        slots = r.sample(list(T.ABOUT), r.choice((1, 1, 2, 3)))
        for slot in slots:
            pairs.append(X.give_about(r, st, slot))
            if r.random() < 0.5:
                pairs += self.filler(r, brief)
        if r.random() < 0.35:
            pairs.append(X.give_other(r, st, self.names))
            if r.random() < 0.4:
                pairs += self.filler(r, brief)
            pairs.append(X.ask_other(r, st))
            seen += st["others"].values()
        r.shuffle(slots)
        for slot in slots[:r.choice((1, 1, 2, 3))]:
            pairs.append(X.ask_about(r, st, slot))
        if r.random() < 0.1:
            pairs.append(X.ask_about(r, st))
        if st.get("name") and r.random() < 0.5:
            pairs.append(X.ask_name(r, st))
        if r.random() < 0.05:
            pairs.append(X.ask_other(r, st, r.choice(X.OTHERS)))
        return system, pairs, seen

    def persona(self, r):
        who = r.choice(list(PERSONAS))
        systems, starts, ends, me = PERSONAS[who]
        st, pairs = {}, []
        for _ in range(r.choice((1, 1, 2, 3))):
            k = r.random()
            if k < 0.35:
                q = r.choice(("Who are you?", "What are you?", "Tell me about yourself.", "Hello, who are you?", "What is your name?", "Introduce yourself."))
                pairs.append((q, r.choice(starts) + me))
                continue
            if k < 0.5:
                q, a = X.give_name(r, st, self.names)
            elif k < 0.6 and "name" in st:
                q, a = X.ask_name(r, st)
            else:
                q, a = self.filler(r)[0]
            start, end = r.choice(starts), r.choice(ends)
            if start.endswith((", ", ": ")) and not re.match(r"I\b|I'm|[A-Z]\w+ [A-Z]|Mars|" + (st.get("name") or "I "), a):
                a = a[0].lower() + a[1:]
            if end.startswith(","):
                a = a.rstrip(".") + end if a.endswith(".") else a
            else:
                a = a + end
            pairs.append((q, start + a))
        return r.choice(systems), pairs, [st.get("name", "Alex")]

    def named_assistant(self, r):
        n = r.choice(NAMES_AI) if r.random() < 0.5 else N.any_name(r, self.names)
        system = r.choice((f"Your name is {n}.", f"You are {n}.", f"You are {n}, a voice assistant.", f"You are {n}, a helpful assistant.",
                           f"Your name is {n}. Be friendly.", f"You are called {n}.", f"You are an assistant called {n}."))
        st, pairs = {}, []
        for _ in range(r.choice((0, 0, 1))):
            pairs += self.filler(r)
        if r.random() < 0.5:
            pairs.append(X.give_name(r, st, self.names))
        qs = ["What is your name?", "Who are you?", "What's your name?", "Do you have a name?", "Tell me your name.", "What should I call you?", "Hello, who are you?"]
        pairs.append((r.choice(qs), r.choice((f"My name is {n}.", f"I am {n}.", f"I'm {n}, your assistant.", f"I am {n}. How can I help you?"))))
        if r.random() < 0.5:
            pairs.append(X.ask_name(r, st))
        pairs = [(q, a.replace("prosa-mini", n)) for q, a in pairs]
        return system, pairs, [n, st.get("name", n)]

    def told_by_system(self, r):
        st = {"name": N.any_name(r, self.names)}
        n = st["name"]
        system = r.choice((f"The user's name is {n}.", f"The user is called {n}.", f"You are talking with {n}.", f"The name of the user is {n}. Be friendly."))
        pairs = [] if r.random() < 0.6 else self.filler(r)
        if r.random() < 0.3:
            pairs = [(r.choice(("Hello!", "Hi!", "Hey")), f"Hello, {n}! How can I help you?")] + pairs
        return system, pairs + [X.ask_name(r, st)], [n]

    def thinking(self, r):
        """A dialogue whose last answer is thought over first."""
        k, st, pairs = r.random(), {}, []
        if k < 0.4:
            pairs.append(X.give_name(r, st, self.names))
            for _ in range(r.choice((0, 1, 2))):
                pairs += self.filler(r)
            q, a = X.ask_name(r, st)
            n = st["name"]
            thought = r.choice((f"The user asks for the name. Earlier the user said the name is {n}.", f"The user wants to hear the name. It is {n}."))
        elif k < 0.7:
            q, a, x, op, y, z = X.sum_(r, parts=True)
            thought = r.choice((f"The user asks for {x} {op} {y}. That is {z}.", f"This is a sum. {X.cap(x)} {op} {y} makes {z}."))
        elif k < 0.9:
            (q, a), *_ = X.thing(r, True)
            thought = r.choice((f"The user wants an explanation. I should give a short one.", "This is a question about a word. I should explain it in simple words."))
        else:
            (q, a), *_ = X.talk(r)
            thought = "The user is chatting with me. I should give a friendly and short answer."
        return self.system(r)[0], pairs + [(q, a)], [st.get("name", "Alex")], thought

    def tool(self, r):
        """A tool call in the template's own words, sometimes with the tool's answer."""
        city = r.choice(T.ABOUT["city"][0])
        minutes = r.choice((1, 2, 3, 5, 10, 15, 20, 30, 45))
        weather = {"type": "function", "function": {"name": "get_weather", "description": "Weather in a city", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
        timer = {"type": "function", "function": {"name": "set_timer", "description": "Sets a timer", "parameters": {
            "type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}}}
        tools = r.choice(([weather], [timer], [weather, timer]))
        if weather in tools and (timer not in tools or r.random() < 0.5):
            ask = r.choice((f"What is the weather in {city}?", f"weather in {city}?", f"How is the weather in {city}?", f"Is it warm in {city}?"))
            call, degrees, sky = ("get_weather", {"city": city}), r.randint(-5, 35), r.choice(("sunny", "cloudy", "rainy", "windy"))
            answer, final = f"{degrees} degrees, {sky}", f"It is {sky} in {city}, with {degrees} degrees."
        else:
            ask = r.choice((f"Set a timer for {minutes} minutes.", f"Start a timer for {minutes} minutes.", f"Timer, {minutes} minutes, please."))
            call, answer, final = ("set_timer", {"minutes": minutes}), "ok", f"The timer is set for {minutes} minutes."
        messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": call[0], "arguments": call[1]}}]}]
        if r.random() < 0.5:
            messages += [{"role": "tool", "content": answer}, {"role": "assistant", "content": final}]
        return {"raw": self.template.render(messages=messages, tools=tools)}

    def names_only(self, r):
        """Names given and asked back and little else, most of them made up: a name of several tokens must be copied."""
        system, pairs, names = self.same_turn(r) if r.random() < 0.3 else self.names_dialogue(r)
        return self.written(r, system, pairs, names)

    def wide(self, r):
        """What people ask first beyond the tables of exchanges.py, with small talk in between; names with accents."""
        if r.random() < 0.14:
            pairs, n = W.accented(r, self.names)
            if len(pairs) == 2 and r.random() < 0.4:
                pairs[1:1] = W.any_kind(r)
            return self.written(r, self.system(r)[0], pairs, [n])
        system, brief = self.system(r)
        if brief or r.random() < 0.6:
            return self.written(r, None, W.any_kind(r), [])
        pairs = []
        for _ in range(r.choice((1, 2, 2, 3, 3, 4, 5, 6))):
            pairs += W.any_kind(r) if r.random() < 0.75 else self.filler(r)
        return self.written(r, system, pairs, [])

    def sums_only(self, r):
        system, brief = self.system(r)
        pairs = []
        for _ in range(r.choice((1, 2, 3, 3, 4))):
            pairs += X.sum_(r, brief) if r.random() < 0.9 else self.filler(r, brief)
        return self.written(r, system, pairs, [])

    @staticmethod
    def written(r, system, pairs, names, thought=None):
        messages = [{"role": "system", "content": system}] if system else []
        for q, a in pairs:
            messages += [{"role": "user", "content": noisy(r, q, names)}, {"role": "assistant", "content": a}]
        if thought:
            messages[-1]["reasoning"] = thought
        return {"messages": messages}

    def one(self, r):
        k = r.random()
        if k < 0.012:
            return self.tool(r)
        thought = None
        if k < 0.27:
            system, pairs, names = self.mixed(r, 1)
        elif k < 0.46:
            system, pairs, names = self.mixed(r, r.randint(2, 7))
        elif k < 0.475:
            system, pairs, names = self.mixed(r, r.randint(12, 26))
        elif k < 0.70:
            system, pairs, names = self.names_dialogue(r)
        elif k < 0.75:
            system, pairs, names = self.same_turn(r)
        elif k < 0.785:
            system, pairs, names = self.no_name(r)
        elif k < 0.86:
            system, pairs, names = self.about(r)
        elif k < 0.91:
            system, pairs, names = self.persona(r)
        elif k < 0.93:
            system, pairs, names = self.named_assistant(r)
        elif k < 0.945:
            system, pairs, names = self.told_by_system(r)
        else:
            system, pairs, names, thought = self.thinking(r)
        return self.written(r, system, pairs, names, thought)


def load_template(folder):
    import jinja2
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)

    def raise_exception(text):
        raise jinja2.TemplateError(text)
    env.globals["raise_exception"] = raise_exception
    return env.from_string((folder / "chat_template.jinja").read_text(encoding="utf-8"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--kind", choices=["mixed", "names", "sums", "wide"], default="mixed")
    parser.add_argument("--count", type=int, default=160000)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    maker, kept = Maker(args.data, load_template(args.model)), 0
    rng = random.Random(f"{S.SEED} {args.kind}")
    make = {"mixed": maker.one, "names": maker.names_only, "sums": maker.sums_only, "wide": maker.wide}[args.kind]
    with lzma.open(args.out, "wt", preset=1, encoding="utf-8") as f:
        while kept < args.count:
            line = json.dumps(make(rng), ensure_ascii=False)
            if N.TEST_WORD.search(line):
                continue
            f.write(line + "\n")
            kept += 1
