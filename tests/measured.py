"""Inputs of measures as hypothesis draws them: of any size, precision and scale, ordinary or degenerate."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SCALES = (1.0, 1e-30, 1e30, 1e-160, 1e160)
KINDS = ("normal", "constant", "zero", "duplicates", "one", "outlier", "nan", "inf")

seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@st.composite
def matrices(draw, rows=(1, 12), columns=(1, 12), kinds=KINDS, dtypes=DTYPES, scales=SCALES, means=(0.0, 1e6)):
    """A matrix ``(N, D)`` of one of the kinds; what its precision cannot hold is infinite or 0, as it comes."""
    kind, dtype = draw(st.sampled_from(kinds)), draw(st.sampled_from(dtypes))
    shape = draw(st.integers(*rows)), draw(st.integers(*columns))
    values = normal(draw(seeds), *shape)
    if kind == "constant":
        values = torch.ones_like(values)
    elif kind == "zero":
        values = torch.zeros_like(values)
    elif kind == "duplicates":
        values = values[:1].expand(shape).clone()
    elif kind == "one":
        values = torch.zeros_like(values).index_fill_(0, torch.tensor(0), 1.0)
    elif kind == "outlier":
        values[0] *= 1e20
    values = (values * draw(st.sampled_from(scales)) + draw(st.sampled_from(means))).to(dtype)
    if kind in {"nan", "inf"}:
        values[0, -1] = math.nan if kind == "nan" else math.inf
    return values


def orthogonal(seed: int, size: int) -> torch.Tensor:
    """A rotation, perhaps with a reflection."""
    return torch.linalg.qr(normal(seed, size, size)).Q
