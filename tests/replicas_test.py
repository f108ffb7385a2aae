#!/usr/bin/env python3
"""Three replicas of prosa serve behind HAProxy (deploy/haproxy.cfg), one of which is killed under load.

Conversations of several turns are held through the proxy, and each reply must be the one that a server alone gives: so
no conversation gets another's text. Requests that were under way in the replica that is killed may fail, once each and
never with a wrong text; whatever is asked after that succeeds, and what has moved is warm again after one turn.
The model speaks nonsense, greedily. Exit code 77: HAProxy is not there.

usage: replicas_test.py PROGRAM MODEL REPOSITORY
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SKIPPED = 77
TALKS = 9
TURNS = 8
GENERATION_PROMPT = 16  # tokens at the end of a prompt that no later one has, at most


class Replica:
    """A server on a port that stays its own."""

    def __init__(self, program, model, port=0):
        self.words = [program, "serve", model, "--threads", "1", "--temperature", "0", "--max-tokens", "24",
                      "--quiet", "--disable-thinking", "--port"]
        self.port = port
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words + [str(self.port)], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "http://" in line:
                self.port = int(line.split("http://127.0.0.1:")[1].split(";")[0])
                break
        assert self.port, "a replica does not start"
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def answered(self):
        """Chat requests so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return sum(int(line.split()[-1]) for line in lines
                   if line.startswith('prosa_requests_total{path="/v1/chat/completions",status="200"}'))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Failed(Exception):
    """The connection ended, or the status was none of success."""


def ask(port, messages, stream):
    """The reply's text and its usage."""
    body = json.dumps({"messages": messages, "stream": stream, "stream_options": {"include_usage": True}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(repr(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise Failed(f"status {response.status}: {text[:200]}")
    if not stream:
        reply = json.loads(text)
        return reply["choices"][0]["message"]["content"], reply["usage"]
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        raise Failed("the stream was cut")
    chunks = [json.loads(event) for event in events[:-1]]
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return said, chunks[-1]["usage"]


class Talk(threading.Thread):
    """A conversation: its turns, what was said, what was warm, and what failed."""

    def __init__(self, number, port, pause=0.0):
        super().__init__()
        self.number, self.port, self.pause = number, port, pause
        self.replies, self.warm, self.failures = [], [], []
        self.error = None

    def run(self):
        try:
            read = 0
            messages = [{"role": "system", "content": "Be brief."}]
            for turn in range(TURNS):
                messages.append({"role": "user", "content": f"Talk {self.number} asks for number {turn * 7}."})
                text, usage = self.ask_again(messages, turn)
                self.replies.append(text)
                # What the turn before had read is warm where it was read; elsewhere only what all talks begin with is.
                warm = usage["prompt_tokens_details"]["cached_tokens"]
                self.warm.append(turn == 0 or warm >= read - GENERATION_PROMPT)
                read = usage["prompt_tokens"]
                messages.append({"role": "assistant", "content": text})
                time.sleep(self.pause)
        except Exception as error:  # shown by the main thread, whatever it is
            self.error = error

    def ask_again(self, messages, turn):
        for attempt in range(2):
            try:
                return ask(self.port, messages, stream=(self.number + turn) % 2 == 0)
            except Failed as failure:
                self.failures.append((time.monotonic(), str(failure)))
                if attempt == 1:
                    raise
        return None


def hold(talks):
    for talk in talks:
        talk.start()
    for talk in talks:
        talk.join()
        if talk.error:
            raise talk.error
    return talks


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(port):
    for _ in range(200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit("the proxy does not get ready")


def main():
    program, model, repository = sys.argv[1:4]
    haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if haproxy is None:
        print("skipped: haproxy is not installed")
        return SKIPPED
    children = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            alone = Replica(program, model)
            children.append(alone.process)
            expected = [talk.replies for talk in hold([Talk(i, alone.port) for i in range(TALKS)])]
            assert len({tuple(replies) for replies in expected}) > 1, "the talks can't be told from each other"
            alone.kill()

            replicas = [Replica(program, model) for _ in range(3)]
            port = free_port()
            settings = dict(os.environ, PROSA_PROXY_ADDRESS=f"127.0.0.1:{port}",
                            PROSA_PROXY_SOCKET=os.path.join(folder, "socket"))
            for name, replica in zip(("ONE", "TWO", "THREE"), replicas):
                settings[f"PROSA_{name}"] = f"127.0.0.1:{replica.port}"
            proxy = subprocess.Popen([haproxy, "-db", "-f", os.path.join(repository, "deploy", "haproxy.cfg")],
                                     env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            children.append(proxy)
            wait_until_ready(port)

            # All alive: every turn after the first finds its conversation warm, so it went where the others were.
            talks = hold([Talk(i, port) for i in range(TALKS)])
            assert [talk.replies for talk in talks] == expected, "a reply is not the one of its conversation"
            assert not any(talk.failures for talk in talks), "a request failed while all replicas lived"
            cold = sum(not warm for talk in talks for warm in talk.warm)
            assert cold == 0, f"{cold} turns did not find their conversation"

            # One is killed while all talk.
            talks = [Talk(i, port, pause=0.05) for i in range(TALKS)]
            holder = threading.Thread(target=lambda: hold(talks))
            holder.start()
            time.sleep(0.3)
            victim = max(replicas, key=Replica.answered)
            assert victim.answered() > TURNS, "the replica that is killed has no conversation"
            victim.kill()
            killed = time.monotonic()
            holder.join()
            for talk in talks:
                assert talk.error is None, f"a new request did not succeed: {talk.error}"
            assert [talk.replies for talk in talks] == expected, "a reply is not the one of its conversation"
            failures = [failure for talk in talks for failure in talk.failures]
            late = [what for when, what in failures if when > killed + 2]
            assert not late, f"requests failed long after the replica had gone: {late}"
            moved = [talk.warm.count(False) for talk in talks]
            assert max(moved) <= 1 and sum(moved) > 0, f"turns that read a whole history again: {moved}"

            # It comes back.
            victim.start()
            time.sleep(1.5)
            talks = hold([Talk(i, port) for i in range(TALKS)])
            assert [talk.replies for talk in talks] == expected
            assert not any(talk.failures for talk in talks)
            print(f"{TALKS} conversations of {TURNS} turns; when a replica was killed {len(failures)} requests failed and "
                  f"{sum(moved)} conversations read their history again")
        finally:
            for child in children + [replica.process for replica in locals().get("replicas", [])]:
                child.kill()
                child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
