"""A1: the matrix rates of this card, which every utilisation is a share of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.gpu.part import Outcome, Setup, median_seconds


def rates(setup: Setup) -> Outcome:
    """Operations a second of `n x n` products of random numbers: 2·n³ / seconds, the median of 9
    samples, n = 8192 (64 in a rehearsal), in bfloat16, TF32 and float32."""
    figures = {
        "bf16_flops": rate(setup, torch.bfloat16),
        "fp32_flops": rate(setup, torch.float32),
    }
    with tf32():
        figures["tf32_flops"] = rate(setup, torch.float32)
    return Outcome(figures, {})


def rate(setup: Setup, dtype: torch.dtype) -> float:
    """Operations a second in one dtype."""
    size = 64 if setup.rehearsal else 8192
    draw = torch.Generator(setup.device).manual_seed(0)
    one, other = (
        torch.randn(size, size, generator=draw, device=setup.device).to(dtype) for _ in range(2)
    )
    return 2 * size**3 / median_seconds(lambda: one @ other, setup.device, 9)


@contextmanager
def tf32() -> Iterator[None]:
    """Float32 products on tensor cores, for a while."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
