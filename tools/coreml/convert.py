"""Writes a Core ML package of a Qwen3.5 checkpoint: two programs, prefill and decode, over one state, weights int8.

It needs coremltools (PyPI) and runs on Linux too; only a Mac can run the result with Core ML. What the programs take and
give: program.py. Nothing half-written stays: the package is renamed to its place when it is whole.

  python convert.py CHECKPOINT OUT.mlpackage [--context 2048] [--prefill 64] [--precision float16] [--weights int8]
"""
import argparse
import pathlib
import shutil
import sys
import tempfile

import coremltools as ct

from checkpoint import Checkpoint, CheckpointError
from program import build


def package(checkpoint, tokens, context, precision, weights, path):
    model = ct.convert(build(checkpoint, tokens, context, weights), source="milinternal", convert_to="mlprogram", skip_model_load=True,
                       minimum_deployment_target=ct.target.iOS18, compute_units=ct.ComputeUnit.CPU_AND_NE,
                       compute_precision=ct.precision.FLOAT16 if precision == "float16" else ct.precision.FLOAT32)
    model.save(str(path))


def convert(folder, out, context=2048, prefill=64, precision="float16", weights="int8", say=lambda line: None):
    out = pathlib.Path(out)
    if out.suffix != ".mlpackage":
        raise CheckpointError(f"{out}: the name of a Core ML package ends with .mlpackage")
    if out.exists():
        raise CheckpointError(f"{out} exists; remove it or name another")
    if prefill < 2 or prefill & (prefill - 1) or context < prefill:
        raise CheckpointError("--prefill is a power of two, at least 2 and at most --context")
    checkpoint = Checkpoint(folder)
    with tempfile.TemporaryDirectory(dir=out.parent if str(out.parent) else ".", prefix=".coreml-") as scratch:
        scratch = pathlib.Path(scratch)
        both = ct.utils.MultiFunctionDescriptor()
        for name, tokens in (("prefill", prefill), ("decode", 1)):
            say(f"{name}: {tokens} token{'s' if tokens > 1 else ''} a call")
            package(checkpoint, tokens, context, precision, weights, scratch / f"{name}.mlpackage")
            both.add_function(str(scratch / f"{name}.mlpackage"), src_function_name="main", target_function_name=name)
        both.default_function_name = "decode"
        say("one package of both; they share their weights")
        ct.utils.save_multifunction(both, str(scratch / "both.mlpackage"))
        shutil.move(scratch / "both.mlpackage", out)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="a folder: Hugging Face's files, or MLX's")
    parser.add_argument("out", help="a name that ends with .mlpackage")
    parser.add_argument("--context", type=int, default=2048, help="tokens that fit (default 2048)")
    parser.add_argument("--prefill", type=int, default=64, help="tokens of a prefill call, a power of two (default 64)")
    parser.add_argument("--precision", choices=["float16", "float32"], default="float16", help="the Neural Engine has float16")
    parser.add_argument("--weights", choices=["int8", "float16"], default="int8", help="int8 has a scale for each row of a matrix")
    args = parser.parse_args()
    try:
        convert(args.checkpoint, args.out, args.context, args.prefill, args.precision, args.weights, lambda line: print(line, file=sys.stderr))
    except CheckpointError as error:
        sys.exit(f"convert.py: {error}")
