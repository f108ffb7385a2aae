#!/usr/bin/env python3
"""check_hub_cache.py BUILD: prosa and Python's huggingface_hub share one cache, both ways.

Serves a small repository with BUILD/bench/hub_server (configure with -DPROSA_BUILD_BENCH=ON), then
1. prosa pulls, and snapshot_download() and hf_hub_download() find everything, online and offline, without fetching;
2. Python downloads into a fresh cache, and prosa uses it without fetching, online and offline;
3. the two folders are the same: links, blobs, refs.
Needs: pip install huggingface_hub.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

FILES = ["config.json", "tokenizer.json", "model.safetensors", "int4/config.json", "int4/model.safetensors"]


class Server:
    def __init__(self, build, folder):
        words = [f"{build}/bench/hub_server"]
        for number, name in enumerate(FILES):
            path = folder / str(number)
            path.write_bytes(os.urandom(3_000_000) if name.endswith(".safetensors") else b"{}" + b" " * number)
            words.append(f"{name}={path}")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().split()[1]
        for _ in range(sum(name.endswith(".safetensors") for name in FILES)):
            self.process.stdout.readline()

    def bytes_served(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline().split()[3])


def prosa(build, environment, *words):
    result = subprocess.run([f"{build}/prosa", *words], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


PYTHON = """
import os, sys
from huggingface_hub import snapshot_download, hf_hub_download, scan_cache_dir
wanted = ["*.json", "*.safetensors"] if len(sys.argv) < 3 else sys.argv[2].split(",")
offline = sys.argv[1] == "offline"
print(snapshot_download("some/model", allow_patterns=wanted, local_files_only=offline))
hf_hub_download("some/model", "model.safetensors", local_files_only=offline)
info = scan_cache_dir()
assert not info.warnings, info.warnings
assert [repo.repo_id for repo in info.repos] == ["some/model"]
"""


def python(environment, *words):
    result = subprocess.run([sys.executable, "-c", PYTHON, *words], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def layout(cache):
    found = {}
    for path in sorted((cache / "models--some--model").rglob("*")):
        name = str(path.relative_to(cache))
        if "/trees" in name or "/.no_exist" in name:  # Python's own notes
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        server = Server(build, folder)

        def environment(cache):
            kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
            return kept | {"HF_ENDPOINT": server.endpoint, "HF_HUB_CACHE": str(folder / cache),
                           "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

        # 1. What prosa wrote, Python uses.
        ours = environment("ours")
        by_prosa = prosa(build, ours, "pull", "some/model")
        prosa(build, ours, "pull", "some/model:int4")
        before = server.bytes_served()
        assert python(ours, "online") == by_prosa
        assert python(ours, "offline") == by_prosa
        assert server.bytes_served() - before < 10_000, "Python fetched what prosa had"
        # 2. What Python wrote, prosa uses.
        theirs = environment("theirs")
        by_python = python(theirs, "online")
        before = server.bytes_served()
        assert prosa(build, theirs, "pull", "some/model") == by_python
        assert prosa(build, theirs, "pull", "some/model", "--offline") == by_python
        assert prosa(build, theirs, "pull", "some/model:int4", "--verify") == by_python + "/int4"
        assert server.bytes_served() - before < 10_000, "prosa fetched what Python had"
        # 3. They are the same.
        assert layout(folder / "ours") == layout(folder / "theirs")
        # A part that Python left out, prosa adds.
        partial = environment("partial")
        python(partial, "online", "*.safetensors")
        prosa(build, partial, "pull", "some/model")
        prosa(build, partial, "pull", "some/model", "--offline")
        server.process.stdin.close()
    print("prosa and huggingface_hub share a cache, both ways")


main()
