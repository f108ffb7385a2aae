"""Chromium without a window, driven over two pipes by its own protocol: what page_test.py looks at the page with.

Python's standard library alone. One page; every wait is bounded.
"""
import base64
import json
import os
import pathlib
import select
import subprocess
import time

PATIENCE = 60  # seconds for anything


class Chromium:
    def __init__(self, program, folder):
        self.number = 0
        self.buffer = b""
        self.events = []
        here_read, there_write = os.pipe()
        there_read, here_write = os.pipe()
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--mute-audio", "--hide-scrollbars",
                   "--lang=en", f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]

        def as_three_and_four():
            # Above both first: one of the two may be 3 or 4 itself.
            read, write = os.dup2(there_read, 103), os.dup2(there_write, 104)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
                                        preexec_fn=as_three_and_four)
        os.close(there_read)
        os.close(there_write)
        self.read_end, self.write_end = here_read, here_write
        self.session = None
        target = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.read_end)
        os.close(self.write_end)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = self.receive(end - time.monotonic())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        raise TimeoutError(method)

    def receive(self, patience):
        while b"\0" not in self.buffer:
            if not select.select([self.read_end], [], [], patience)[0]:
                raise TimeoutError("Chromium says nothing")
            part = os.read(self.read_end, 1 << 16)
            if not part:
                raise RuntimeError("Chromium has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def run(self, script):
        """The value of an expression in the page; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {json.dumps(result['exceptionDetails'])}")
        return result["result"].get("value")

    def wait(self, script, patience=PATIENCE):
        """Until an expression holds. While a page is loaded it may have nothing yet to be asked about."""
        end = time.monotonic() + patience
        failure = None
        while time.monotonic() < end:
            try:
                value = self.run(script)
                if value:
                    return value
            except (AssertionError, RuntimeError) as error:
                failure = error
            time.sleep(0.05)
        raise AssertionError(f"does not come to hold: {script}\n{self.run('document.body.innerText')}") from failure

    def open(self, address):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def press(self, key, code=None, modifiers=0):
        numbers = {"Enter": 13, "Escape": 27, "ArrowUp": 38}
        common = {"key": key, "code": code or key, "modifiers": modifiers, "windowsVirtualKeyCode": numbers.get(key, 0)}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def window(self, width, height, phone=False, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="webp", quality=80)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def complaints(self):
        """What the page's console was told, and what its policy forbade."""
        texts = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                texts.append(json.dumps(parameters["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                texts.append(parameters["entry"]["text"] + " " + parameters["entry"].get("url", ""))
        return texts

    def asked_hosts(self):
        return {event["params"]["request"]["url"].split("/")[2] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"
                and event["params"]["request"]["url"].startswith("http")}
