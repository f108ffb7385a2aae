"""Converts a small checkpoint of the golden vectors and runs the package op by op: its logits against the official ones,
prefill against single steps, padding, the file's size, and what is refused.

  python test_coreml.py            (needs coremltools; prints a line a test, as unittest does)
"""
import json
import pathlib
import shutil
import tempfile
import unittest

import coremltools as ct
import numpy as np

from checkpoint import CheckpointError, read_safetensors
from convert import convert
from evaluate import Package

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/data/golden"
CONTEXT, TOKENS = 256, 64


def kl(official, other):
    """KL(official ‖ other) of two rows of logits."""
    a, b = (x - np.log(np.exp(x - x.max()).sum()) - x.max() for x in (official.astype(np.float64), other.astype(np.float64)))
    return float((np.exp(a) * (a - b)).sum())


class Run:
    """A conversation on a package: tokens in, logits of the last one out."""

    def __init__(self, package):
        self.package, self.state, self.position = package, package.new_state("decode"), 0

    def call(self, function, ids):
        t = self.package.inputs(function)["input_ids"][1]
        given = np.full((1, t), 7, np.int32)  # padding is some token; it must not matter which
        given[0, :len(ids)] = ids
        mask = np.full((1, 1, t, CONTEXT), -np.inf, np.float16)
        for i in range(t):
            mask[0, 0, i, :self.position + i + 1] = 0
        out = self.package.run(function, self.state, input_ids=given, position=np.array([self.position], np.int32),
                               length=np.array([len(ids)], np.int32), attention_mask=mask)
        self.position += len(ids)
        return out["logits"][0].astype(np.float32)

    def prefill(self, ids):
        for begin in range(0, len(ids), TOKENS):
            logits = self.call("prefill", ids[begin:begin + TOKENS])
        return logits

    def decode(self, ids):
        for i in range(len(ids)):
            logits = self.call("decode", ids[i:i + 1])
        return logits


class CoreMl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="coreml-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.official = read_safetensors(GOLDEN / "tiny-hf/expected.safetensors")
        cls.packages = {}
        for weights, precision in (("int8", "float32"), ("float16", "float32"), ("int8", "float16")):
            path = cls.folder / f"{weights}-{precision}.mlpackage"
            convert(GOLDEN / "tiny-hf", path, CONTEXT, TOKENS, precision, weights)
            cls.packages[weights, precision] = Package(path)

    def prompts(self):
        for n in (1, 5, 63, 64, 65, 200):
            yield self.official[f"prompt_{n}.input_ids"], self.official[f"prompt_{n}.logits"][-1]

    def test_names_and_shapes_are_those_of_the_guide(self):
        package = self.packages["int8", "float16"]
        self.assertEqual(set(package.functions()), {"prefill", "decode"})
        self.assertEqual(package.inputs("prefill"), {"input_ids": (1, TOKENS), "position": (1,), "length": (1,),
                                                     "attention_mask": (1, 1, TOKENS, CONTEXT)})
        self.assertEqual(set(package.new_state("decode")), set(package.new_state("prefill")))
        self.assertIn("key_cache_3", package.new_state("decode"))
        self.assertIn("delta_state_0", package.new_state("decode"))

    def test_without_int8_the_logits_are_the_official_ones(self):
        for ids, logits in self.prompts():
            self.assertLess(np.abs(Run(self.packages["float16", "float32"]).prefill(ids) - logits).max(), 1e-2, f"{len(ids)} tokens")

    def test_int8_costs_what_rounding_to_int8_costs(self):
        for precision in ("float32", "float16"):
            costs = [kl(logits, Run(self.packages["int8", precision]).prefill(ids)) for ids, logits in self.prompts()]
            self.assertLess(np.mean(costs), 1e-3, precision)

    def test_single_steps_give_what_a_prefill_gives(self):
        ids, _ = list(self.prompts())[4]
        whole, steps = Run(self.packages["int8", "float32"]), Run(self.packages["int8", "float32"])
        np.testing.assert_allclose(whole.prefill(ids), steps.decode(ids), atol=1e-2)
        for name in whole.state:
            seen = (slice(None), slice(None), slice(0, len(ids))) if "cache" in name else ...
            np.testing.assert_allclose(whole.state[name][seen].astype(np.float32), steps.state[name][seen].astype(np.float32), atol=2e-2)

    def test_a_short_prefill_is_followed_by_steps(self):
        ids, logits = list(self.prompts())[4]
        run = Run(self.packages["float16", "float32"])
        run.call("prefill", ids[:40])
        run.decode(ids[40:50])
        self.assertLess(np.abs(run.call("prefill", ids[50:]) - logits).max(), 1e-2)

    def test_both_programs_share_one_copy_of_the_weights(self):
        matrices = 940_000  # of tiny-hf, a byte each
        weights = next((self.folder / "int8-float16.mlpackage").rglob("weight.bin")).stat().st_size
        self.assertLess(weights, 1.3 * matrices)

    def test_mlx_files_convert_too(self):
        path = self.folder / "mlx.mlpackage"
        convert(GOLDEN / "tiny-mlx-4bit", path, CONTEXT, TOKENS, "float32", "float16")
        official = read_safetensors(GOLDEN / "tiny-mlx-4bit/expected.safetensors")
        logits = Run(Package(path)).prefill(official["prompt_65.input_ids"])
        self.assertLess(np.abs(logits - official["prompt_65.logits"][-1]).max(), 1e-2)

    def test_what_is_wrong_is_said_and_nothing_stays(self):
        broken = self.folder / "broken"
        shutil.copytree(GOLDEN / "tiny-hf", broken)
        config = json.loads((broken / "config.json").read_text())
        del config["text_config"]["num_attention_heads"]
        (broken / "config.json").write_text(json.dumps(config))
        before = set(self.folder.iterdir())
        for folder, out, says, options in (
                (broken, "a.mlpackage", "num_attention_heads", {}), (self.folder, "a.mlpackage", "config.json", {}),
                (GOLDEN / "tiny-hf", "a", "ends with .mlpackage", {}), (GOLDEN / "tiny-hf", "a.mlpackage", "power of two", {"prefill": 48}),
                (GOLDEN / "tiny-hf", "int8-float16.mlpackage", "exists", {})):
            with self.assertRaisesRegex(CheckpointError, says):
                convert(folder, self.folder / out, CONTEXT, **options)
        self.assertEqual(set(self.folder.iterdir()), before)


if __name__ == "__main__":
    assert ct.__version__, "coremltools"
    unittest.main(verbosity=2)
