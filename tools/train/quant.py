"""MLX affine quantization: fake (for training) and packed (for the exported file).
It is not a general quantizer. Invariant: unpack(pack(w)) equals fake(w) bit for bit, scales and biases in bfloat16."""
import torch

import settings as S


def _affine(w):
    """Groups of a row: w [rows, cols] float32 -> q, scale, bias [rows, cols/GROUP, …]; the rule of MLX's quantizer."""
    w = w.float().reshape(w.shape[0], -1, S.GROUP)
    levels = 2**S.BITS - 1
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    scale = ((high - low) / levels).clamp(min=1e-7)
    side = low.abs() > high.abs()
    scale = torch.where(side, scale, -scale)
    edge = torch.where(side, low, high)
    q0 = torch.round(edge / scale)
    scale = torch.where(q0 != 0, edge / q0, scale)
    bias = torch.where(q0 != 0, edge, torch.zeros_like(edge))
    q = torch.round((w - bias) / scale).clamp(0, levels)
    return q, scale.to(torch.bfloat16), bias.to(torch.bfloat16)


def fake(w):
    """The float32 values that the 4-bit file holds for w."""
    q, scale, bias = _affine(w)
    return (scale.float() * q + bias.float()).reshape(w.shape)


def pack(w):
    """w [rows, cols] -> weight (uint32 bits as int32) [rows, cols*BITS/32], scales, biases bfloat16 [rows, cols/GROUP]."""
    q, scale, bias = _affine(w)
    per = 32 // S.BITS
    q = q.to(torch.int64).reshape(w.shape[0], -1, per)
    words = (q << (torch.arange(per, device=w.device) * S.BITS)).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return words, scale.squeeze(-1), bias.squeeze(-1)


def unpack(words, scale, bias):
    per = 32 // S.BITS
    q = (words.to(torch.int64)[..., None] >> (torch.arange(per, device=words.device) * S.BITS)) & (2**S.BITS - 1)
    q = q.reshape(words.shape[0], -1, S.GROUP).float()
    return (scale.float()[..., None] * q + bias.float()[..., None]).reshape(words.shape[0], -1)


def quantized(name, shape):
    """Which tensors of the checkpoint become 4-bit: every matrix whose columns fill whole groups, the embedding too."""
    return len(shape) == 2 and shape[1] % S.GROUP == 0 and "norm" not in name and "conv1d" not in name


def centred(name):
    """Norms that raw files keep as w-1; the exported file holds bfloat16(w)."""
    return "norm" in name and "linear_attn.norm" not in name


def as_exported(name, w):
    """The float32 value that the exported file gives this tensor, in raw convention."""
    if quantized(name, w.shape):
        return fake(w)
    if centred(name):
        return (1 + w.float()).to(torch.bfloat16).float() - 1
    return w.to(torch.bfloat16).float()


@torch.no_grad()
def fake_all(parameters):
    """Rewrites each (name, parameter) with the value the exported file will give it; returns the masters to restore."""
    masters = [p.data for _, p in parameters]
    matrices = [p for name, p in parameters if quantized(name, p.shape)]
    # all groups of all matrices at once: a few launches instead of a few thousand
    values = fake(torch.cat([p.data.reshape(-1, S.GROUP) for p in matrices]))
    for p, part in zip(matrices, values.split([p.numel() // S.GROUP for p in matrices])):
        p.data = part.view(p.shape)
    for name, p in parameters:
        if not quantized(name, p.shape):
            p.data = as_exported(name, p.data)
    return masters


@torch.no_grad()
def restore(parameters, masters):
    for (_, p), master in zip(parameters, masters):
        p.data = master
