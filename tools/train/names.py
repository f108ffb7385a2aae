"""Names and phrasings for the name-recall dialogues, training and test kept apart.
Invariant: no TEST name, TEST_GIVE or TEST_ASK wording is ever in a generated dialogue; data.py drops text documents and
conversations that contain a test name."""
import re

COMMON = """Alex Anna Ben Maria Tom Lisa Max Julia Paul Sarah Peter Laura David Emma Daniel Sophie Michael Lena Thomas Nina
James Mary John Linda Robert Susan William Karen Richard Nancy Joseph Betty Charles Helen Chris Sandra Mark Donna George
Carol Steven Ruth Kevin Sharon Brian Amy Edward Kate Ronald Jane Anthony Alice Jason Rachel Jeff Emily Ryan Grace Gary
Olivia Eric Chloe Stephen Ella Larry Lily Justin Zoe Scott Mia Frank Ava Brandon Hannah Ray Leah Greg Molly Sam Lucy Pat
Jack Rose Dennis Ivy Jerry Ruby Tyler Violet Aaron Hazel Henry Iris Adam Daisy Nathan Clara Zach Nora Walter Eva Harold
Stella Kyle Diana Carl Elena Arthur Irene Roger Vera Albert Martha Simon Olga Oscar Ingrid Felix Astrid Leo Freya Hugo
Greta Otto Heidi Karl Petra Hans Ursula Jan Monika Klaus Sabine Stefan Birgit Jens Anja Lars Karin Erik Sigrid Sven Ulla
Nils Maja Bjorn Linnea Pierre Claire Jean Amelie Louis Camille Luc Juliette Marcel Colette Antoine Odette Marco Giulia
Luca Chiara Matteo Bianca Giovanni Francesca Carlos Carmen Pablo Lucia Diego Isabel Miguel Rosa Juan Pilar Luis Elisa
Pedro Ines Javier Marta Fernando Paula Ivan Natasha Boris Tatiana Dmitri Svetlana Sergei Irina Igor Galina Pavel Katya
Ahmed Fatima Omar Layla Ali Aisha Hassan Yasmin Yusuf Zahra Karim Samira Tariq Nadia Ravi Priya Arjun Anita Raj Lakshmi
Vikram Meera Sanjay Divya Amit Kavita Wei Mei Chen Ling Jun Xia Hiro Yuki Kenji Sakura Takeshi Hana Akira Naomi Min Jisoo
Kofi Ama Kwame Abena Chidi Ngozi Emeka Amara Tunde Zainab Jabari Imani Moses Esther Noah Abigail Jacob Sara Ethan Madison
Logan Sofia Mason Aria Lucas Luna Liam Harper Owen Piper Caleb Sadie Isaac Eden Eli Jade Gavin Paige Ian Robin Jordan
Taylor Morgan Casey Jamie Riley Avery Quinn Rowan Sage River Sky Storm Ash Bo Cy Dee Ed Flo Gil Hal Ike Jo Kit Lou Mo
Ned Oz Pip Quin Ron Sid Ted Ursa Val Wes Xena Yan Zed Maximilian Alexandra Christopher Elizabeth Benjamin Katherine
Jonathan Stephanie Sebastian Gabriella Nicholas Veronica Theodore Josephine Bartholomew Penelope Cornelius Anastasia""".split()

TEST = """Thandiwe Zlatan Oksana Przemek Siobhan Eoghan Nkechi Wojtek Ylva Torvald Anneliese Guadalupe Itzel Xochitl Quentin
Ludmila Radoslav Zdenka Bohdan Miroslava Tadeusz Agnieszka Kazimir Ottilie Hjalmar Solveig Ragnar Yngvild Eirik Thorvald
Aoife Niamh Cillian Saoirse Padraig Caoimhe Tiernan Ewan Morag Fergus Isla Catriona Hamish Rhiannon Gwilym Angharad Emrys
Bronwen Takumi Haruki Ayumi Kaoru Shinji Noriko Makoto Chiyo Jiho Minseo Hyejin Seojun Bayani Ligaya Amihan Datu Nguyen
Linh Thuy Somchai Malee Anong Kittisak Budi Wulan Dewi Farhan Bashir Nasrin Parisa Behrouz Shirin Kourosh Golnaz Ozan
Emre Zeynep Defne Elif Selim Aylin Temitope Oluwaseun Folake Babajide Chiamaka Obinna Adaeze Sipho Nomvula Lindiwe Mandla
Zuberi Wanjiru Kamau Njeri Makena Tesfaye Selam Dawit Hiwot Marisol Ximena Joaquin Thiago Renata Iracema Ubirajara Caio
Jandira Malu Zeferino Drazen Zvonimir Ljubica Vesna Goran Dragana Ionela Costel Mihai Ruxandra Lorcan Maelle Gwendal
Enora Corentin Solene Thibault Ottavia Ludovico Fiammetta Brunhilde Wiltrud Gernot Ekkehard Zorblax Quillon Vexley
Tambrel Orinthia Kesmira Jovarn Pellador Wystra Nimbelle Drovan Ulanka Fenwicke Halvric Yarrowen Corvine Zintha""".split()

GIVE = """My name is {n}.|I'm {n}.|I am {n}.|Call me {n}.|You can call me {n}.|You may call me {n}.|{n} here.|This is {n}.
The name is {n}.|People call me {n}.|My friends call me {n}.|Everyone calls me {n}.|I go by {n}.|Please call me {n}.
My name's {n}.|Just call me {n}.|I'm called {n}.|It's {n} speaking.|{n} is my name.|It is {n}.|They call me {n}.
My first name is {n}.|You are talking to {n}.|You're speaking with {n}.|Remember my name: {n}.|I was named {n}.
Please remember that my name is {n}.|Please remember my name, it's {n}.|I would like you to call me {n}.
I want you to call me {n}.|I have a nice name, it's {n}.|My real name is {n}.|My full name is {n}, but that is long.
I'm {n}, by the way.|I am {n}, a friend.|Let me introduce myself. I'm {n}.|I should introduce myself. My name is {n}.
Most people call me {n}.|My family calls me {n}.|My mom calls me {n}.|Some call me {n}.|I am known as {n}.
I'm known as {n}.|You can use my name, {n}.|Write this down: my name is {n}.|Note that my name is {n}.
I forgot to say that my name is {n}.|I didn't tell you my name yet. It's {n}.|I'll tell you my name. It's {n}.
Guess what, my name is {n}!|Did you know that my name is {n}?|For the record, I'm {n}.|Who am I? I'm {n}!
I think you should know my name. It is {n}.|If you want to know, I'm {n}.|My nickname is {n}.|My user name is {n}.|The name's {n}.|Name's {n}.|I'm {n}, nice to meet you.
You are speaking to {n}.|I answer to {n}.|I was given the name {n}.|At work I am called {n}.|At school they called me {n}.
My grandmother calls me {n}.|My teacher calls me {n}.|My husband calls me {n}.|My friends know me as {n}.|Let me tell you my name: {n}.
May I introduce myself? I am {n}.|I want to introduce myself, my name is {n}.|Hi from {n}.|{n}, that's me.|{n} is what you can call me.
You have {n} on the line.|On the phone is {n}.|Keep in mind that I'm {n}.|Do call me {n}.|Feel free to call me {n}.
You should call me {n}.|Address me as {n}.|Use the name {n} for me.|Memorize my name, {n}.|My name is spelled {n}.
To be clear, I'm {n}.|This message is from {n}.
The one who is talking to you is {n}.|Just so you know, I am {n}.
I'd like to introduce myself: {n}.|Here is my name: {n}.|My name in one word: {n}.|A new voice for you: {n}.|New here: {n}.
Permit me to present myself, {n}.|Let me present myself: I'm {n}.|To introduce myself: I am {n}.|My introduction is short: {n}.
The woman at this desk is {n}.|The man at the keyboard is {n}.|The person writing this is {n}.|The user of this device is {n}.
The owner of this phone is {n}.|Your new user is {n}.|The human on this side is {n}.|Today your guest is {n}.
As we don't know each other, I'm {n}.|We have never talked before, I'm {n}.|Because this is our first chat, I am {n}.
If we are to talk, I am {n}.|Now that we are talking, I'm {n}.|When you answer me, I am {n}.|While we are at it, my name is {n}.
Before anything else, I'm {n}.|To begin with, I am {n}.|Where I come from they say {n} to me.|In my family I am {n}.
The people here call me {n}.|My neighbors call me {n}.|My colleagues call me {n}.|My sister named me {n}.
Store my name, please: {n}.|Put down my name as {n}.|Be so kind and call me {n}.|It's me again, {n}.|Me, I'm {n}.
{n} is how people know me.|{n} is what my mother called me.|{n}, at your service.""".replace("\n", "|").split("|")

TEST_GIVE = """Allow me to introduce myself: {n}.|You should know that I'm called {n}.|Hey there, it's me, {n}.
At home they call me {n}.|My parents named me {n}.|Do me a favor and call me {n}.|Let's start with my name, it is {n}.
Hiya, I'm {n}, pleased to make your acquaintance.|In case you wonder, my name is {n}.|The person in front of you is {n}.
Since we have not met, I am {n}.|Good day to you, {n} is what I'm called.|Before we begin, my name is {n}.
Save my name please: {n}.|Folks around here call me {n}.""".replace("\n", "|").split("|")

OPEN = ["", "", "", "", "", "Hi, ", "Hello, ", "Hey, ", "Hi! ", "Hello! ", "Hey! ", "Good morning. ", "Good afternoon. ",
        "Good evening. ", "OK, ", "Well, ", "First of all, ", "By the way, ", "Listen. ", "So, ", "Greetings. ",
        "Hello there. ", "Hi there! ", "Nice to meet you. ", "Oh, ", "Right. ", "Yes, ", "Hi assistant, ", "Hello prosa. "]
CLOSE = ["", "", "", "", "", "", "", " Nice to meet you.", " How are you?", " What's up?", " I'm new here.",
         " I have a few questions.", " Pleased to meet you.", " Let's talk.", " Can you help me?", " And you?",
         " Don't forget it.", " I like talking to you.", " Let's have a chat.", " Remember that.", " What's your name?"]

ASK = """What is my name?|What's my name?|Do you remember my name?|Do you know my name?|Can you tell me my name?|Who am I?
Tell me my name.|Say my name.|What was my name?|What was my name again?|What did I say my name was?|Do you still know my name?
What name did I give you?|Which name did I tell you?|Remind me what my name is.|Do you recall my name?
Could you tell me my name?|What do you call me?|What am I called?|Can you remember my name?|Have you forgotten my name?
Did you forget my name?|Please say my name.|I forgot my name. What is it?|Do you know who I am?|What should you call me?
Do you know who you are talking to?|Who are you talking to?|Who is talking to you?|Repeat my name.|My name is what?
And my name is?|Can you repeat my name?|I wonder if you remember my name.|Let's see if you know my name.
Do you have my name?|Let me test you: what's my name?|Quick test: who am I?|Tell me who I am.|Did I tell you my name?
Could you remind me of my name?|What name do I have?|What's the name I told you?|How do you call me?
What is the name of the person talking to you?|Can you say my name?|Now say my name.|Do you remember who I am?
So what's my name?|What is my name, please?|What did I tell you about my name?|How should you call me?
I told you my name. What is it?|I said my name before. What was it?|Please tell me what my name is.
Can you tell me who I am?|Do you know what I'm called?|Please repeat my name.|Do you remember what my name is?
Are you able to remember my name?|Is my name still in your memory?|What name did I say?|Answer me: what is my name?
Now tell me my name.|You know my name, right?|You remember my name, don't you?|Spell it out: who am I?|And who am I?
Guess my name.|What's my first name?|Try to remember my name.|I bet you forgot my name.|Call me by my name.
Greet me by my name.|Say hello to me by name.|Which name is mine?|Under what name do you know me?|My name, please.
Could you say my name again?|What did I just say my name was?|Remember my name?
What is the name that I gave you?|Do you by any chance know my name?|Are you sure you know my name?
What should I be called?|How do my friends call me?
A little test: what is my name?
Do you still remember who I am?|Do you still know who I am?|What's my name again?|Tell me again, what's my name?
What was the name I told you?|What was that name I gave you?|Earlier I told you my name. What is it?
Say what my name is.
What are you going to call me?|How will you call me?|Do you recall who I am?|Remember who I am?
Do you remember me? Who am I?|Is it true that you know my name?
Which name did I give?|My name was what?|What do my friends call me?|Whose name is mine? Say it.|The name I gave you, what was it?""".replace("\n", "|").split("|")

TEST_ASK = """So tell me, how am I called?|Would you mind telling me my name?|Surely you remember what I am called?
By which name do you know me?|Which name belongs to me?|I hope you have not forgotten my name. What is it?
Can you still say what my name was?|What name should you use for me?|Now, what did I tell you my name is?
Could you please repeat what I'm called?|Before I go, what's my name?|If somebody asked you my name, what would you say?
Just checking: do you know what my name is?|One more thing, who am I again?|Let's test your memory. What's my name?
How do people call me?|What was the name I gave you at the start?|I would love to hear my name.
Would you say my name, please?|Remember me? What's my name?""".replace("\n", "|").split("|")

ASK_OPEN = ["", "", "", "", "", "", "OK, ", "So, ", "And ", "Now, ", "By the way, ", "Hey, ", "Tell me, ", "One question: ",
            "Another question. ", "Great. ", "Thanks. ", "Cool. ", "Interesting. ", "Hm, ", "Well, ", "Alright. ",
            "Let's see. ", "Good. ", "I have a question. ", "Wait, ", "Quick question: ", "Finally, ", "Sorry, "]
ASK_CLOSE = ["", "", "", "", "", "", " Do you remember?", " Please tell me.", " Be honest.", " I forgot.", " Just my name."]

# Made-up names must look like names from everywhere, so that a reply is copied from the dialogue and never guessed.
# Three ways: syllables; two halves of known names; letters drawn by what follows two letters in known names and places.
_ON = ("b c d f g h j k l m n p r s t v w y z br ch cl dr fl gr kl kr ph pr qu sh sl st th tr vl zh bl cr gl gw kn kw mb "
       "nd ng nk ny pl ps pt rh sc sk sm sn sp str sv sw szcz th thr tl ts tw tz vr wh wr x xh zl zn zv kh gh dh bh dj hj "
       "mk nj").split() + ["", "", "", ""]
_NU = "a e i o u ai ea ee ia io ou ua y ae ao au ei eo eu ie iu oa oe oi ui uo aa ii oo uu aoi ieu".split()
_CO = ["", "", "", "", "", "l", "m", "n", "r", "s", "t", "x", "ck", "nd", "rn", "ss", "th", "lle", "nne", "ric", "na", "ra",
       "k", "d", "z", "sz", "ng", "gh", "dh", "mh", "bh", "ld", "rd", "lt", "rt", "rk", "lf", "ks", "ta", "ka", "ya", "wa",
       "sh", "le", "ne", "we", "ile", "ine", "ette", "slav", "mir", "wen", "wyn", "iel", "ael", "dan", "tje", "ski", "vic"]
PLACES = """Bergen Tromso Malmo Aarhus Turku Tartu Riga Kaunas Gdansk Wroclaw Lodz Brno Kosice Pecs Szeged Timisoara Plovdiv
Skopje Tirana Split Rijeka Zadar Izmir Konya Bursa Tabriz Shiraz Isfahan Basra Mosul Aleppo Amman Medina Muscat Aden Khartoum
Asmara Mombasa Kampala Kigali Bujumbura Dodoma Lusaka Harare Bulawayo Maputo Durban Gaborone Windhoek Luanda Kinshasa Douala
Yaounde Ibadan Kano Kumasi Abidjan Bamako Dakar Nouakchott Rabat Oran Sfax Benghazi Astana Bishkek Dushanbe Samarkand Kabul
Lahore Jaipur Pune Nagpur Kochi Madurai Patna Dhaka Thimphu Yangon Hue Danang Vientiane Cebu Davao Bandung Surabaya Makassar
Kuching Taipei Xian Chengdu Kunming Harbin Busan Daegu Sapporo Sendai Nagoya Fukuoka Hobart Cairns Dunedin Suva Apia Nuuk
Oaxaca Merida Puebla Cusco Arequipa Quito Cali Medellin Maracaibo Recife Manaus Curitiba Rosario Mendoza Valparaiso Potosi
Llanelli Cardigan Galway Sligo Donegal Inverness Perth Oban Kirkwall Reykjavik Akureyri Torshavn Evora Braga Bilbao Girona""".split()


def _follow():
    table = {}
    for name in COMMON + PLACES:
        word = "^^" + name.lower() + "$"
        for i in range(2, len(word)):
            table.setdefault(word[i - 2:i], []).append(word[i])
    return table


_FOLLOW = _follow()


def _halves(r):
    a, b = r.choice(COMMON + PLACES).lower(), r.choice(COMMON + PLACES).lower()
    return a[:r.randint(1, max(2, len(a) - 1))] + b[r.randint(1, max(1, len(b) - 2)):]


def _drawn(r):
    name = "^^"
    while len(name) < 14:
        c = r.choice(_FOLLOW[name[-2:]]) if r.random() < 0.93 and name[-2:] in _FOLLOW else r.choice("abcdefghijklmnopqrstuvwxyz")
        if c == "$":
            break
        name += c
    return name[2:]


def made_up(r):
    while True:
        k = r.random()
        if k < 0.4:
            name = "".join(r.choice(_ON) + r.choice(_NU) for _ in range(r.choice((1, 2, 2, 3)))) + r.choice(_CO)
        else:
            name = _halves(r) if k < 0.65 else _drawn(r)
        if 3 <= len(name) <= 12 and re.search("[aeiouy]", name) and name.capitalize() not in _TEST_SET:
            return name.capitalize()


_TEST_SET = set(TEST)
TEST_WORD = re.compile(r"\b(" + "|".join(TEST) + r")\b")


def any_name(r, more=()):
    """A name for training: common, from the data folder, or made up."""
    k = r.random()
    if k < 0.3 or not more and k < 0.4:
        return r.choice(COMMON)
    if k < 0.4:
        return r.choice(more)
    return made_up(r)
