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
    if n < 1000:
        return ONES[n // 100] + " hundred" + (" " + word(n % 100) if n % 100 else "")
    return str(n)


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


SIGNS = {"plus": ("+",), "minus": ("-",), "times": ("*", "x"), "divided by": ("/", ":")}
SPOKEN = {"plus": ("plus",) * 6 + ("and", "added to"), "minus": ("minus",) * 6 + ("take away", "less"),
          "times": ("times",) * 6 + ("multiplied by",), "divided by": ("divided by",) * 6 + ("over",)}
SUM_ASK = ["What is {e}?"] * 6 + """What's {e}?|What's {e}?|How much is {e}?|How much is {e}?|Can you tell me what {e} is?|Calculate {e}.|{e}?|{e}
Compute {e}.|Tell me what {e} is.|Do you know what {e} is?|{e} equals what?|What does {e} make?|{e} is what?|What is {e} equal to?
What do you get for {e}?|Please calculate {e}.|Can you calculate {e}?|How many is {e}?|Work out {e}.|Solve {e}.|Quick, what is {e}?
And {e}?|And what is {e}?|Now {e}.|OK, {e}?|What's the result of {e}?|What is the answer to {e}?|I need to know what {e} is.
Hey, what is {e}?|Tell me, what is {e}?|Do the math: {e}.|Math question: what is {e}?|How about {e}?""".replace("\n", "|").split("|")
SUM_ORDER = {  # forms of their own, x and y as in "x op y"
    "plus": ["Add {x} and {y}.", "What is the sum of {x} and {y}?", "Add {y} to {x}.", "What do you get if you add {x} and {y}?", "What do {x} and {y} make?"],
    "minus": ["Subtract {y} from {x}.", "Take {y} away from {x}.", "What is {y} less than {x}?", "What is the difference between {x} and {y}?", "What is left if you take {y} from {x}?"],
    "times": ["Multiply {x} by {y}.", "What is the product of {x} and {y}?", "Multiply {x} and {y}.", "What do you get if you multiply {x} by {y}?"],
    "divided by": ["Divide {x} by {y}.", "What do you get if you divide {x} by {y}?", "How often does {y} go into {x}?"]}
GOODS = "apple apples|book books|cookie cookies|coin coins|dog dogs|ball balls|egg eggs|friend friends|car cars|flower flowers|pen pens|orange oranges|cat cats|hat hats|balloon balloons|stamp stamps".split("|")


def numbers(r):
    """x, operation, y and the result; small ones more often."""
    op = r.choices(("plus", "minus", "times", "divided by"), (45, 25, 22, 8))[0]
    if op in ("plus", "minus"):
        top = r.choice((10, 10, 10, 20, 20, 20, 50, 50, 100, 100))
        a, b = r.randint(0, top), r.randint(0, r.choice((10, top)))
        if op == "minus" and a < b and r.random() < 0.9:
            a, b = b, a
        return a, op, b, a + b if op == "plus" else a - b
    if r.random() < 0.9:
        a, b = r.randint(0, r.choice((10, 10, 12))), r.randint(0, r.choice((10, 10, 12)))
    else:
        a, b = r.randint(2, 9), r.choice((15, 20, 25, 30, 40, 50, 100))
    if op == "times":
        return a, op, b, a * b
    b = b or 1
    return a * b, op, b, a


def sum_(r, brief=False, parts=False):
    if not parts and r.random() < 0.22:
        return odd_sum(r, brief)
    a, op, b, c = numbers(r)
    x, y, z = (str(a), str(b), str(c)) if r.random() < 0.5 else (word(a), word(b), word(c))
    k = r.random()
    if k < 0.12 and x == str(a):
        sign = r.choice(SIGNS[op])
        e = r.choice((f"{x} {sign} {y}", f"{x} {sign} {y}", f"{x}{sign}{y}"))
        q = r.choice(SUM_ASK + ["{e} =", "{e} = ?", "{e} = ?", "{e}="]).format(e=e)
    elif k < 0.27:
        q = r.choice(SUM_ORDER[op]).format(x=x, y=y)
    else:
        q = r.choice(SUM_ASK).format(e=f"{x} {r.choice(SPOKEN[op])} {y}")
    a_ = cap(f"{z}.") if brief or r.random() < 0.06 else cap(f"{x} {op} {y} is {z}.")
    return (cap(q), a_, x, op, y, z) if parts else [(cap(q), a_)]


def odd_sum(r, brief=False):
    """Number questions of another form: apples, doubles, halves, three terms, comparing, counting, neighbours."""
    k, w = r.randrange(9), word if r.random() < 0.5 else str
    if k < 3:
        one, many = r.choice(GOODS).split()
        many_or_one = lambda n: f"{w(n)} {one if n == 1 else many}"
        a, b = r.randint(1, r.choice((5, 10, 20))), r.randint(1, r.choice((5, 10)))
        if k < 2:
            q = r.choice((f"I have {many_or_one(a)} and get {w(b)} more. How many {many} do I have?", f"If I have {many_or_one(a)} and buy {w(b)} more, how many {many} do I have?",
                          f"There are {many_or_one(a + 1)} and {w(b)} more come. How many {many} are there?"))
            c = a + b + q.startswith("There")
            return [(q, cap(w(c)) + "." if brief else (f"There are {many_or_one(c)}." if q.startswith("There") else f"You have {many_or_one(c)}."))]
        a += b
        q = r.choice((f"I have {many_or_one(a)} and give away {w(b)}. How many {many} are left?", f"If I have {many_or_one(a)} and lose {w(b)}, how many {many} do I have?"))
        c = a - b
        return [(q, cap(w(c)) + "." if brief else f"You have {many_or_one(c)} left.")]
    if k == 3:
        a = r.randint(1, 50)
        q = r.choice(("What is double {a}?", "What is twice {a}?", "Double {a}.", "What is two times {a}?", "What's the double of {a}?")).format(a=w(a))
        return [(q, cap(w(2 * a)) + "." if brief else f"Two times {w(a)} is {w(2 * a)}.")]
    if k == 4:
        a = 2 * r.randint(1, 50)
        q = r.choice(("What is half of {a}?", "What's half of {a}?", "Half of {a}?", "How much is half of {a}?")).format(a=w(a))
        return [(q, cap(w(a // 2)) + "." if brief else f"Half of {w(a)} is {w(a // 2)}.")]
    if k == 5:
        a, b, c = (r.randint(0, 10) for _ in range(3))
        q = r.choice(SUM_ASK).format(e=f"{w(a)} plus {w(b)} plus {w(c)}")
        return [(cap(q), cap(w(a + b + c)) + "." if brief else cap(f"{w(a)} plus {w(b)} plus {w(c)} is {w(a + b + c)}."))]
    if k == 6:
        a, b = r.sample(range(0, r.choice((11, 21, 101))), 2)
        kind, pick = r.choice((("larger", max), ("bigger", max), ("more", max), ("smaller", min), ("less", min)))
        q = f"{'What' if kind in ('more', 'less') else 'Which'} is {kind}, {w(a)} or {w(b)}?"
        c = pick(a, b)
        return [(q, cap(w(c)) + "." if brief else cap(f"{w(c)} is {kind} than {w(a + b - c)}."))]
    if k == 7:
        a = r.randint(0, 100)
        even = a % 2 == 0
        q = r.choice((f"Is {w(a)} even or odd?", f"Is {w(a)} an even number?"))
        return [(q, cap(f"{w(a)} is {'even' if even else 'odd'}.") if "odd?" in q else f"{'Yes' if even else 'No'}, {w(a)} is {'even' if even else 'odd'}.")]
    n = r.randint(3, 10)
    q = r.choice(("Count to {n}.", "Can you count to {n}?", "Please count to {n}.")).format(n=w(n))
    return [(q, cap(", ".join(w(i) for i in range(1, n + 1))) + ".")]


# country:continent:language:money, for the countries whose answer is one word each
LANDS = [tuple(x.split(":")) for x in """France:Europe:French:the euro|Germany:Europe:German:the euro|Italy:Europe:Italian:the euro
Spain:Europe:Spanish:the euro|Portugal:Europe:Portuguese:the euro|Austria:Europe:German:the euro|Greece:Europe:Greek:the euro
Denmark:Europe:Danish:the krone|Sweden:Europe:Swedish:the krona|Norway:Europe:Norwegian:the krone|Poland:Europe:Polish:the zloty
Hungary:Europe:Hungarian:the forint|Romania:Europe:Romanian:the leu|Iceland:Europe:Icelandic:the krona|England:Europe:English:the pound
the Netherlands:Europe:Dutch:the euro|Russia:Europe and Asia:Russian:the ruble|the Czech Republic:Europe:Czech:the koruna
Slovakia:Europe:Slovak:the euro|Estonia:Europe:Estonian:the euro|Latvia:Europe:Latvian:the euro|Lithuania:Europe:Lithuanian:the euro
Egypt:Africa:Arabic:the pound|Morocco:Africa:Arabic:the dirham|Nigeria:Africa:English:the naira|Ghana:Africa:English:the cedi
Tunisia:Africa:Arabic:the dinar|China:Asia:Chinese:the yuan|Japan:Asia:Japanese:the yen|South Korea:Asia:Korean:the won
Thailand:Asia:Thai:the baht|Vietnam:Asia:Vietnamese:the dong|Iran:Asia:Persian:the rial|Nepal:Asia:Nepali:the rupee
Indonesia:Asia:Indonesian:the rupiah|Saudi Arabia:Asia:Arabic:the riyal|Iraq:Asia:Arabic:the dinar|Turkey:Asia and Europe:Turkish:the lira
the United States:North America:English:the dollar|Mexico:North America:Spanish:the peso|Cuba:North America:Spanish:the peso
Brazil:South America:Portuguese:the real|Argentina:South America:Spanish:the peso|Chile:South America:Spanish:the peso
Colombia:South America:Spanish:the peso|Peru:South America:Spanish:the sol|Venezuela:South America:Spanish:the bolivar
Australia:Oceania:English:the dollar|New Zealand:Oceania:English:the dollar""".replace("\n", "|").split("|")]


def land(r, brief=False):
    c, where, tongue, money = r.choice(LANDS)
    k = r.randrange(3)
    if k == 0:
        q = r.choice(("What language do they speak in {c}?", "Which language is spoken in {c}?", "What language do people speak in {c}?", "What do they speak in {c}?",
                      "What is the language of {c}?", "Which language do they speak in {c}?"))
        a, b = r.choice((f"They speak {tongue} in {c}.", f"In {c}, people speak {tongue}.")), tongue
    elif k == 1:
        q = r.choice(("Where is {c}?", "On which continent is {c}?", "Which continent is {c} on?", "Where is {c} located?", "What continent is {c} in?"))
        a, b = f"{cap(c)} is in {where}.", f"In {where}"
    else:
        q = r.choice(("What is the currency of {c}?", "What money do they use in {c}?", "What currency is used in {c}?", "How do people pay in {c}?", "Which currency does {c} have?"))
        a, b = f"In {c}, people pay with {money}.", cap(money)
    return [(q.format(c=c), b + "." if brief else a)]


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


GIVE_HEARD, ASK_HEARD = [], []  # what real users said, filled by dialogues.py


def give_name(r, st, more, ask_too=False):
    st["name"] = n = N.any_name(r, more)
    give = r.choice(GIVE_HEARD if GIVE_HEARD and r.random() < 0.2 else N.GIVE)
    q = r.choice(N.OPEN) + give.format(n=n)
    tail = "" if ask_too else r.choice(N.CLOSE)
    if not tail and not ask_too and r.random() < 0.15:
        slot = r.choice(list(T.ABOUT))
        st[slot] = v = value(r, slot, T.ABOUT[slot][0])
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
    q = r.choice(ASK_HEARD if ASK_HEARD and r.random() < 0.45 else N.ASK)
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


def value(r, slot, values):
    """One of the table; of places and numbers also any other, so that it is copied and not guessed."""
    if slot == "city" and r.random() < 0.6:
        return r.choice(N.PLACES) if r.random() < 0.6 else N.made_up(r)
    if slot == "number" and r.random() < 0.5:
        return str(r.randint(0, 10 ** r.randint(1, 4)))
    return r.choice(values)


def give_about(r, st, slot=None):
    slot = slot or r.choice(list(T.ABOUT))
    values, say, replies, *_ = T.ABOUT[slot]
    st[slot] = v = value(r, slot, values)
    return r.choice(say).format(v=v, V=cap(v)), r.choice(replies).format(v=v, V=cap(v))


def ask_about(r, st, slot=None):
    known = [s for s in T.ABOUT if s in st]
    slot = slot or (r.choice(known) if known and r.random() < 0.85 else r.choice(list(T.ABOUT)))
    _, _, _, ask, answers, untold = T.ABOUT[slot]
    v = st.get(slot)
    return r.choice(ask), (r.choice(answers).format(v=v, V=cap(v)) if v else r.choice(untold))
