"""Single exchanges (what is asked, what is answered) for the generated dialogues: facts, sums, names, user facts.
Each function returns [(user, assistant), …]. Invariant: the answer follows from the question, the dialogue's state and
the tables alone; brief=True gives the short form where there is one."""
import pathlib

import names as N
import smalltalk as T

HERE = pathlib.Path(__file__).parent


def table(name):
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [tuple(p.strip() for p in line.split(" | ")) for line in lines if line and line[0] != "#"]


THINGS, PEOPLE = table("facts_things.txt"), table("facts_people.txt")
QUESTIONS = [(q.split(" / "), a, b) for q, a, b in table("facts_questions.txt")]
CAPITALS = dict(x.split(":") for x in """France:Paris|Germany:Berlin|Italy:Rome|Spain:Madrid|Portugal:Lisbon|Austria:Vienna
Switzerland:Bern|Belgium:Brussels|the Netherlands:Amsterdam|Denmark:Copenhagen|Sweden:Stockholm|Norway:Oslo|Finland:Helsinki
Poland:Warsaw|Hungary:Budapest|Greece:Athens|Ireland:Dublin|Scotland:Edinburgh|Wales:Cardiff|England:London|Russia:Moscow
the United Kingdom:London|Ukraine:Kyiv|Romania:Bucharest|Bulgaria:Sofia|Croatia:Zagreb|Serbia:Belgrade|Turkey:Ankara
Egypt:Cairo|Morocco:Rabat|Kenya:Nairobi|Nigeria:Abuja|Ethiopia:Addis Ababa|Ghana:Accra|Senegal:Dakar|Tunisia:Tunis
China:Beijing|Japan:Tokyo|India:New Delhi|Pakistan:Islamabad|South Korea:Seoul|Thailand:Bangkok|Vietnam:Hanoi|Iran:Tehran
Indonesia:Jakarta|the Philippines:Manila|Nepal:Kathmandu|Israel:Jerusalem|Iraq:Baghdad|Saudi Arabia:Riyadh|Cuba:Havana
the United States:Washington, D.C.|Canada:Ottawa|Mexico:Mexico City|Brazil:Brasilia|Argentina:Buenos Aires|Chile:Santiago
Peru:Lima|Colombia:Bogota|Venezuela:Caracas|Uruguay:Montevideo|Australia:Canberra|New Zealand:Wellington|Iceland:Reykjavik
the Czech Republic:Prague|Slovakia:Bratislava|Slovenia:Ljubljana|Estonia:Tallinn|Latvia:Riga|Lithuania:Vilnius|Malta:Valletta""".replace("\n", "|").split("|"))
OPPOSITES = dict(x.split(":") for x in """hot:cold|big:small|good:bad|happy:sad|fast:slow|high:low|old:young|new:old|light:dark
day:night|black:white|up:down|left:right|open:closed|rich:poor|strong:weak|hard:soft|wet:dry|full:empty|early:late|true:false
near:far|long:short|loud:quiet|clean:dirty|easy:difficult|heavy:light|thick:thin|warm:cool|begin:end|always:never|inside:outside
love:hate|win:lose|buy:sell|laugh:cry|first:last|north:south|east:west|summer:winter|sweet:sour|deep:shallow|wide:narrow|brave:afraid""".replace("\n", "|").split("|"))
SOUNDS = dict(x.split(":") for x in """dog:woof|cat:meow|cow:moo|sheep:baa|duck:quack|pig:oink|horse:neigh|lion:roar|rooster:cock-a-doodle-doo
bee:buzz|snake:hiss|owl:hoot|frog:croak|mouse:squeak|wolf:howl|bird:tweet|donkey:hee-haw|chicken:cluck""".replace("\n", "|").split("|"))
BABIES = dict(x.split(":") for x in """dog:puppy|cat:kitten|cow:calf|horse:foal|sheep:lamb|goat:kid|pig:piglet|hen:chick|duck:duckling
lion:cub|bear:cub|kangaroo:joey|frog:tadpole|deer:fawn|swan:cygnet|goose:gosling|owl:owlet|fox:cub|elephant:calf|wolf:pup""".replace("\n", "|").split("|"))
COLORS = dict(x.split(":") for x in """the sky:blue|grass:green|snow:white|a banana:yellow|a tomato:red|a carrot:orange|coal:black|blood:red
the sun:yellow|a lemon:yellow|milk:white|chocolate:brown|a strawberry:red|the sea:blue|an elephant:gray|a crow:black|an orange:orange
a cucumber:green|salt:white|a pumpkin:orange|a cherry:red|a polar bear:white|a frog:green|gold:yellow""".replace("\n", "|").split("|"))
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty").split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def word(n):
    if n < 0:
        return "minus " + word(-n)
    if n <= 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    return {100: "one hundred"}.get(n, str(n))


def cap(s):
    return s[:1].upper() + s[1:]


WHAT = ["What is {k}?"] * 5 + ["What's {k}?"] * 2 + """What is {k}|Tell me what {k} is.|Can you tell me what {k} is?|Do you know what {k} is?|Explain {k}.
Explain to me what {k} is.|Define {k}.|Please explain what {k} is.|Could you explain {k}?|Can you explain {k}?|I want to know what {k} is.
What do you know about {k}?|Tell me about {k}.|What exactly is {k}?|What does {k} mean?|Describe {k}.|Say something about {k}.
How would you define {k}?|Give me a definition of {k}.|What is the meaning of {k}?|I would like to know what {k} is.|{K}, what is that?
What can you tell me about {k}?|Please tell me about {k}.|Who or what is {k}?""".replace("\n", "|").split("|")
WHATS = """What are {k}?|What are {k}?|Tell me about {k}.|Tell me something about {k}.|Do you know something about {k}?|What do you know about {k}?
Tell me a fact about {k}.|Can you tell me about {k}?|Explain {k}.|Describe {k}.|I want to know more about {k}.|Let's talk about {k}.""".replace("\n", "|").split("|")
MORE = "Tell me more.|Tell me more about it.|What else?|More, please.|Go on.|Anything else?|Can you tell me more?|Really? Tell me more.".split("|")
NO_MORE = ["That is all I know about it.", "I am a small model, and that is all I know about it.", "I'm afraid I don't know more about it."]


def thing(r, brief=False):
    key, plural, text, more = r.choice(THINGS[:25] if r.random() < 0.12 else THINGS)
    if plural != "-" and r.random() < 0.35:
        q = r.choice(WHATS).format(k=plural)
    else:
        q = r.choice(WHAT).format(k=key, K=cap(key))
        if key in ("Swift", "Python", "Java", "Rust", "Go", "Ruby", "C", "C++") and r.random() < 0.3:
            q = r.choice((f"What is {key} in programming?", f"What is the programming language {key}?",
                          f"What kind of language is {key}?", f"What is {key} used for?", f"Is {key} a programming language?"))
            if q.startswith("Is "):
                text = "Yes, " + text
    if brief:
        return [(q, text)]
    k = r.random()
    if k < 0.55:
        out = [(q, text)]
        if r.random() < 0.25:
            out.append((r.choice(MORE), more))
            if r.random() < 0.2:
                out.append((r.choice(MORE), r.choice(NO_MORE)))
        return out
    return [(q, f"{text} {more}")]


def person(r, brief=False):
    key, text, more = r.choice(PEOPLE)
    past = " was " in text
    q = r.choice((["Who was {k}?"] * 3 if past else ["Who is {k}?"] * 3) + ["Who is {k}?", "Tell me about {k}.",
                 "Do you know {k}?", "What do you know about {k}?", "Who's {k}?", "Can you tell me who {k} was?" if past
                 else "Can you tell me who {k} is?", "What did {k} do?", "Why is {k} famous?"]).format(k=key)
    if brief or r.random() < 0.4:
        out = [(q, text)]
        if not brief and r.random() < 0.3:
            out.append((r.choice(MORE), more))
        return out
    return [(q, f"{text} {more}")]


ASK_OPEN = ["", "", "", "", "", "", "", "Tell me, ", "Do you know ", "Can you tell me ", "I wonder ", "Please tell me, ", "Hey, ", "OK, ", "So, "]


def question(r, brief=False):
    qs, a, b = r.choice(QUESTIONS)
    q = r.choice(qs)
    o = r.choice(ASK_OPEN)
    if o.endswith(", "):
        q = o + q[0].lower() + q[1:]
    return [(q, b if brief else a)]


def capital(r, brief=False):
    c, p = r.choice(list(CAPITALS.items()))
    dot = "" if p.endswith(".") else "."
    k = r.random()
    say = lambda c, p, dot: p + dot if brief else r.choice((f"The capital of {c} is {p}{dot}", f"{p} is the capital of {c}."))
    if k < 0.75:
        q = r.choice(["What is the capital of {c}?"] * 3 + ["What's the capital of {c}?", "Which city is the capital of {c}?",
                     "Tell me the capital of {c}.", "Do you know the capital of {c}?", "Can you tell me the capital of {c}?",
                     "Name the capital of {c}.", "Capital of {c}?", "What is {c}'s capital?"]).format(c=c)
        out = [(q, say(c, p, dot))]
        while r.random() < 0.3:
            c, p = r.choice(list(CAPITALS.items()))
            dot = "" if p.endswith(".") else "."
            out.append((r.choice(("And of {c}?", "And the capital of {c}?", "What about {c}?", "And {c}?", "How about {c}?")).format(c=c),
                        say(c, p, dot)))
        return out
    if k < 0.9:
        q = r.choice(("Which country is {p} the capital of?", "{p} is the capital of which country?", "Where is {p}?",
                      "In which country is {p}?", "What country is {p} in?")).format(p=p)
        return [(q, f"In {c}." if brief and "here" in q else f"{p} is the capital of {c}.")]
    return [(f"Is {p} the capital of {c}?", f"Yes, {p} is the capital of {c}.")]


def small_fact(r, brief=False):
    k = r.randrange(8)
    if k == 0:
        a, b = r.choice(list(OPPOSITES.items()))
        if r.random() < 0.3:
            a, b = (b, a) if list(OPPOSITES.values()).count(b) == 1 and b not in OPPOSITES else (a, b)
        q = r.choice(("What is the opposite of {a}?", "What's the opposite of {a}?", "Tell me the opposite of {a}.", "The opposite of {a}?"))
        return [(q.format(a=a), cap(b) + "." if brief else f"The opposite of {a} is {b}.")]
    if k == 1:
        a, b = r.choice(list(SOUNDS.items()))
        q = r.choice(("What does a {a} say?", "What sound does a {a} make?", "Which sound does a {a} make?", "How does a {a} go?"))
        art = "An" if a[0] in "aeiou" else "A"
        return [(q.format(a=a).replace(" a owl", " an owl"), cap(b) + "!" if brief else f"{art} {a} says {b}.")]
    if k == 2:
        a, b = r.choice(list(BABIES.items()))
        art = "an" if a[0] in "aeiou" else "a"
        barticle = "an" if b[0] in "aeiou" else "a"
        q = r.choice(("What is a baby {a} called?", "What do you call a young {a}?", "What's a baby {a} called?", "What is the name of a young {a}?"))
        return [(q.format(a=a), f"{cap(barticle)} {b}." if brief else f"A young {a} is called {barticle} {b}.")]
    if k == 3:
        a, b = r.choice(list(COLORS.items()))
        q = r.choice(("What color is {a}?", "Which color is {a}?", "What is the color of {a}?", "What colour is {a}?"))
        return [(q.format(a=a), cap(b) + "." if brief else f"{cap(a)} is {b}.")]
    if k in (4, 5):
        ring = DAYS if k == 4 else MONTHS
        kind = "day" if k == 4 else "month"
        i = r.randrange(len(ring))
        if r.random() < 0.6:
            q = r.choice((f"What {kind} comes after {{a}}?", f"Which {kind} comes after {{a}}?", "What comes after {a}?", f"Which {kind} follows {{a}}?"))
            return [(q.format(a=ring[i]), ring[(i + 1) % len(ring)] + "." if brief else f"{ring[(i + 1) % len(ring)]} comes after {ring[i]}.")]
        q = r.choice((f"What {kind} comes before {{a}}?", f"Which {kind} comes before {{a}}?", "What comes before {a}?"))
        return [(q.format(a=ring[i]), ring[i - 1] + "." if brief else f"{ring[i - 1]} comes before {ring[i]}.")]
    if k == 6:
        i = r.randrange(25)
        a, b = chr(65 + i), chr(66 + i)
        return [(f"Which letter comes after {a}?", b + "." if brief else f"The letter {b} comes after {a}.")]
    n = r.randrange(0, 60)
    q = r.choice(("What number comes after {n}?", "Which number comes after {n}?", "What comes after {n}?"))
    return [(q.format(n=n), f"{n + 1}." if brief else f"{n + 1} comes after {n}.")]


def sum_(r, brief=False, parts=False):
    k = r.random()
    if k < 0.5:
        top = r.choice((10, 10, 10, 20, 20, 50))
        a, b = r.randint(0, top), r.randint(0, top)
        ops, signs, c = ("plus", "and", "added to"), "+", a + b
    elif k < 0.75:
        top = r.choice((10, 10, 20, 20))
        a = r.randint(0, top)
        b = r.randint(0, a) if r.random() < 0.95 else r.randint(0, top)
        ops, signs, c = ("minus", "less", "minus"), "-", a - b
    elif k < 0.95:
        a, b = r.randint(0, r.choice((5, 10, 10, 12))), r.randint(0, 10)
        ops, signs, c = ("times", "multiplied by", "times"), r.choice("*x"), a * b
    else:
        b, c = r.randint(1, 10), r.randint(0, 10)
        a = b * c
        ops, signs = ("divided by", "over", "divided by"), "/"
    op = ops[0] if r.random() < 0.85 else r.choice(ops)
    if r.random() < 0.5:
        x, y, z = str(a), str(b), str(c)
        op = r.choice((op, op, op, signs))
    else:
        x, y, z = word(a), word(b), word(c)
    q = r.choice(["What is {e}?"] * 4 + ["What's {e}?", "How much is {e}?", "Can you tell me what {e} is?", "Calculate {e}.",
                 "{e}?", "Compute {e}.", "Tell me what {e} is.", "Do you know what {e} is?", "{e} equals what?", "What does {e} make?"])
    q = cap(q.format(e=f"{x} {op} {y}"))
    said = op if op in ops else {"+": "plus", "-": "minus", "*": "times", "x": "times", "/": "divided by"}[op]
    said = {"and": "plus", "added to": "plus", "less": "minus", "over": "divided by", "multiplied by": "times"}.get(said, said)
    a_ = cap(f"{z}.") if brief or r.random() < 0.1 else cap(f"{x} {said} {y} is {z}.")
    return (q, a_, x, said, y, z) if parts else [(q, a_)]


def talk(r, brief=False):
    qs, answers = r.choice(T.TALK)
    return [(r.choice(qs), r.choice(answers))]


IDENTITY = [i for i, (q, _) in enumerate(T.TALK) if any(x in q for x in ("Who are you?", "What is your name?", "What is prosa?",
            "Who made you?", "Are you human?", "What can you do?", "Where do you live?", "Thank you.", "Goodbye!", "Hello!", "How are you?"))]


def first(r, brief=False):
    qs, answers = T.TALK[r.choice(IDENTITY)]
    return [(r.choice(qs), r.choice(answers))]


def joke(r, brief=False):
    some = r.sample(T.JOKES, 3)
    out = [(r.choice(T.ASK_JOKE), some[0])]
    while r.random() < 0.3 and len(out) < 3:
        out.append((r.choice(T.MORE_JOKE), some[len(out)]))
    if r.random() < 0.25:
        out.append(r.choice([("Haha, that is funny.", "I am glad you like it!"), ("I don't get it.", "It is a play on words."),
                             ("That was bad.", "Sorry! I will try a better one next time."), ("Haha", "I am glad it made you laugh!")]))
    return out


def riddle(r, brief=False):
    q, a = r.choice(T.RIDDLES)
    guess = r.random()
    out = [(r.choice(T.ASK_RIDDLE), q)]
    if guess < 0.7:
        out.append((r.choice(T.GIVE_UP), a))
    elif guess < 0.85:
        out.append((a, f"Yes, that is right! {a}"))
    else:
        wrong = r.choice([x[1] for x in T.RIDDLES if x[1] != a])
        out.append((wrong, f"No, that is not it. It is this: {a}"))
    return out


def unknown(r, brief=False):
    w = N.made_up(r).lower()
    q = r.choice((f"What is a {w}?", f"What does {w} mean?", f"Define {w}.", f"What is {w}?", f"Do you know what a {w} is?"))
    return [(q, r.choice((f"I do not know the word {w}.", "I do not know that word.", "I'm sorry, I don't know that word.")))]


def say_again(r, brief=False):
    qs, answers = r.choice(T.TALK)
    w = r.choice(["banana", "hello", "good morning", "cheese", "I love you", "open sesame", "happy birthday", "one two three",
                  "thank you", "elephant", "rainbow", "good night", "peace", "prosa", "sunshine", N.any_name(r)])
    q = r.choice(("Say {w}.", "Can you say {w}?", "Please say {w}.", "Repeat after me: {w}.", "Repeat: {w}"))
    return [(q.format(w=w), cap(w) + ".")]


# --- the user's name and other facts about the user; st is the dialogue's state ---

ACK = ["Nice to meet you, {n}!"] * 4 + ["Hello, {n}! How can I help you?", "Hi {n}! Nice to meet you.", "It is nice to meet you, {n}.",
       "Pleased to meet you, {n}!", "Hello {n}! What can I do for you?", "Great to meet you, {n}.", "OK, I will call you {n}.",
       "Hi, {n}! What would you like to talk about?", "Welcome, {n}!", "Good to meet you, {n}. I am prosa-mini.", "Hello, {n}!",
       "Nice name! Hello, {n}.", "I will remember that, {n}.", "Thank you, {n}. How can I help?", "Got it. Hello, {n}!"]
RECALL = ["Your name is {n}."] * 9 + ["You are {n}.", "You told me that your name is {n}.", "Your name is {n}, of course.", "You're {n}!",
          "You said that your name is {n}.", "It is {n}.", "I remember: your name is {n}."]
RECALL_YES = ["Yes, your name is {n}."] * 5 + ["Of course, your name is {n}.", "Yes, you are {n}.", "Yes, I do. Your name is {n}.", "Sure, your name is {n}."]
NO_NAME = ["You have not told me your name yet."] * 3 + ["You have not told me your name yet. What is it?", "I do not know your name yet. What is it?",
           "I don't know your name. Please tell me."]
YES_START = ("do you", "can you", "have you", "did you", "are you", "could you", "is my", "you know", "you remember", "remember my")


def give_name(r, st, more, ask_too=False):
    st["name"] = n = st.get("next") or N.any_name(r, more)
    q = r.choice(N.OPEN) + r.choice(N.GIVE).format(n=n)
    tail = "" if ask_too else r.choice(N.CLOSE)
    if not tail and not ask_too and r.random() < 0.15:
        slot = r.choice(list(T.ABOUT))
        v = r.choice(T.ABOUT[slot][0])
        st[slot] = v
        tail = " " + r.choice(T.ABOUT[slot][1]).format(v=v, V=cap(v))
    a = r.choice(ACK).format(n=n)
    if "How are you" in tail or "What's up" in tail or "And you?" in tail:
        a = r.choice((f"Hello, {n}! I am doing well, thank you.", f"Nice to meet you, {n}! I'm fine, thanks for asking.", f"I am fine, {n}. How are you?"))
    elif "your name" in tail:
        a = r.choice((f"Nice to meet you, {n}! My name is prosa-mini.", f"Hello, {n}! I am prosa-mini."))
    elif "help" in tail:
        a = f"Of course, {n}. How can I help you?"
    elif "forget" in tail or "Remember that" in tail:
        a = f"I will remember your name, {n}."
    elif "questions" in tail:
        a = f"Nice to meet you, {n}! Please ask."
    return q + tail, a


def ask_name(r, st):
    q = r.choice(N.ASK)
    if r.random() < 0.5:
        o = r.choice(N.ASK_OPEN)
        q = o + (q[0].lower() + q[1:] if o.endswith((", ", "nd ", ": ")) and not q.startswith("I ") else q)
    if r.random() < 0.15:
        q += r.choice(N.ASK_CLOSE)
    core = q.lower()
    n = st.get("name")
    if not n:
        return q, r.choice(NO_NAME)
    if "hello to me" in core or "greet me" in core:
        return q, f"Hello, {n}!"
    yes = any(core.startswith(y) or f", {y}" in core or f". {y}" in core for y in YES_START) and r.random() < 0.7
    return q, r.choice(RECALL_YES if yes else RECALL).format(n=n)


CHANGE = ["Actually, call me {n}.", "Please call me {n} from now on.", "I changed my name to {n}.", "Sorry, my name is {n}, not {o}.",
          "No, my name is {n}.", "My name is not {o}, it is {n}.", "From now on I am {n}.", "I was joking, my real name is {n}.",
          "Correction: my name is {n}.", "Wait, I meant {n}.", "You can also call me {n}, I like that better.", "Now my name is {n}.",
          "Let's change my name to {n}.", "I'd rather be called {n}.", "Actually my name is {n}.", "Call me {n} instead."]
CHANGED = ["OK, I will call you {n}.", "All right, {n}!", "Got it, {n}.", "OK, {n} it is.", "Sorry! Hello, {n}.", "Of course, {n}."]


def change_name(r, st, more):
    old = st.get("name", "Bob")
    st["name"] = n = N.any_name(r, more)
    return r.choice(CHANGE).format(n=n, o=old), r.choice(CHANGED).format(n=n)


OTHERS = ["sister", "brother", "friend", "wife", "husband", "mother", "father", "son", "daughter", "boss", "teacher", "neighbor", "uncle", "aunt", "cousin"]
PETS = ["dog", "cat", "horse", "rabbit", "parrot", "hamster", "turtle", "goldfish"]


def give_other(r, st, more):
    who = r.choice(OTHERS + PETS * 2)
    n = N.any_name(r, more)
    st.setdefault("others", {})[who] = n
    if who in PETS:
        q = r.choice((f"I have a {who} called {n}.", f"My {who} is called {n}.", f"My {who}'s name is {n}.", f"I have a {who}. Its name is {n}.",
                      f"We have a {who} named {n}.", f"This is my {who} {n}."))
        a = r.choice((f"{n} is a nice name for a {who}!", f"How lovely! Say hello to {n} from me.", f"I am sure {n} is a good {who}."))
    else:
        q = r.choice((f"My {who} is called {n}.", f"My {who}'s name is {n}.", f"I have a {who} called {n}.", f"I talked to my {who} {n} today.", f"{n} is my {who}."))
        a = r.choice((f"{n} is a nice name.", f"How nice! Say hello to {n} from me.", f"Thank you for telling me about {n}.", f"I will remember that your {who} is called {n}."))
    return q, a


def ask_other(r, st, who=None):
    known = st.get("others", {})
    who = who or (r.choice(list(known)) if known else r.choice(OTHERS + PETS))
    q = r.choice((f"What is my {who}'s name?", f"What is the name of my {who}?", f"Do you remember my {who}'s name?", f"What's my {who} called?",
                  f"How is my {who} called?", f"What's my {who}'s name?", f"Who is my {who}?" if who in OTHERS else f"Do you know my {who}'s name?"))
    n = known.get(who)
    if not n:
        return q, f"You have not told me the name of your {who}."
    return q, r.choice((f"Your {who} is called {n}.", f"Your {who}'s name is {n}.", f"The name of your {who} is {n}."))


def give_about(r, st, slot=None):
    slot = slot or r.choice(list(T.ABOUT))
    values, say, replies, *_ = T.ABOUT[slot]
    st[slot] = v = r.choice(values)
    return r.choice(say).format(v=v, V=cap(v)), r.choice(replies).format(v=v, V=cap(v))


def ask_about(r, st, slot=None):
    known = [s for s in T.ABOUT if s in st]
    slot = slot or (r.choice(known) if known and r.random() < 0.85 else r.choice(list(T.ABOUT)))
    _, _, _, ask, answers, untold = T.ABOUT[slot]
    v = st.get(slot)
    return r.choice(ask), (r.choice(answers).format(v=v, V=cap(v)) if v else r.choice(untold))
