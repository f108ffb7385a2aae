"""Writes tests/data/mlx_small_floats.safetensors: one small matrix, what MLX makes of it in its floating-point modes, and
the numbers that MLX reads from that (pip install "mlx[cpu]"; made with mlx 0.32.4). The rows hold what is delicate: ties
of codes, the edges between two scales, zeros, tiny and large values, one outlier.

    python tools/make_small_floats_fixture.py tests/data/mlx_small_floats.safetensors
"""

import sys

import mlx.core as mx

mx.set_default_device(mx.cpu)
mx.random.seed(1)
COLS = 128

ties = [6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -0.75, -1.25, -1.75, -2.5, -3.5, -5, 0]
edges = [[x] + [0.01 * x] * 31 for x in (6.0, 6.03125, 5.96875, 12.0625)]
rows = [
    mx.random.normal((COLS,)) * 0.02,
    mx.array(ties * (COLS // 16)),
    mx.array(sum(edges, [])),
    mx.where(mx.arange(COLS) < 64, 0.0, mx.random.normal((COLS,))),
    mx.random.normal((COLS,)) * 1e-8,
    mx.random.uniform(0.5, 1.0, (COLS,)) * 3e2,
    mx.where(mx.arange(COLS) == 77, -5.0, mx.random.normal((COLS,)) * 0.01),
]
matrix = mx.stack([row.astype(mx.float32) for row in rows]).astype(mx.bfloat16)
tensors = {"matrix": matrix}
for mode in ("mxfp4", "mxfp8", "nvfp4"):
    weight, scales = mx.quantize(matrix, mode=mode)
    values = mx.dequantize(weight, scales, mode=mode).astype(mx.float32)
    tensors |= {f"{mode}.weight": weight, f"{mode}.scales": scales, f"{mode}.values": values}
mx.save_safetensors(sys.argv[1], tensors, metadata={"format": "mlx"})
