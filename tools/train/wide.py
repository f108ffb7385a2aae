"""What people ask first and a small model mostly can't answer: exchanges of fifteen kinds (wide_words.py holds their words).
Each function returns [(user, assistant), …] as in exchanges.py. Invariants: what the tables don't hold is answered with an
honest "I don't know"; the questions of questions_held.txt, their words to spell and their sums are never made."""
import pathlib
import re
import zlib

import exchanges as X
import names as N
import wide_words as W

HERE = pathlib.Path(__file__).parent
HELD = [tuple(line.split(" | ")) for line in (HERE / "questions_held.txt").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"]
HELD_TEXT = {re.sub(r"[^\w ]", "", q.lower()) for _, q, _ in HELD}
HELD_WORDS = {m.group(1).lower() for _, q, _ in HELD if (m := re.search(r"[Ss]pell (?:the word )?(?:the name )?(\w+)|How do you spell (\w+)", q)) and m.group(1)}
cap = X.cap


def fill(r, text):
    return cap(re.sub(r"\{(\w)\}", lambda m: r.choice(W.FILL[m.group(1)]), text))


def cannot(r, brief=False):
    asks, answers = r.choice(W.CANNOT[:7] if r.random() < 0.8 else W.CANNOT)
    return [(fill(r, r.choice(asks)), r.choice(answers))]


def news(r, brief=False):
    asks, answers = W.CANNOT[7]
    return [(fill(r, r.choice(asks)), r.choice(answers))]


def title(r):
    a, n, p = r.choice(W.ADJ), r.choice(W.NOUN), r.choice(W.PLACE)
    return r.choice((f"The {a} {n}", f"The {a} {n}", f"The {n} of {p}", f"{a} {n}", f"The {n} and the {r.choice(W.NOUN)}", f"The {n}", f"A {a} {n}", f"{N.made_up(r)}", f"{a} {n}s",
                     f"{r.choice(N.COMMON)} and the {n}", f"{r.choice(N.COMMON)}'s {n}", f"Letters from {p}"))


def author(r, brief=False):
    if r.random() < 0.5:
        work, who, verb = r.choice(W.KNOWN)
        past, now, noun = W.VERBS[verb]
        q = r.choice((f"Who {past} {work}?", f"Who {past} {work}?", f"Who {past} {work}?", f"Do you know who {past} {work}?", f"Who is {noun} {work}?", f"Who was {noun} {work}?",
                      f"{cap(work)}, who {past} it?", f"By whom is {work}?" if verb in ("wrote", "painted", "composed") else f"Tell me who {past} {work}.", f"Tell me who {past} {work}."))
        return [(q, f"{cap(who)}." if brief else f"{cap(who)} {past} {work}.")]
    verb = r.choice(("wrote", "wrote", "painted", "composed", "invented", "directed", "sang", "acted", "wrote the song"))
    if verb == "invented":
        what = r.choice(W.INVENTION)
        q = r.choice((f"Who invented {what}?", f"Who is the inventor of {what}?", f"Who made the first {what.split(' ', 1)[-1]}?", f"Who came up with {what}?"))
        return [(q, r.choice((f"I don't know who invented {what}.", "I don't know who invented that.", f"I'm sorry, I don't know who invented {what}.")))]
    what = title(r)
    if verb == "acted":
        return [(r.choice((f"Who plays the main role in {what}?", f"Who starred in {what}?", f"Which actor is in {what}?")), "I don't know that film.")]
    q = r.choice((f"Who {verb} {what}?", f"Do you know who {verb} {what}?", f"Tell me who {verb} {what}.", f"Who was it that {verb} {what}?"))
    if verb == "wrote" and r.random() < 0.3:
        q = r.choice((f"Who is the author of {what}?", f"What is {what} about?", f"Have you read {what}?"))
    if "about" in q or "read" in q:
        return [(q, f"I don't know {what}.")]
    return [(q, r.choice((f"I don't know who {verb} {what}.", f"I don't know who {verb} that.", f"I'm sorry, I don't know who {verb} {what}.")))]


def who_is(r, brief=False):
    n = f"{r.choice(N.COMMON)} {N.made_up(r)}" if r.random() < 0.7 else f"{r.choice(N.COMMON)} {r.choice(N.COMMON)}son"
    q = r.choice((f"Who is {n}?", f"Who was {n}?", f"Do you know {n}?", f"Tell me about {n}.", f"When was {n} born?", f"What did {n} do?", f"How old is {n}?", f"What is {n} famous for?", f"Where does {n} live?"))
    return [(q, r.choice((f"I don't know {n}.", f"I'm sorry, I don't know {n}.", f"I have never heard of {n}.")))]


def capital(r, brief=False):
    if r.random() < 0.5:
        return X.capital(r, brief)
    place = r.choice((N.made_up(r), r.choice(W.split(
        "Texas|Bavaria|California|Tuscany|Florida|Bohemia|Brittany|Andalusia|Sicily|Quebec|Alaska|Queensland|Provence|Saxony|Siberia|Bhutan|Fiji|Samoa|Chad|Mali|Niger|Togo|Benin|Gabon|Angola|Zambia|Malawi|Rwanda|Burundi|Oman|Yemen|Qatar|Laos|Brunei|Tonga|Nauru|Palau|Guyana|Suriname|Belize|Honduras|Kosovo|Andorra|Moldova|Eritrea|Djibouti|Lesotho|Madagascar|Mauritius"))))
    q = r.choice(("What is the capital of {c}?", "What's the capital of {c}?", "Tell me the capital of {c}.", "Which city is the capital of {c}?", "Do you know the capital of {c}?", "And of {c}?")).format(c=place)
    return [(q, r.choice((f"I don't know the capital of {place}.", f"I'm sorry, I don't know the capital of {place}.")))]


def ways(r, e):
    return cap(r.choice(X.SUM_ASK).format(e=e))


def sums(r, brief=False):
    """Three numbers, percent, division, squares, shares, and sums of two to 100."""
    w = str if r.random() < 0.6 else X.word
    k = r.random()
    if k < 0.22:
        a, b, c = (r.randint(1, r.choice((9, 12, 20))) for _ in range(3))
        op, sign = ("plus", "plus") if r.random() < 0.75 else ("plus", "minus")
        if sign == "minus" and c > a + b:
            c = r.randint(0, a + b)
        total = a + b + c if sign == "plus" else a + b - c
        e = f"{w(a)} {op} {w(b)} {sign} {w(c)}"
        q = r.choice((ways(r, e), ways(r, e), f"Add {w(a)}, {w(b)} and {w(c)}." if sign == "plus" else ways(r, e), f"What is the sum of {w(a)}, {w(b)} and {w(c)}?" if sign == "plus" else ways(r, e)))
        if w is str and r.random() < 0.25:
            e = f"{a} + {b} {'+' if sign == 'plus' else '-'} {c}"
            q = ways(r, e)
        return [(q, cap(f"{w(a)} {op} {w(b)} {sign} {w(c)} is {w(total)}."))]
    if k < 0.5:
        p = r.choice((1, 2, 5, 10, 10, 15, 20, 20, 25, 25, 30, 40, 50, 50, 60, 70, 75, 80, 90, 100))
        base = r.choice((10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100, 120, 150, 160, 180, 200, 200, 240, 250, 300, 400, 500, 600, 800, 1000))
        if p * base % 100:
            base = r.choice((100, 200, 300, 400, 500))
        c = p * base // 100
        q = r.choice((f"What is {w(p)} percent of {w(base)}?", f"What's {w(p)} percent of {w(base)}?", f"How much is {w(p)} percent of {w(base)}?", f"{p}% of {base}?", f"What is {p}% of {base}?", f"Calculate {p} percent of {base}.",
                      f"I need {w(p)} percent of {w(base)}.", f"{cap(w(p))} percent of {w(base)} is what?"))
        return [(q, cap(f"{w(p)} percent of {w(base)} is {w(c)}."))]
    if k < 0.72:
        b, c = r.randint(1, 12), r.randint(1, r.choice((10, 12, 20)))
        if r.random() < 0.1:
            b, c = r.choice(((2, 50), (4, 25), (5, 20), (10, 10), (2, 500), (4, 250), (3, 33), (2, 45), (3, 30), (5, 50), (2, 35))) 
        q = r.choice((ways(r, f"{w(b * c)} divided by {w(b)}"), ways(r, f"{w(b * c)} divided by {w(b)}"), f"Divide {w(b * c)} by {w(b)}.", f"{b * c} / {b}", f"What is {b * c} / {b}?", f"How often does {w(b)} go into {w(b * c)}?"))
        return [(q, cap(f"{w(b * c)} divided by {w(b)} is {w(c)}."))]
    if k < 0.77:
        a = r.randint(1, 15)
        q = r.choice((f"What is {w(a)} squared?", f"What is the square of {w(a)}?", f"What's {w(a)} squared?"))
        return [(q, cap(f"{w(a)} squared is {w(a * a)}."))]
    if k < 0.8:
        a = r.randint(1, 12)
        return [(f"What is the square root of {w(a * a)}?", f"The square root of {w(a * a)} is {w(a)}.")]
    op = r.choice(("plus", "minus", "times"))
    a, b = r.randint(0, 99), r.randint(0, 99)
    if op == "times":
        a, b = r.randint(0, 12), r.randint(0, 12)
    if op == "minus" and a < b:
        a, b = b, a
    c = {"plus": a + b, "minus": a - b, "times": a * b}[op]
    return [(ways(r, f"{w(a)} {op} {w(b)}"), cap(f"{w(a)} {op} {w(b)} is {w(c)}."))]


def big_sum(r, brief=False):
    """Sums beyond what it can: it says so instead of guessing."""
    a, b = r.randint(1000, 999999), r.randint(101, 99999)
    op = r.choice(("plus", "minus", "times", "divided by"))
    if op in ("times", "divided by"):
        a, b = r.randint(112, 9999), r.randint(13, 999)
    q = ways(r, f"{a} {op} {b}") if r.random() < 0.7 else r.choice((f"What is the square root of {a}?", f"What is {r.randint(3, 97)} percent of {a + 3}?"))
    return [(q, r.choice(("I can't do sums with such large numbers.", "That is too large for me. I can only do small sums.", "I don't know. Those numbers are too large for me.")))]


def calendar(r, brief=False):
    k = r.random()
    if k < 0.35:
        asks, a = r.choice(W.CALENDAR)
        return [(r.choice(asks.split("/")), a)]
    if k < 0.6:
        m, d = r.choice(list(W.MONTH_DAYS.items()))
        q = r.choice(("How many days are in {m}?", "How many days does {m} have?", "How many days are there in {m}?", "How long is {m}?", "Does {m} have 30 or 31 days?")).format(m=m)
        if m == "February":
            return [(q.replace("30 or 31", "28 or 29"), "February has 28 days, and 29 in a leap year.")]
        return [(q, f"{m} has {d} days.")]
    if k < 0.75:
        i = r.randrange(12)
        nth = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()[i]
        if r.random() < 0.6:
            return [(r.choice((f"What is the {nth} month?", f"What is the {nth} month of the year?", f"Which month is the {nth}?", f"Name the {nth} month.")), f"The {nth} month is {X.MONTHS[i]}.")]
        return [(r.choice((f"Which number is {X.MONTHS[i]}?", f"What month number is {X.MONTHS[i]}?")), f"{X.MONTHS[i]} is the {nth} month.")]
    i, n = r.randrange(7), r.choice((1, 1, 2, 2, 3, 7))
    if r.random() < 0.5:
        when = {1: "tomorrow", 2: "the day after tomorrow", 3: "in three days", 7: "in a week"}[n]
        q = r.choice((f"Today is {X.DAYS[i]}. What day is {when}?", f"If today is {X.DAYS[i]}, what day is {when}?", f"It is {X.DAYS[i]}. Which day is {when}?"))
        return [(q, f"{cap(when)} is {X.DAYS[(i + n) % 7]}.")]
    if r.random() < 0.5:
        return [(r.choice((f"Today is {X.DAYS[i]}. What day was yesterday?", f"If today is {X.DAYS[i]}, what was yesterday?")), f"Yesterday was {X.DAYS[i - 1]}.")]
    return X.small_fact(r)


def units(r, brief=False):
    if r.random() < 0.55:
        many, one, n = r.choice(W.UNITS)
        noun = one.split(" ", 1)[1] if one.split(" ", 1)[0] in ("a", "an") else one
        art = one.split(" ", 1)[0] if noun != one else ""
        q = r.choice((f"How many {many} are in {one}?", f"How many {many} are in {one}?", f"How many {many} does {one} have?", f"How many {many} are there in {one}?", f"How many {many} make {one}?", f"{cap(many)} in {one}?",
                      f"How many {many} in {one}?"))
        if r.random() < 0.2:
            q = q.replace("meter", "metre").replace("liter", "litre")
            many, one = many.replace("meter", "metre").replace("liter", "litre"), one.replace("meter", "metre").replace("liter", "litre")
        return [(q, f"{n}." if brief else f"There are {n} {many} in {one}.")]
    small, big, n = r.choice(W.MULTIPLE)
    k = r.choice((2, 2, 3, 3, 4, 5, 6, 10))
    bigs = {"foot": "feet", "century": "centuries"}.get(big, big + "s")
    if n * k > 9999:
        k = 2
    q = r.choice((f"How many {small} are in {X.word(k)} {bigs}?", f"How many {small} are {k} {bigs}?", f"How many {small} are there in {X.word(k)} {bigs}?", f"Convert {k} {bigs} to {small}.", f"What are {k} {bigs} in {small}?"))
    total = f"{n * k:,}"
    return [(q, f"{cap(X.word(k))} {bigs} are {total} {small}.")]


def size(r, brief=False):
    if r.random() < 0.62:
        asks, a = r.choice(W.SIZES)
        return [(r.choice(asks.split("/")), a)]
    asks, things = W.UNKNOWN_SIZE
    v = r.choice(N.PLACES)
    thing = r.choice(things) if r.random() < 0.6 else r.choice((f"Mount {N.made_up(r)}", f"the {r.choice(W.ADJ)} {r.choice(W.NOUN)}", f"Lake {N.made_up(r)}", v))
    q = r.choice(asks).format(m=thing, c=r.choice(W.FILL["c"][:20]), v=v)
    how = re.match(r"How (high|tall|old|big|heavy|long|deep|wide|far)", q)
    if how and "{" not in q and thing in q:
        return [(q, r.choice((f"I don't know how {how.group(1)} {thing} is.", "I don't know that.", f"I'm sorry, I don't know how {how.group(1)} {thing} is.")))]
    return [(q, r.choice(("I don't know that.", "I'm sorry, I don't know that.", "I don't know the number.")))]


def translate(r, brief=False):
    forms = ("How do you say {p} in {l}?", "What is {p} in {l}?", "Translate {p} into {l}.", "How do I say {p} in {l}?", "What does {p} mean in {l}?", "Say {p} in {l}.", "What's the {l} word for {p}?", "How is {p} called in {l}?", "Can you translate {p} into {l}?", "{p} in {l}?")
    q = r.choice(forms)
    if r.random() < 0.55:
        p, to = r.choice(list(W.PHRASES.items()))
        i = r.randrange(4)
        q, l, a = q.replace("What does {p} mean in", "What is {p} in"), W.LANGUAGES[i], to[i]
        if " " in p:
            q = q.replace("word for", "for")
        return [(cap(q.format(p=p, l=l)), f"{cap(a)}." if brief else r.choice((f"In {l}, {p} is {a}.", f"{cap(p)} is {a} in {l}.")))]
    p, l = (r.choice(W.HARD_WORDS), r.choice(W.LANGUAGES + W.OTHER_TONGUES)) if r.random() < 0.6 else (r.choice(list(W.PHRASES)), r.choice(W.OTHER_TONGUES))
    return [(cap(q.format(p=p, l=l)), r.choice((f"I don't know that in {l}.", f"I'm sorry, I don't know that in {l}.", f"I don't know how to say that in {l}.")))]


WORDS = []  # to spell: filled by dialogues.py with the common words of the texts


def spell(r, brief=False):
    k = r.random()
    if k < 0.75:
        w = r.choice(WORDS)
    elif k < 0.9:
        w = N.made_up(r).lower()
    else:
        w = r.choice(N.COMMON).lower()
    letters = w if k < 0.75 else w.capitalize()
    q = r.choice(("Spell {w}.", "Spell the word {w}.", "How do you spell {w}?", "How is {w} spelled?", "Can you spell {w}?", "Please spell {w}.", "How do I spell {w}?", "Spell {w} for me.", "Can you spell the word {w}?", "How do you write {w}?")).format(w=letters)
    if k >= 0.75:
        q = q.replace("the word", "the name")
    if r.random() < 0.1 and k < 0.75:
        n = len(w)
        return [(r.choice((f"How many letters does {w} have?", f"How many letters are in {w}?", f"How many letters has the word {w}?")), f"{cap(w)} has {n} letters: {'-'.join(w)}.")]
    return [(q, f"{'-'.join(letters)}.")]


def health(r, brief=False):
    asks, a = r.choice(W.SYMPTOMS)
    q = r.choice(asks)
    if r.random() < 0.25 and q.startswith(("I ", "My ", "I'")) and "?" not in q:
        q = q.rstrip(".") + r.choice((", what should I do?", ". What can I do?", ", what helps?", ". What should I do?", ". Can you help me?", " since yesterday.", " a lot.", " very much."))
    return [(q, a)]


def foreign(r, brief=False):
    q = r.choice(W.FOREIGN).replace("{f}", r.choice(W.FOREIGN_LANDS))
    if r.random() < 0.2:
        q += " " + r.choice(W.FOREIGN).replace("{f}", r.choice(W.FOREIGN_LANDS))
    return [(q, r.choice(W.ONLY_ENGLISH))]


VAGUE = W.split("""What is the meaning of this poem?|Why did the Roman Empire fall?|How does a nuclear reactor work?|What is the best phone?|Which car should I buy?|How do I fix my bike?|How do I repair a tap?|How do I change a tire?|How do I knit a sweater?
How do I remove a coffee stain?|How do I tie a tie?|How do I build a house?|How do I get rich?|How do I file my taxes?|How do I install Windows?|How do I reset my router?|How do I write a contract?|What is quantum mechanics?|Explain inflation to me.|What is blockchain?
What is the plot of that film?|What is the best restaurant?|Which team is the best?|What are the rules of cricket?|How do I play chess?|How do I bake bread?|What is the recipe for lasagna?|How do I make sushi?|How do I cook a goose?|Who will win the election?
Who will win tomorrow?|What will happen next year?|Will I be rich?|What are the lottery numbers?|What is my horoscope?|What number am I thinking of?|What am I wearing?|What do I look like?|What did I do yesterday?|How many hairs do I have?|What is in my pocket?
Where are my keys?|Where did I park my car?|What's my phone number?|What is my password?|How much money do I have?|What did I eat yesterday?|Can you see me?|Who is behind me?|Write a program that sorts numbers.|Write an essay about climate change.|Solve this equation.
Summarize this article.|Which shares should I buy?|Can I sue my neighbor?|What is the law about that?|How high are the taxes?|How much does a house cost?|What is the melting point of tungsten?|What is the formula of caffeine?|Who was the third king of Denmark?
When was the battle of Hastings?|When did the Roman Empire begin?|When was Mozart born?|When did Napoleon die?|In which year was Rome founded?|What is the atomic number of iron?|What is the boiling point of gold?|What is the national bird of Peru?|Which river flows through Vienna?""")


def dont_know(r, brief=False):
    return [(r.choice(VAGUE), r.choice(("I don't know that.", "I'm sorry, I don't know that.", "I am too small a model to know that.", "I don't know. I am only a small model.")))]


def accented(r, more):
    """A name with accents, given and asked back: copied letter by letter."""
    n = r.choice(W.ACCENTED)
    if r.random() < 0.6:
        n = N.made_up(r)
        swap = dict(zip("aeiounczsly", ("á à â ã ä å", "é è ê ë ę", "í ì î ï", "ó ò ô õ ö ø", "ú ù û ü", "ñ ń", "ç ć č", "ž ż ź", "š ś ş", "ł", "ý ÿ")))
        spots = [i for i, c in enumerate(n.lower()) if c in swap]
        for i in r.sample(spots, min(len(spots), r.choice((1, 1, 2)))):
            c = r.choice(swap[n[i].lower()].split())
            n = n[:i] + (c.upper() if n[i].isupper() else c) + n[i + 1:]
    give = r.choice(N.GIVE).format(n=n)
    ask = r.choice(N.ASK + ["Say my name.", "What is my name?"])
    if r.random() < 0.45:
        return [(f"{r.choice(N.OPEN)}{give} {ask}", r.choice(X.RECALL).format(n=n))], n
    return [(r.choice(N.OPEN) + give, r.choice(X.ACK).format(n=n)), (ask, r.choice(X.RECALL).format(n=n))], n


KINDS = ((cannot, 14), (news, 6), (author, 10), (who_is, 5), (capital, 6), (sums, 16), (big_sum, 2), (calendar, 6), (units, 8), (size, 7), (translate, 7),
         (spell, 9), (health, 5), (foreign, 5), (dont_know, 5))


def any_kind(r, brief=False):
    """One exchange of any kind that is not held out."""
    while True:
        made = r.choices([f for f, _ in KINDS], [n for _, n in KINDS])[0](r, brief)
        if not any(re.sub(r"[^\w ]", "", q.lower()) in HELD_TEXT for q, _ in made):
            return made


def common_words(texts, count=9000):
    """The most frequent plain words of texts, the held-out ones left out."""
    seen = {}
    for text in texts:
        for w in re.findall(r"\b[a-z]{3,13}\b", text):
            seen[w] = seen.get(w, 0) + 1
    ranked = sorted(seen, key=lambda w: (-seen[w], w))[:count]
    return [w for w in ranked if w not in HELD_WORDS and zlib.crc32(w.encode()) % 40 != 7]
