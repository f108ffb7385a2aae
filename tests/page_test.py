"""The page of prosa serve in Chromium: writes, stops, edits and tries again, as somebody at a keyboard does.

    page_test.py PROGRAM [--pictures FOLDER]

PROGRAM is prosa; it serves the embedded model. Ends with 77 where there is no Chromium. What needs no browser is in
server_page_test.cpp.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from chromium import Chromium

KEY = "a-key-of-the-test"
SHORT = {"temperature": "0", "max_tokens": "40", "thinking": "none"}
LONG = "You answer briefly, in plain words, and never mention yourself. " * 6  # more than a few replies
PICTURED = {"id": "one", "title": "Rivers", "changed": 1, "messages": [{"role": "user", "content": "Hello!"}],
            "settings": {"temperature": "0", "max_tokens": "120", "system": LONG}}
arguments = None


def start_server():
    process = subprocess.Popen([arguments.program, "serve", "--port", "0", "--threads", "2", "--quiet"], text=True,
                               stderr=subprocess.PIPE, env={**os.environ, "PROSA_API_KEY": KEY})
    for line in process.stderr:
        found = re.search(r"http://[0-9.:]+", line)
        if found:
            return process, found.group()
    raise RuntimeError("prosa serve does not begin")


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # Chromium's last children may still write
        cls.server, cls.address = start_server()
        cls.browser = Chromium(shutil.which("chromium"), cls.folder.name)
        cls.browser.window(1100, 760)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.server.terminate()
        assert cls.server.wait(60) == 0, "the server ends as it should"
        cls.server.stderr.close()
        cls.folder.cleanup()

    def setUp(self):
        self.browser.open(self.address)
        self.browser.run(f"localStorage.clear(); localStorage.setItem('prosa.key', '{KEY}')")
        self.browser.events.clear()

    def begin(self, settings=None, messages=None):
        """The page anew, with a conversation in it."""
        conversation = {"id": "one", "title": "One", "changed": 1, "messages": messages or [{"role": "user", "content": "Hi"}],
                        "settings": {**SHORT, **(settings or {})}}
        self.browser.run(f"localStorage.setItem('prosa.conversation.one', {json.dumps(json.dumps(conversation))})")
        self.browser.open(self.address + "/#one")
        self.browser.wait("document.querySelector('#model').value !== ''")

    def say(self, text):
        before = self.count()
        self.browser.run("document.querySelector('#input').focus()")
        self.browser.type(text)
        self.browser.press("Enter")
        self.browser.wait(f"document.querySelectorAll('.reply').length > {before}")

    def count(self):
        return self.browser.run("document.querySelectorAll('.reply').length")

    def wait_for_reply(self):
        return self.browser.wait("!document.body.classList.contains('is-replying') && "
                                 "[...document.querySelectorAll('.reply')].at(-1)?.querySelector('.cost')?.textContent")

    def last_reply(self):
        return self.browser.run("[...document.querySelectorAll('.reply')].at(-1).querySelector('.text').textContent")

    def test_replies_are_streamed_kept_and_go_on(self):
        self.begin({"system": LONG})
        self.say("What is a river? Answer in a sentence.")
        cost = self.wait_for_reply()
        first = self.last_reply()
        self.assertGreater(len(first), 10)
        self.assertRegex(cost, r"prompt tokens computed · first word after .* tokens")
        self.say("And a lake?")
        new, whole = map(int, re.search(r"(\d+) new of (\d+) prompt tokens", self.wait_for_reply()).groups())
        self.assertLess(new, whole / 2, "what was said before is not read again")
        self.browser.call("Page.reload")
        self.browser.wait("document.querySelectorAll('.reply').length === 2")
        self.assertEqual(self.browser.run("document.querySelector('.reply .text').textContent"), first)
        self.assertIn("One", self.browser.run("document.querySelector('#list').textContent"))
        self.browser.wait("/[MG]B/.test(document.querySelector('#figures').textContent)")
        self.assertEqual(self.browser.complaints(), [])
        self.assertEqual(self.browser.asked_hosts(), {self.address.removeprefix("http://")}, "nobody else is asked")

    def test_an_edited_message_computes_what_is_new_in_it(self):
        self.begin({"system": LONG})
        self.say("Name a colour.")
        self.wait_for_reply()
        self.browser.run("document.querySelector('#input').focus()")
        self.browser.press("ArrowUp")
        self.browser.wait("document.activeElement.closest('.editor') !== null")
        self.browser.run("document.activeElement.select()")
        self.browser.type("Name a tree.")
        self.browser.press("Enter")
        self.browser.wait("document.querySelectorAll('.user .text').length === 2")
        new, whole = map(int, re.search(r"(\d+) new of (\d+) prompt tokens", self.wait_for_reply()).groups())
        self.assertLess(new, whole / 2)
        texts = self.browser.run("[...document.querySelectorAll('.user .text')].map((each) => each.textContent)")
        self.assertEqual(texts, ["Hi", "Name a tree."])
        before = self.last_reply()
        self.browser.run("document.querySelector('[aria-label=\"Try again\"]').click()")
        self.wait_for_reply()
        self.assertEqual(self.last_reply(), before, "greedy: the same once more")

    def test_escape_stops_a_reply_and_the_server(self):
        schema = {"type": "string", "minLength": 2000}  # it would go on for long
        self.begin({"max_tokens": "4000", "schema": json.dumps(schema)})
        self.say("Tell me a very long story.")
        self.browser.wait("[...document.querySelectorAll('.reply')].at(-1).querySelector('.text').textContent.length > 20")
        self.browser.press("Escape")
        self.assertRegex(self.wait_for_reply(), "^stopped")
        script = "import('/page/api.js').then((api) => api.readMetrics()).then((all) => all.prosa_replies_running === 0)"
        self.browser.wait(script)

    def test_a_schema_holds_the_reply_and_a_wrong_one_is_named(self):
        schema = {"type": "object", "properties": {"town": {"type": "string", "maxLength": 12}}, "required": ["town"],
                  "additionalProperties": False}
        self.begin({"schema": json.dumps(schema)})
        self.say("Name a town.")
        self.wait_for_reply()
        self.assertEqual(list(json.loads(self.last_reply())), ["town"])
        self.begin({"schema": "{"})
        self.browser.run("document.querySelector('#input').focus()")
        self.browser.type("Hello")
        self.browser.press("Enter")
        self.browser.wait("document.querySelector('.notice button') !== null")
        self.browser.run("document.querySelector('.notice button').click()")
        self.assertEqual(self.browser.run("document.activeElement.name"), "schema")
        self.assertIn("no JSON", self.browser.run("document.querySelector('#schema-problem').textContent"))

    def test_calls_are_shown_and_answered_by_hand(self):
        call = {"id": "call_1", "name": "weather", "arguments": '{"town": "Rome"}'}
        tool = {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}
        self.begin({"tools": json.dumps([tool])},
                   [{"role": "user", "content": "Weather in Rome?"},
                    {"role": "assistant", "content": "", "thought": "I ask.", "calls": [call], "end": "tool_calls"}])
        self.assertIn("Rome", self.browser.run("document.querySelector('.calls pre').textContent"))
        self.assertFalse(self.browser.run("document.querySelector('.thought').open"), "thoughts are folded")
        self.browser.run("document.querySelector('.results textarea').focus()")
        self.browser.type("It rains.")
        self.browser.run("document.querySelector('.results').requestSubmit()")
        self.browser.wait("document.querySelectorAll('.reply').length === 2")
        self.assertIn("prompt tokens", self.wait_for_reply())

    def test_without_a_key_the_page_asks_for_it(self):
        self.browser.run("localStorage.removeItem('prosa.key')")
        self.browser.open(self.address)
        self.browser.wait("document.querySelector('.notice')?.textContent.includes('API key')")
        self.browser.run("document.querySelector('.notice button').click()")
        self.assertEqual(self.browser.run("document.activeElement.name"), "key")
        self.browser.type(KEY)
        self.browser.run("document.querySelector('#settings').close()")
        self.browser.wait("document.querySelector('#model').value !== ''")

    def test_text_never_becomes_markup(self):
        hostile = "<img src=x onerror=alert(1)> **<b>bold</b>** [a](javascript:alert(1)) ![p](https://other.example/p.png)"
        self.assertEqual(self.markdown(hostile),
                         "<p>&lt;img src=x onerror=alert(1)&gt; <strong>&lt;b&gt;bold&lt;/b&gt;</strong> "
                         '[a](javascript:alert(1)) <a href="https://other.example/p.png" target="_blank" '
                         'rel="noopener noreferrer">p</a></p>')
        self.assertNotIn("other.example", self.browser.asked_hosts())

    def test_markdown(self):
        cases = {
            "# A\ntext\nmore": "<h3>A</h3><p>text\nmore</p>",
            "- a\n- b\n  - c\n\n- d": "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>",
            "3. a\n4. b\n\n   c": '<ol start="3"><li>a</li><li>b<p>c</p></li></ol>',
            "> a\n> > b": "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
            "*a* _b_ __c__ ~~d~~ `e*f*` 2*3*4 a_b_c": "<p><em>a</em> <em>b</em> <strong>c</strong> <del>d</del> "
                                                      "<code>e*f*</code> 2<em>3</em>4 a_b_c</p>",
            "**a *b* c** \\*d\\*": "<p><strong>a <em>b</em> c</strong> *d*</p>",
            "a **b": "<p>a **b</p>",
            "---": "<hr>",
            "see https://a.example/b.": '<p>see <a href="https://a.example/b" target="_blank" '
                                        'rel="noopener noreferrer">https://a.example/b</a>.</p>',
        }
        for source, expected in cases.items():
            self.assertEqual(self.markdown(source), expected, source)
        code = self.markdown("```py\nx = '<b>'\n```\nafter")
        self.assertIn("<code>x = '&lt;b&gt;'</code>", code)
        self.assertTrue(code.endswith("<p>after</p>"), code)
        self.assertIn("<code>open", self.markdown("```\nopen"), "a fence that is not closed yet")
        table = self.markdown("| a | b |\n|---|--:|\n| 1 | **2** |")
        self.assertIn('<td class="to-right"><strong>2</strong></td>', table)

    def test_markdown_of_hostile_length_takes_no_time(self):
        for mark in ("*", "_", "[", "`", "**a ", "- ", "> ", "[a](", "~~", "|", "1. a\n  "):
            taken = self.browser.run(
                "import('/page/markdown.js').then((m) => { const begun = performance.now();"
                f"m.renderMarkdown(document.createElement('div'), {json.dumps(mark * 20000)});"
                "return performance.now() - begun; })")
            self.assertLess(taken, 4000, repr(mark))

    def test_a_growing_reply_keeps_the_blocks_that_stand(self):
        self.assertTrue(self.browser.run(
            "import('/page/markdown.js').then((m) => { const div = document.createElement('div');"
            "m.renderMarkdown(div, 'one\\n\\ntwo'); const first = div.children[0];"
            "m.renderMarkdown(div, 'one\\n\\ntwo and a half\\n\\nthree');"
            "return div.children.length === 3 && div.children[0] === first; })"))

    def test_speech_reads_words_and_no_code(self):
        words = self.browser.run("import('/page/markdown.js').then((m) => m.plainText("
                                 "'# Hi\\n**You** see [this](https://a.example)\\n```\\ncode\\n```\\n- done'))")
        self.assertEqual(words.split(), ["Hi", "You", "see", "this", "done"])

    def test_dark_and_phone(self):
        self.begin(messages=[{"role": "user", "content": "Hi " * 200},
                             {"role": "assistant", "content": "```\n" + "x" * 400 + "\n```\n\n|a|b|\n|-|-|\n|" + "y" * 300 + "|c|"}])
        paper = "getComputedStyle(document.body).backgroundColor"
        light = self.browser.run(paper)
        self.browser.window(390, 780, phone=True, dark=True)
        dark = self.browser.run(paper)
        self.assertNotEqual(light, dark)
        self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), 390, "nothing reaches beyond the edge")
        self.browser.wait("getComputedStyle(document.querySelector('#drawer')).visibility === 'hidden'")
        self.browser.run("document.querySelector('#menu').click()")
        self.browser.wait("getComputedStyle(document.querySelector('#drawer')).visibility === 'visible'")
        self.browser.window(1100, 760)
        self.browser.run("const theme = document.querySelector('[name=theme]'); theme.value = 'dark';"
                         "theme.dispatchEvent(new Event('change', {bubbles: true}))")
        self.assertEqual(self.browser.run(paper), dark, "by choice, whatever the system has")
        self.browser.call("Page.reload")
        self.browser.wait(f"{paper} === '{dark}'")

    def markdown(self, text):
        return self.browser.run("import('/page/markdown.js').then((m) => { const div = document.createElement('div');"
                                f"m.renderMarkdown(div, {json.dumps(text)}); return div.innerHTML; }})")


def take_pictures(folder):
    """docs/guide's: the page in light, in dark and on a phone, with what the embedded model says."""
    Page.setUpClass()
    page = Page()
    page.setUp()
    page.browser.run(f"localStorage.setItem('prosa.conversation.one', {json.dumps(json.dumps(PICTURED))})")
    page.browser.open(page.address + "/#one")
    for question in ("What is a river?", "Where does its water come from?"):
        page.say(question)
        page.wait_for_reply()
    for name, window in {"light": (1000, 640), "dark": (1000, 640, False, True), "phone": (390, 640, True)}.items():
        page.browser.window(*window)
        page.browser.open(page.address + "/#one")
        page.browser.wait("/[MG]B/.test(document.querySelector('#figures').textContent)")
        page.browser.picture(pathlib.Path(folder) / f"page-{name}.webp")
    Page.tearDownClass()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--pictures")
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    if shutil.which("chromium") is None:
        print("skipped: there is no chromium here")
        sys.exit(77)
    if arguments.pictures:
        take_pictures(arguments.pictures)
    else:
        unittest.main(argv=[sys.argv[0], *arguments.tests])
