"""Writes tests/data/mlx_quantized.safetensors: one small matrix and what MLX makes of it with every number of bits and
every group (pip install "mlx[cpu]"; made with mlx 0.32.4). The rows hold what is delicate: values of both signs, groups
with max = -min (a tie), constants, zeros, tiny and large values, one outlier.

    python tools/make_quantize_fixture.py tests/data/mlx_quantized.safetensors
"""

import sys

import mlx.core as mx

mx.set_default_device(mx.cpu)
mx.random.seed(1)
COLS = 128


def mirrored():
    half = mx.random.normal((COLS // 2,))
    return mx.concatenate([half, -half])


rows = [
    mx.random.normal((COLS,)) * 0.02,
    mirrored(),
    mx.where(mx.arange(COLS) < 32, mx.full((COLS,), 0.75), mx.where(mx.arange(COLS) < 64, 0.0, mx.random.normal((COLS,)))),
    mx.random.normal((COLS,)) * 1e-8,
    mx.random.uniform(0.5, 1.0, (COLS,)) * 3e4,
    mx.where(mx.arange(COLS) == 77, -5.0, mx.random.normal((COLS,)) * 0.01),
]
matrix = mx.stack(rows).astype(mx.bfloat16)
tensors = {"matrix": matrix}
for bits in (2, 3, 4, 5, 6, 8):
    for group in (32, 64, 128):
        weight, scales, biases = mx.quantize(matrix, group_size=group, bits=bits)
        tensors |= {f"{bits}.{group}.weight": weight, f"{bits}.{group}.scales": scales, f"{bits}.{group}.biases": biases}
mx.save_safetensors(sys.argv[1], tensors, metadata={"format": "mlx"})
