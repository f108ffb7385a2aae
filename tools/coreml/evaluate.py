"""Runs a Core ML package's programs op by op in NumPy, from the file alone, where Core ML itself cannot run.

It is a check of what convert.py writes, not an engine: it is slow, and it computes in float32 or float64 what is said to be
float32 (float16 values are rounded to float16). It knows the operations that program.py uses and names any other.

  package = Package("model.mlpackage"); state = package.new_state("decode")
  logits = package.run("decode", state, input_ids=…, position=…, length=…, attention_mask=…)["logits"]
"""
import pathlib

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.converters.mil.mil import types


def _slice_by_index(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    rank = x.ndim
    mask = lambda m: [False] * rank if m is None else list(m)
    first, last, squeeze = mask(begin_mask), mask(end_mask), mask(squeeze_mask)
    steps = [1] * rank if stride is None else list(stride)
    return x[tuple(int(begin[i]) if squeeze[i] else slice(None if first[i] else int(begin[i]), None if last[i] else int(end[i]), int(steps[i]))
                   for i in range(rank))]


def _slice_update(x, update, begin, end, **unused):
    out = x.copy()
    out[tuple(slice(int(b), int(e)) for b, e in zip(begin, end))] = update
    return out


def _split(x, axis, num_splits=None, split_sizes=None):
    return np.split(x, np.cumsum(split_sizes)[:-1] if split_sizes is not None else int(num_splits), axis=int(axis))


def _softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return e / e.sum(axis=int(axis), keepdims=True)


def _sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _matmul(x, y, transpose_x=False, transpose_y=False):
    return np.matmul(np.swapaxes(x, -1, -2) if transpose_x else x, np.swapaxes(y, -1, -2) if transpose_y else y)


def _blockwise(data, scale, offset=None):
    for axis in range(data.ndim):
        scale = np.repeat(scale, data.shape[axis] // scale.shape[axis], axis=axis)
    return data.astype(scale.dtype) * scale if offset is None else (data.astype(scale.dtype) - offset) * scale


def _reduce(function):
    return lambda x, axes=None, keep_dims=False: function(x, axis=None if axes is None else tuple(int(a) for a in axes), keepdims=bool(keep_dims))


_DTYPES = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_, "int16": np.int16, "uint16": np.uint16, "int8": np.int8}
_OPS = {
    "abs": lambda x: np.abs(x), "add": lambda x, y: x + y, "cast": lambda x, dtype: x.astype(_DTYPES[str(dtype)]),
    "concat": lambda values, axis, interleave=False: np.concatenate([np.atleast_1d(v) for v in values], axis=int(axis)),
    "constexpr_blockwise_shift_scale": _blockwise,
    "cumsum": lambda x, axis, exclusive=False, reverse=False: np.cumsum(x, axis=int(axis)), "exp": lambda x: np.exp(x),
    "expand_dims": lambda x, axes: np.expand_dims(x, tuple(int(a) for a in axes)),
    "gather": lambda x, indices, axis=0, **rest: np.take(x, indices, axis=int(axis)), "identity": lambda x: x,
    "greater_equal": lambda x, y: x >= y, "less": lambda x, y: x < y, "linear": lambda x, weight, bias=None: x @ weight.T + (0 if bias is None else bias), "matmul": _matmul,
    "maximum": lambda x, y: np.maximum(x, y), "minimum": lambda x, y: np.minimum(x, y), "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y, "reduce_max": _reduce(np.max), "reduce_mean": _reduce(np.mean), "reduce_sum": _reduce(np.sum),
    "reshape": lambda x, shape: x.reshape([int(n) for n in shape]), "rsqrt": lambda x, epsilon=1e-12: 1 / np.sqrt(x + epsilon),
    "sigmoid": _sigmoid, "silu": lambda x: x * _sigmoid(x), "slice_by_index": _slice_by_index,
    "slice_by_size": lambda x, begin, size: x[tuple(slice(int(b), int(b) + int(n)) for b, n in zip(begin, size))],
    "select": lambda cond, a, b: np.where(cond, a, b), "slice_update": _slice_update, "softmax": _softmax, "softplus": lambda x: np.logaddexp(0, x), "split": _split,
    "squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(int(a) for a in axes)), "sub": lambda x, y: x - y,
    "transpose": lambda x, perm: np.transpose(x, [int(p) for p in perm]),
}


class Package:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.spec = ct.utils.load_spec(str(path))
        weights = next(self.path.rglob("weights"), None)
        self.program = milproto.load(self.spec, self.spec.specificationVersion, str(weights))

    def functions(self):
        return list(self.program.functions)

    def inputs(self, function):
        """name -> shape, the states left out."""
        return {n: tuple(v.shape) for n, v in self.program.functions[function].inputs.items() if not types.is_state(v.sym_type)}

    def new_state(self, function):
        """All zero, as Core ML's makeState()."""
        return {n: np.zeros(v.sym_type.wrapped_type().get_shape(), np.float16)
                for n, v in self.program.functions[function].inputs.items() if types.is_state(v.sym_type)}

    def run(self, function, state, **inputs):
        """The outputs by name; `state` is changed."""
        block = self.program.functions[function]
        if set(inputs) != set(self.inputs(function)):
            raise ValueError(f"{function} takes {sorted(self.inputs(function))}")
        values = {block.inputs[name]: np.asarray(value) for name, value in inputs.items()}
        places = {block.inputs[name]: name for name in state}

        def value(var):
            if isinstance(var, (list, tuple)):
                return [value(v) for v in var]
            return values[var] if var in values else var.val

        for op in block.operations:
            if op.op_type == "const":
                continue
            if op.op_type == "read_state":
                values[op.outputs[0]] = state[places[op.inputs["input"]]].copy()
                continue
            if op.op_type in ("coreml_update_state", "write_state"):
                name = places[op.inputs["state"]]
                state[name] = np.asarray(value(op.inputs["value"] if "value" in op.inputs else op.inputs["data"]), np.float16)
                if op.outputs:
                    values[op.outputs[0]] = state[name].copy()
                continue
            if op.op_type not in _OPS:
                raise NotImplementedError(f"the operation {op.op_type} of {self.path}")
            given = {name: value(var) for name, var in op.inputs.items() if var is not None}
            out = _OPS[op.op_type](**{n: v for n, v in given.items() if v is not None})
            for var, result in zip(op.outputs, out if isinstance(out, list) else [out]):
                kind = types.nptype_from_builtin(var.dtype)
                values[var] = np.asarray(result, kind)
        return {var.name: values[var] for var in block.outputs}
