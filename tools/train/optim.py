"""Muon for the matrices inside the layers, AdamW for everything else. It is no general optimizer library.
Invariant: a matrix update has the root mean square 0.2 · lr, as AdamW's has, so one learning-rate scale serves both."""
import torch


def orthogonal(g, steps=5):
    """The nearest semi-orthogonal matrix to each g [n, rows, cols], by the quintic Newton-Schulz iteration of Muon."""
    x = g.to(torch.bfloat16 if g.is_cuda else torch.float32)
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if flip else x


class Optimizer:
    def __init__(self, parameters, muon_lr, adam_lr, decay):
        self.muon_lr, self.adam_lr, self.decay, self.count = muon_lr, adam_lr, decay, 0
        is_matrix = lambda name, p: p.ndim == 2 and min(p.shape) >= 64 and "embed" not in name
        self.shapes, self.adam = {}, []
        for name, p in parameters:
            if is_matrix(name, p):
                self.shapes.setdefault(tuple(p.shape), []).append(p)
            else:
                self.adam.append(p)
        self.momentum = {s: torch.zeros(len(ps), *s, device=ps[0].device) for s, ps in self.shapes.items()}
        self.m = [torch.zeros_like(p) for p in self.adam]
        self.v = [torch.zeros_like(p) for p in self.adam]

    def all(self):
        return [p for ps in self.shapes.values() for p in ps] + self.adam

    @torch.no_grad()
    def step(self, scale, momentum=0.95, beta1=0.9, beta2=0.95):
        """scale multiplies both learning rates (the schedule)."""
        self.count += 1
        for shape, ps in self.shapes.items():
            g = torch.stack([p.grad for p in ps])
            buffer = self.momentum[shape]
            buffer.lerp_(g, 1 - momentum)
            update = orthogonal(g.lerp_(buffer, momentum)).float()
            lr = self.muon_lr * scale
            for p, u in zip(ps, update):
                p.mul_(1 - lr * self.decay).add_(u, alpha=-lr * 0.2 * max(shape) ** 0.5)
        grads = [p.grad for p in self.adam]
        torch._foreach_lerp_(self.m, grads, 1 - beta1)
        torch._foreach_mul_(self.v, beta2)
        torch._foreach_addcmul_(self.v, grads, grads, 1 - beta2)
        root = torch._foreach_sqrt(torch._foreach_div(self.v, 1 - beta2**self.count))
        torch._foreach_add_(root, 1e-8)
        lr = self.adam_lr * scale
        torch._foreach_addcdiv_(self.adam, self.m, root, -lr / (1 - beta1**self.count))
        for p in self.adam:
            if p.ndim == 2:
                p.mul_(1 - lr * self.decay * 0.1)

    def zero(self):
        for p in self.all():
            p.grad = None
