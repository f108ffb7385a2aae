"""Qwen3.5's forward pass as one Core ML program: T tokens over a state that Core ML keeps. It reads and writes no file.

Two programs are made of it: `prefill` (T tokens at once, the last ones may be padding) and `decode` (T = 1). Both have

  inputs  input_ids [1, T] int32, position [1] int32 (tokens before these), length [1] int32 (how many of the T count),
          attention_mask [1, 1, T, C] float16 (0 where a position of the cache is seen, -inf where not)
  state   for each layer I of attention  key_cache_I, value_cache_I [1, KV heads, C, head]
          for each DeltaNet layer I      conv_state_I [1, kernel - 1, channels], delta_state_I [1, heads, key, value]
  output  logits [1, vocabulary]: of the last token that counts

C is the context that fits. Core ML's states are float16; there is no float32 state.
Invariant: padding changes no state that a later call reads, so prefill(n) and n x decode agree within rounding.
"""
import math

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types


def float16(weight):
    """A matrix as it is, in float16: to tell what int8 costs from what the program costs."""
    return mb.cast(x=mb.const(val=weight.astype(np.float16)), dtype="fp32")


def int8_rows(weight):
    """A matrix [out, in] as int8 with a scale for each row, which Core ML expands where it multiplies."""
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / 127
    data = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scale.astype(np.float32))


def rms_scale(x, eps, mean=True):
    """1 / sqrt(mean or sum of x² + eps) over the last axis, without x² leaving float16: x is divided by its largest first."""
    largest = mb.maximum(x=mb.reduce_max(x=mb.abs(x=x), axes=[-1], keep_dims=True), y=np.float32(1e-3))
    y = mb.real_div(x=x, y=largest)
    reduce = mb.reduce_mean if mean else mb.reduce_sum
    square = reduce(x=mb.mul(x=y, y=y), axes=[-1], keep_dims=True)
    small = mb.real_div(x=np.float32(eps), y=mb.mul(x=largest, y=largest))
    return mb.mul(x=y, y=mb.rsqrt(x=mb.add(x=square, y=small)))


def unit_lower_inverse(a, size):
    """(I + A)^-1 of strictly lower triangular A [.., size, size], size a power of two.

    Inverses of blocks on the diagonal become inverses of blocks twice as large: for [[P, 0], [B, Q]] the new corner is
    -Q^-1 B P^-1. All blocks of a level go in two products. As stable as substitution, where powers of A would not be."""
    x = np.eye(size, dtype=np.float32)
    i, j = np.indices((size, size))
    block = 1
    while block < size:
        corner = ((i // block) % 2 == 1) & (i // block - 1 == j // block)
        part = mb.mul(x=a, y=corner.astype(np.float32))
        x = mb.sub(x=x, y=mb.matmul(x=mb.matmul(x=x, y=part), y=x) if block > 1 else part)
        block *= 2
    return x


class Forward:
    """One build: `run()` inside of an mb.program gives the logits."""

    def __init__(self, checkpoint, tokens, context, weights):
        self.c, self.t, self.context = checkpoint, tokens, context
        self.pack = {"int8": int8_rows, "float16": float16}[weights]
        self.eps = checkpoint["rms_norm_eps"]
        self.matrices = {}

    def state_specs(self):
        c = self.c
        specs = {}
        for i, kind in enumerate(c.layer_types()):
            if kind == "full_attention":
                shape = (1, c["num_key_value_heads"], self.context, c["head_dim"])
                specs[f"key_cache_{i}"] = specs[f"value_cache_{i}"] = shape
            else:
                keys = c["linear_num_key_heads"] * c["linear_key_head_dim"]
                values = c["linear_num_value_heads"] * c["linear_value_head_dim"]
                specs[f"conv_state_{i}"] = (1, c["linear_conv_kernel_dim"] - 1, 2 * keys + values)
                specs[f"delta_state_{i}"] = (1, c["linear_num_value_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"])
        return specs

    def matrix(self, name):
        if name not in self.matrices:
            self.matrices[name] = self.pack(self.c.tensor(name))
        return self.matrices[name]

    def linear(self, x, name):
        return mb.linear(x=x, weight=self.matrix(name))

    def norm(self, x, name):
        return mb.mul(x=rms_scale(x, self.eps), y=self.c.tensor(name))

    def run(self, input_ids, position, length, attention_mask, states):
        self.position, self.length = position, length
        self.mask = mb.cast(x=attention_mask, dtype="fp32")
        steps = np.arange(self.t, dtype=np.int32).reshape(1, self.t)
        self.counts = mb.cast(x=mb.less(x=steps, y=length), dtype="fp32")  # [1, T]: 1 where a token is no padding
        x = mb.gather(x=self.matrix("embed_tokens.weight"), indices=input_ids, axis=0)  # [1, T, hidden]
        for i, kind in enumerate(self.c.layer_types()):
            at = f"layers.{i}."
            mixer = self.attention if kind == "full_attention" else self.delta_net
            x = mb.add(x=x, y=mixer(self.norm(x, at + "input_layernorm.weight"), i, states))
            y = self.norm(x, at + "post_attention_layernorm.weight")
            y = mb.mul(x=mb.silu(x=self.linear(y, at + "mlp.gate_proj.weight")), y=self.linear(y, at + "mlp.up_proj.weight"))
            x = mb.add(x=x, y=self.linear(y, at + "mlp.down_proj.weight"))
        last = mb.sub(x=length, y=np.int32([1]))
        x = mb.squeeze(x=mb.gather(x=x, indices=last, axis=1), axes=[1])  # [1, hidden]
        head = "lm_head.weight" if self.c.has("lm_head.weight") else "embed_tokens.weight"
        return self.linear(self.norm(x, "norm.weight"), head)

    def read(self, state):
        return mb.cast(x=mb.read_state(input=state), dtype="fp32")

    @staticmethod
    def write(state, value):
        mb.coreml_update_state(state=state, value=mb.cast(x=value, dtype="fp16"))

    def heads(self, x, heads, size):
        """[1, T, heads · size] -> [1, heads, T, size]"""
        return mb.transpose(x=mb.reshape(x=x, shape=[1, self.t, heads, size]), perm=[0, 2, 1, 3])

    def merge(self, x, width):
        return mb.reshape(x=mb.transpose(x=x, perm=[0, 2, 1, 3]), shape=[1, self.t, width])

    @staticmethod
    def repeat(x, heads, times):
        return x if times == 1 else mb.gather(x=x, indices=np.repeat(np.arange(heads, dtype=np.int32), times), axis=1)

    def rotate(self, x):
        """Rotary positions on the first dimensions of a head; the table is made here, in float64."""
        theta, width = self.c.rope()
        angle = np.arange(self.context)[:, None] * theta ** (-np.arange(0, width, 2) / width)[None, :]
        begin = mb.concat(values=[self.position, np.int32([0])], axis=0)
        table = [mb.slice_by_size(x=np.concatenate([f(angle)] * 2, axis=1).astype(np.float32), begin=begin, size=[self.t, width])
                 for f in (np.cos, np.sin)]
        turned, rest = (x, None) if width == self.c["head_dim"] else mb.split(x=x, split_sizes=[width, self.c["head_dim"] - width], axis=-1)
        a, b = mb.split(x=turned, num_splits=2, axis=-1)
        half = mb.concat(values=[mb.mul(x=b, y=np.float32(-1)), a], axis=-1)
        turned = mb.add(x=mb.mul(x=turned, y=table[0]), y=mb.mul(x=half, y=table[1]))
        return turned if rest is None else mb.concat(values=[turned, rest], axis=-1)

    def attention(self, x, i, states):
        c, at, t = self.c, f"layers.{i}.self_attn.", self.t
        heads, kv, size = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        query, gate = mb.split(x=self.heads(self.linear(x, at + "q_proj.weight"), heads, 2 * size), num_splits=2, axis=-1)
        key = self.heads(self.linear(x, at + "k_proj.weight"), kv, size)
        value = self.heads(self.linear(x, at + "v_proj.weight"), kv, size)
        query = self.rotate(self.norm(query, at + "q_norm.weight"))
        key = self.rotate(self.norm(key, at + "k_norm.weight"))
        zero = np.int32([0])
        begin = mb.concat(values=[zero, zero, self.position, zero], axis=0)
        end = mb.concat(values=[np.int32([1]), np.int32([kv]), mb.add(x=self.position, y=np.int32([t])), np.int32([size])], axis=0)
        caches = []
        for name, new in ((f"key_cache_{i}", key), (f"value_cache_{i}", value)):
            cache = mb.slice_update(x=self.read(states[name]), update=new, begin=begin, end=end)
            self.write(states[name], cache)
            caches.append(self.repeat(cache, kv, heads // kv))
        scores = mb.matmul(x=mb.mul(x=query, y=np.float32(1 / math.sqrt(size))), y=caches[0], transpose_y=True)
        seen = mb.matmul(x=mb.softmax(x=mb.add(x=scores, y=self.mask), axis=-1), y=caches[1])
        return self.linear(self.merge(mb.mul(x=seen, y=mb.sigmoid(x=gate)), heads * size), at + "o_proj.weight")

    def convolution(self, x, i, state):
        """Causal depthwise convolution over [what came before | x], and the inputs that the next call begins with."""
        weight = self.c.tensor(f"layers.{i}.linear_attn.conv1d.weight")  # [channels, kernel]
        kernel = weight.shape[1]
        line = mb.concat(values=[self.read(state), x], axis=1)  # [1, kernel - 1 + T, channels]
        begin = mb.concat(values=[np.int32([0]), self.length, np.int32([0])], axis=0)
        self.write(state, mb.slice_by_size(x=line, begin=begin, size=[1, kernel - 1, weight.shape[0]]))
        out = None
        for k in range(kernel):
            part = mb.mul(x=mb.slice_by_size(x=line, begin=[0, k, 0], size=[1, self.t, weight.shape[0]]), y=weight[:, k])
            out = part if out is None else mb.add(x=out, y=part)
        return mb.silu(x=out)

    def delta_net(self, x, i, states):
        c, at = self.c, f"layers.{i}.linear_attn."
        heads, key_heads = c["linear_num_value_heads"], c["linear_num_key_heads"]
        kd, vd = c["linear_key_head_dim"], c["linear_value_head_dim"]
        mixed = self.convolution(self.linear(x, at + "in_proj_qkv.weight"), i, states[f"conv_state_{i}"])
        q, k, v = mb.split(x=mixed, split_sizes=[key_heads * kd, key_heads * kd, heads * vd], axis=-1)
        q, k = (self.repeat(rms_scale(self.heads(y, key_heads, kd), 1e-6, mean=False), key_heads, heads // key_heads) for y in (q, k))
        q = mb.mul(x=q, y=np.float32(1 / math.sqrt(kd)))
        v = self.heads(v, heads, vd)
        a = mb.add(x=self.linear(x, at + "in_proj_a.weight"), y=c.tensor(at + "dt_bias"))
        decay = mb.mul(x=mb.softplus(x=a), y=-np.exp(c.tensor(at + "A_log")))  # [1, T, heads], log of what is kept
        beta = mb.sigmoid(x=self.linear(x, at + "in_proj_b.weight"))
        counts = mb.expand_dims(x=self.counts, axes=[2])  # padding neither forgets nor writes
        decay, beta = (mb.expand_dims(x=mb.transpose(x=mb.mul(x=y, y=counts), perm=[0, 2, 1]), axes=[3]) for y in (decay, beta))
        out = self.delta_rule(q, k, v, decay, beta, states[f"delta_state_{i}"])
        z = self.heads(self.linear(x, at + "in_proj_z.weight"), heads, vd)
        out = mb.mul(x=self.norm(out, at + "norm.weight"), y=mb.silu(x=z))
        return self.linear(self.merge(out, heads * vd), at + "out_proj.weight")

    def delta_rule(self, q, k, v, decay, beta, state):
        """All T tokens in one chunk: q, k [1, heads, T, key], v [.., value], decay (a logarithm) and beta [.., T, 1].

        With G the running sum of decays and A[i, j] = beta_i (k_i . k_j) exp(G_i - G_j) below the diagonal, the corrections
        are (I + A)^-1 beta (v - exp(G) k S); outputs and the new state are products with them (Yang et al., Gated Delta
        Networks, arXiv:2412.06464, the chunkwise form)."""
        t = self.t
        total = mb.cumsum(x=decay, axis=2)
        grown = mb.exp(x=total)
        before = self.read(state)
        wanted = mb.mul(x=mb.sub(x=v, y=mb.mul(x=mb.matmul(x=k, y=before), y=grown)), y=beta)
        difference = mb.minimum(x=mb.sub(x=total, y=mb.transpose(x=total, perm=[0, 1, 3, 2])), y=np.float32(0))
        kept = mb.exp(x=difference)  # [1, heads, T, T]
        if t > 1:
            pairs = mb.mul(x=mb.mul(x=mb.matmul(x=k, y=k, transpose_y=True), y=kept), y=beta)
            a = mb.mul(x=pairs, y=np.tril(np.ones((t, t), np.float32), -1))
            wanted = mb.matmul(x=unit_lower_inverse(a, t), y=wanted)
        seen = mb.mul(x=mb.mul(x=mb.matmul(x=q, y=k, transpose_y=True), y=kept), y=np.tril(np.ones((t, t), np.float32)))
        out = mb.add(x=mb.mul(x=mb.matmul(x=q, y=before), y=grown), y=mb.matmul(x=seen, y=wanted))
        last = mb.slice_by_index(x=total, begin=[0, 0, t - 1, 0], end=[0, 0, t, 0], begin_mask=[True, True, False, True],
                                 end_mask=[True, True, False, True])
        left = mb.mul(x=k, y=mb.exp(x=mb.sub(x=last, y=total)))
        after = mb.add(x=mb.mul(x=before, y=mb.exp(x=last)), y=mb.matmul(x=left, y=wanted, transpose_x=True))
        self.write(state, after)
        return out


def build(checkpoint, tokens, context, weights="int8"):
    """A MIL program of one function, `main`."""
    forward = Forward(checkpoint, tokens, context, weights)
    specs = forward.state_specs()
    places = {"input_ids": mb.placeholder(shape=(1, tokens), dtype=types.int32), "position": mb.placeholder(shape=(1,), dtype=types.int32),
              "length": mb.placeholder(shape=(1,), dtype=types.int32),
              "attention_mask": mb.placeholder(shape=(1, 1, tokens, context), dtype=types.fp16)}
    places |= {name: mb.state_tensor_placeholder(shape=shape, dtype=types.fp16) for name, shape in specs.items()}
    program = Program()
    with Function(places, opset_version=ct.target.iOS18) as function:
        given = function.inputs
        logits = forward.run(given["input_ids"], given["position"], given["length"], given["attention_mask"],
                             {name: given[name] for name in specs})
        function.set_outputs([mb.cast(x=logits, dtype="fp16", name="logits")])
    program.add_function("main", function)
    return program
