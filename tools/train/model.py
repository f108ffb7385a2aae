"""prosa-mini as transformers' Qwen3_5 modules, with a training forward for packed rows and an MTP head.
The forward is not the one for inference: it knows no cache (evaluate.py decodes with it by whole rows).
Invariant: on one document it gives the logits of Qwen3_5ForCausalLM.forward; documents of a row never see each other
(attention by mask, convolution by position, delta rule by a decay of exp(RESET) at each first token)."""
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.qwen3_5 import modeling_qwen3_5 as hf
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig

import delta
import settings as S

RESET = -20.0


class MtpHead(nn.Module):
    """Predicts the token after next from the hidden state of token t and the embedding of token t+1."""

    def __init__(self, config):
        super().__init__()
        one = Qwen3_5TextConfig(**{**config.to_dict(), "num_hidden_layers": 1, "layer_types": ["full_attention"]})
        self.fc = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.layers = nn.ModuleList([hf.Qwen3_5DecoderLayer(one, 0)])
        self.norm = hf.Qwen3_5RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_fc_norm_embedding = hf.Qwen3_5RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_fc_norm_hidden = hf.Qwen3_5RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


def rms(x, w):
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + S.MODEL["rms_norm_eps"])
    return (y * (1 + w)).to(torch.bfloat16 if x.is_cuda else torch.float32)


def rope(x, cos, sin):
    n = cos.shape[-1]
    a, b = x[..., :n], x[..., n:]
    half = torch.cat((-a[..., n // 2:], a[..., : n // 2]), -1)
    return torch.cat((a * cos + half * sin, b), -1).to(x.dtype)


def mlp_block(x, norm, gate, up, down):
    y = rms(x, norm)
    return x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)


def delta_in(x, pos, norm, w_qkv, w_z, w_b, w_a, conv, a_log, dt_bias):
    y = rms(x, norm)
    mixed = F.linear(y, w_qkv)
    taps = conv.squeeze(1)  # [channels, kernel], the last tap is the present token
    out = mixed * taps[:, -1]
    for back in range(1, taps.shape[1]):
        seen = (pos >= back)[..., None]
        out = out + F.pad(mixed, (0, 0, back, 0))[:, : mixed.shape[1]] * taps[:, -1 - back] * seen
    out = F.silu(out).to(mixed.dtype)
    heads = S.MODEL["linear_num_key_heads"]
    q, k, v = (t.unflatten(-1, (heads, -1)) for t in out.split(out.shape[-1] // 3, -1))
    q, k = (t.float() * torch.rsqrt(t.float().pow(2).sum(-1, keepdim=True) + 1e-6) for t in (q, k))
    g = -a_log.exp() * F.softplus(F.linear(y, w_a).float() + dt_bias)
    g = torch.where((pos == 0)[..., None], torch.full_like(g, RESET), g)
    return q.to(mixed.dtype), k.to(mixed.dtype), v, F.linear(y, w_z), F.linear(y, w_b).sigmoid(), g


def delta_out(x, core, z, norm, w_out):
    z = z.unflatten(-1, core.shape[2:])
    core = core.float()
    core = core * torch.rsqrt(core.pow(2).mean(-1, keepdim=True) + S.MODEL["rms_norm_eps"])
    core = (core * norm * F.silu(z.float())).to(z.dtype)
    return x + F.linear(core.flatten(2), w_out)


def attention_block(x, cos, sin, mask, norm, w_q, w_k, w_v, q_norm, k_norm, w_o):
    y = rms(x, norm)
    d = S.MODEL["head_dim"]
    q, gate = F.linear(y, w_q).unflatten(-1, (-1, 2 * d)).chunk(2, -1)
    k, v = F.linear(y, w_k).unflatten(-1, (-1, d)), F.linear(y, w_v).unflatten(-1, (-1, d))
    q, k = rope(rms(q, q_norm), cos, sin), rope(rms(k, k_norm), cos, sin)
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    return x + F.linear((out * gate.sigmoid()).flatten(2), w_o)


def token_losses(x, table, target):
    """Cross entropy of each position; x [N, hidden], target [N] -> [N]; runs in chunks to bound memory."""
    logits = F.linear(x, table).float()
    return torch.logsumexp(logits, -1) - logits.gather(-1, target[:, None]).squeeze(-1)


class Mini(nn.Module):
    def __init__(self):
        super().__init__()
        config = Qwen3_5TextConfig(**S.MODEL)
        config._attn_implementation = "sdpa"
        self.lm = hf.Qwen3_5ForCausalLM(config)
        self.mtp = MtpHead(config)
        self.mtp.apply(self.lm._init_weights)
        self._small_init()
        self.rule = delta.fast() or delta.delta_rule
        self.blocks = {f.__name__: f for f in (mlp_block, delta_in, delta_out, attention_block, token_losses)}

    @torch.no_grad()
    def _small_init(self):
        """Outputs of blocks start at zero, so each layer starts as the identity."""
        for name, p in self.named_parameters():
            if name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight")):
                p.zero_()
            elif "dt_bias" in name:  # time steps between 0.001 and 0.1, as Mamba and DeltaNet start
                dt = torch.exp(torch.empty_like(p).uniform_(-6.9, -2.3))
                p.copy_(dt + torch.log(-torch.expm1(-dt)))
            elif "conv1d" in name:
                p.uniform_(-0.5, 0.5)
            elif p.ndim == 2 and "embed" not in name:
                p.normal_(0, p.shape[1] ** -0.5 * 0.7)

    def compile(self):
        for name, f in list(self.blocks.items()):
            self.blocks[name] = torch.compile(f, dynamic=False)

    def _layer(self, x, layer, pos, cos, sin, mask):
        m = layer.mlp
        if hasattr(layer, "linear_attn"):
            a = layer.linear_attn
            q, k, v, z, beta, g = self.blocks["delta_in"](
                x, pos, layer.input_layernorm.weight, a.in_proj_qkv.weight, a.in_proj_z.weight, a.in_proj_b.weight,
                a.in_proj_a.weight, a.conv1d.weight, a.A_log, a.dt_bias)
            core = self.rule(q, k, v, g=g, beta=beta)
            x = self.blocks["delta_out"](x, core, z, a.norm.weight, a.out_proj.weight)
        else:
            a = layer.self_attn
            x = self.blocks["attention_block"](
                x, cos, sin, mask, layer.input_layernorm.weight, a.q_proj.weight, a.k_proj.weight, a.v_proj.weight,
                a.q_norm.weight, a.k_norm.weight, a.o_proj.weight)
        return self.blocks["mlp_block"](x, layer.post_attention_layernorm.weight, m.gate_proj.weight,
                                        m.up_proj.weight, m.down_proj.weight)

    def places(self, pos):
        """pos [B, T]: position of each token in its document -> rotary tables and the attention mask."""
        d = int(S.MODEL["head_dim"] * S.MODEL["partial_rotary_factor"])
        inv = S.MODEL["rope_parameters"]["rope_theta"] ** (-torch.arange(0, d, 2, device=pos.device).float() / d)
        angle = (pos[..., None].float() * inv).repeat(1, 1, 2)[:, :, None]
        doc = (pos == 0).cumsum(1)
        t = torch.arange(pos.shape[1], device=pos.device)
        mask = (doc[:, :, None] == doc[:, None, :]) & (t[:, None] >= t[None, :])
        return angle.cos(), angle.sin(), mask[:, None]

    def hidden(self, ids, pos, places):
        x = self.lm.model.embed_tokens(ids)
        for layer in self.lm.model.layers:
            x = self._layer(x, layer, pos, *places)
        return rms(x, self.lm.model.norm.weight)

    def mtp_hidden(self, hidden, next_ids, pos, places):
        """Row t: the state from which token t+2 is predicted, given token t+1 = next_ids[t]."""
        m = self.mtp
        embedding = self.lm.model.embed_tokens(next_ids)
        x = F.linear(torch.cat((rms(embedding, m.pre_fc_norm_embedding.weight),
                                rms(hidden, m.pre_fc_norm_hidden.weight)), -1), m.fc.weight)
        return rms(self._layer(x, m.layers[0], pos, *places), m.norm.weight)

    def losses(self, ids, pos, weight):
        """ids, pos, weight [B, T] -> loss of each predicted token of the two heads, and its weight.
        weight[t] belongs to ids[t] as a target; a document's first token is never a target."""
        places = self.places(pos)
        h = self.hidden(ids, pos, places)
        table = self.lm.model.embed_tokens.weight
        weight = weight * (pos > 0)

        def loss(x, target, weight):
            step = 16384
            if not x.is_cuda:  # the head is dear on a CPU: only where it counts
                at = weight.flatten().nonzero().squeeze(-1)
                out = torch.zeros(target.numel())
                return out.index_put((at,), token_losses(x.flatten(0, 1)[at], table, target.flatten()[at]))
            return torch.cat([self.blocks["token_losses"](a, table, b)
                              for a, b in zip(x.flatten(0, 1).split(step), target.flatten().split(step))])

        shift = lambda t, n: F.pad(t[:, n:], (0, n))
        w1 = shift(weight, 1).flatten()
        one = loss(h, shift(ids, 1), w1)
        m = self.mtp_hidden(h.detach(), shift(ids, 1), pos, places)
        w2 = (shift(weight, 2) * (shift(pos, 2) > 1)).flatten()
        return one, w1, loss(m, shift(ids, 2), w2), w2


def named(model):
    """(checkpoint name, parameter) in raw Hugging Face naming; the tied head appears once."""
    out = []
    for name, p in model.lm.named_parameters():
        if name != "lm_head.weight":
            out.append((name, p))
    return out + [("mtp." + name, p) for name, p in model.mtp.named_parameters()]
