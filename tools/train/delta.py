"""The gated delta rule for whole rows: in plain torch products (any device), and with flash-linear-attention on a GPU.
It keeps no state between calls (decoding is transformers'). Invariants: both forms give the same output and gradients to
the rounding of bfloat16 (`python delta.py` compares them); a long run of equal keys, padding for example, stays finite."""
import torch
import torch.nn.functional as F

CHUNK = 64  # tokens of a chunk


class Inverse(torch.autograd.Function):
    """(I + A)^-1 of strictly lower triangular A [..., CHUNK, CHUNK], by halves: the inverse of [[P, 0], [C, Q]] has
    -Q^-1 C P^-1 in the corner. The shorter product of (I + (-A)^(2^i)) overflows when the keys of a chunk are alike."""

    @staticmethod
    def forward(ctx, a):
        lead, n = a.shape[:-2], a.shape[-1]
        out = torch.eye(n, device=a.device, dtype=a.dtype).expand(a.shape).contiguous()
        size = 1
        while size < n:
            shape = (*lead, n // (2 * size), 2, size, n // (2 * size), 2, size)
            blocks, corner = (t.view(shape).diagonal(dim1=-6, dim2=-3) for t in (out, a))  # [..., 2, size, 2, size, pair]
            pick = lambda t, i, j: t[..., i, :, j, :, :].movedim(-1, -3)
            new = -(pick(blocks, 1, 1) @ pick(corner, 1, 0) @ pick(blocks, 0, 0))
            blocks[..., 1, :, 0, :, :].copy_(new.movedim(-3, -1))
            size *= 2
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        out, = ctx.saved_tensors
        return -(out.mT @ grad @ out.mT)


def inside(q, k, v, g, beta):
    """What a chunk needs of itself: [B, T, H, D] -> [B, H, N, CHUNK, …]; the state enters in delta_rule."""
    dtype = q.dtype
    q, k, v = (t.unflatten(1, (-1, CHUNK)).permute(0, 3, 1, 2, 4) for t in (q, k, v))
    g, beta = (t.float().unflatten(1, (-1, CHUNK)).permute(0, 3, 1, 2) for t in (g, beta))
    total = g.cumsum(-1)
    lower = torch.ones(CHUNK, CHUNK, device=q.device, dtype=torch.bool).tril()
    decay = (total[..., :, None] - total[..., None, :]).masked_fill(~lower, float("-inf")).exp()
    a = (beta[..., None] * decay * (k @ k.mT).float()).tril(-1)
    inverse = Inverse.apply(a).to(dtype)
    scale = q.shape[-1] ** -0.5
    growth = total.exp()[..., None]
    last = total[..., -1:]
    values = inverse @ (beta[..., None] * v).to(dtype)
    keys = inverse @ (beta[..., None] * growth * k).to(dtype)
    scores = ((q @ k.mT).float() * decay * scale).to(dtype)
    return (values, keys, scores, (q * growth * scale).to(dtype), (k * (last - total).exp()[..., None]).to(dtype),
            last.exp()[..., None])


def delta_rule(q, k, v, g, beta):
    """q, k (of length 1), v [B, T, H, D]; g the logarithm of the decay and beta, [B, T, H] -> [B, T, H, D]."""
    length, dtype = q.shape[1], q.dtype
    short = -length % CHUNK  # zeros behind the end change nothing: beta 0, decay 1
    q, k, v = (F.pad(t, (0, 0, 0, 0, 0, short)) for t in (q, k, v))
    g, beta = F.pad(g, (0, 0, 0, short)), F.pad(beta, (0, 0, 0, short))
    with torch.autocast(q.device.type, enabled=False):
        values, keys, scores, queries, fresh, kept = inside(q, k, v, g, beta)
        state = torch.zeros(*q.shape[:1], q.shape[2], q.shape[3], v.shape[3], device=q.device)
        states, news = [], []
        for n in range(values.shape[2]):
            low = state.to(dtype)
            new = values[:, :, n] - keys[:, :, n] @ low
            states.append(low)
            news.append(new)
            state = kept[:, :, n] * state + fresh[:, :, n].mT @ new
        out = queries @ torch.stack(states, 2) + scores @ torch.stack(news, 2)
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :length]


def gradients_of_chunks(q, k, v, do, h, dh, w=None, g=None, g_gamma=None, dv=None, scale=None, state_v_first=False,
                        cu_seqlens=None, chunk_size=64, chunk_indices=None):
    """Stands in for flash-linear-attention's chunk_bwd_dqkwg, which refuses Triton 3.4 to 3.7.0 on Hopper chips.
    g is the running sum of the decays in a chunk, in base 2; h and dh are the state before and the gradient after."""
    assert cu_seqlens is None and g_gamma is None and not state_v_first and q.shape[2] == v.shape[2]
    length = q.shape[1]
    assert length % chunk_size == 0
    cut = lambda t: t.unflatten(1, (-1, chunk_size)).transpose(2, 3)  # [B, N, H, chunk, …]
    join = lambda t: t.transpose(2, 3).flatten(1, 2)
    return tuple(join(t) for t in _gradients(*(cut(t) for t in (q, k, v, do, dv)), h.to(q.dtype), dh.to(q.dtype),
                                             cut(g[..., None]).squeeze(-1), scale))


def _gradients(q, k, v, do, dv, h, dh, g, scale):
    dtype = q.dtype
    lower = torch.ones(q.shape[-2], q.shape[-2], device=q.device, dtype=torch.bool).tril()
    decay = torch.exp2((g[..., :, None] - g[..., None, :]).masked_fill(~lower, float("-inf"))) * scale
    last = g[..., -1:]
    score = ((do @ v.mT).float() * decay).to(dtype)
    dq = (do @ h.mT).float() * (torch.exp2(g) * scale)[..., None] + (score @ k).float()
    end = (v @ dh.mT).float() * torch.exp2(last - g)[..., None]
    dk = end + (score.mT @ q).float()
    dw = -(dv.to(dtype) @ h.mT)
    dlast = torch.exp2(last.squeeze(-1)) * (h.float() * dh.float()).sum((-1, -2)) + (end * k).sum((-1, -2))
    dg = (dq * q).sum(-1) - (dk * k).sum(-1)
    dg = torch.cat((dg[..., :-1], dg[..., -1:] + dlast[..., None]), -1)
    return dq.to(dtype), dk.to(dtype), dw, dg


def fast():
    """The delta rule of flash-linear-attention, or None where it is missing or wrong on this machine."""
    if not torch.cuda.is_available():
        return None
    try:
        import fla.ops.gated_delta_rule.chunk as chunk
        from fla.utils import IS_NVIDIA_HOPPER
    except ImportError:
        return None
    if IS_NVIDIA_HOPPER:
        global _gradients
        _gradients = torch.compile(_gradients, dynamic=False)
        chunk.chunk_bwd_dqkwg = gradients_of_chunks

    def rule(q, k, v, g, beta):
        short = -q.shape[1] % CHUNK
        if short:
            q, k, v = (F.pad(t, (0, 0, 0, 0, 0, short)) for t in (q, k, v))
            g, beta = F.pad(g, (0, 0, 0, short)), F.pad(beta, (0, 0, 0, short))
        out, _ = chunk.chunk_gated_delta_rule(q, k, v, g=g, beta=beta)
        return out[:, :out.shape[1] - short]
    errors = difference(rule)
    print("flash-linear-attention against float32:", " ".join(f"{e:.1e}" for e in errors), flush=True)
    return rule if max(errors) < 6e-2 else None


def difference(rule, seed=0):
    """Relative errors of a rule's output and of its five gradients in bfloat16, against delta_rule in float32."""
    r = torch.Generator("cuda").manual_seed(seed)
    draw = lambda *s: torch.randn(*s, generator=r, device="cuda")
    q, k, v = (draw(2, 512, 4, 128) for _ in range(3))
    q, k = F.normalize(q, dim=-1), F.normalize(k + 0.5 * draw(2, 1, 4, 128), dim=-1)
    g = -F.softplus(draw(2, 512, 4) - 3)
    g = torch.where(torch.rand(2, 512, 1, generator=r, device="cuda") < 0.02, -20.0, g)
    beta, grad = draw(2, 512, 4).sigmoid(), draw(2, 512, 4, 128)
    results = []
    for f, dtype in ((delta_rule, torch.float32), (rule, torch.bfloat16)):
        copy = lambda t, dtype: t.to(dtype, copy=True).requires_grad_()
        inputs = [copy(q, dtype), copy(k, dtype), copy(v, dtype), copy(g, g.dtype), copy(beta, dtype)]
        out = f(inputs[0], inputs[1], inputs[2], g=inputs[3], beta=inputs[4])
        (out.float() * grad).sum().backward()
        results.append([out] + [t.grad for t in inputs])
    return [((a.float() - b.float()).norm() / a.float().norm()).item() for a, b in zip(*results)]


if __name__ == "__main__":
    print("torch products, bfloat16:", " ".join(f"{e:.1e}" for e in difference(delta_rule)))
    fast()
