"""Where two attribution maps point outside an overlay, and how far they agree there.

Equation 4 of *Detrimental Memories in Transfer Learning*, and masks of equal area as its control.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from tlaudit.errors import MeasureError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor


class TopPixels(NamedTuple):
    """The most important pixels of some maps.

    Attributes:
        mask: Which pixels, ``(N, H, W)`` bool; all False for a dead map.
        dead: Which maps have none because they are constant over their region, ``(N,)`` bool.
    """

    mask: Tensor
    dead: Tensor


class Overlap(NamedTuple):
    """How far pairs of masks agree.

    Attributes:
        values: Pixels in both as a share of pixels in either, ``(N,)`` float64 in [0, 1], on the CPU; 0 where not
            defined.
        defined: Where the share exists, ``(N,)`` bool, on the CPU.
    """

    values: Tensor
    defined: Tensor


def top_pixels(maps: Tensor, region: Tensor, percentile: float = 80.0) -> TopPixels:
    """Pixels of a region whose value lies strictly above a percentile of the map over that region.

    ``P_q(A^b)`` of eq. 4. The percentile is the one that interpolates linearly between order statistics, numpy's
    default. What lies strictly above it also lies strictly above the order statistic below it, and the other way round,
    because no value lies between the two: so nothing is interpolated, and nothing is lost to rounding.

    A map that is constant over its region has no top pixels; it is dead. Where more than ``100 - q`` percent of a
    region share the highest value, nothing lies above the percentile either: the mask is empty, the map not dead.

    Args:
        maps: Attribution maps, ``(N, H, W)`` of any floating type, any unit, without NaN inside the regions.
        region: Pixels that count, ``(N, H, W)`` bool, at least one for each map, on the same device.
        percentile: q, in [0, 100).

    Returns:
        Masks and which maps are dead, on the maps' device. A mask holds at most ``(100 - q)`` percent of the region,
        rounded up.

    Raises:
        ShapeError: If the shapes differ, the maps are not of a floating type, the region is not a mask, or a region is
            empty.
        MeasureError: If the percentile is outside [0, 100), or a map holds NaN.

    Example:
        >>> maps = torch.arange(10.0).reshape(1, 2, 5)
        >>> top_pixels(maps, torch.ones(1, 2, 5, dtype=torch.bool)).mask.int().tolist()
        [[[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]]
    """
    if maps.ndim != 3 or maps.shape != region.shape:
        raise ShapeError(
            "expected maps and regions of one shape (images, height, width), got "
            f"{tuple(maps.shape)} and {tuple(region.shape)}"
        )
    if not maps.is_floating_point() or region.dtype != torch.bool:
        raise ShapeError(
            "expected maps of a floating type and masks, got "
            f"{' and '.join(str(one.dtype).removeprefix('torch.') for one in (maps, region))}"
        )
    if not 0 <= percentile < 100:
        raise MeasureError(f"the percentile must lie in [0, 100), got {percentile}")
    sizes = _sizes(region)
    if not bool((sizes > 0).all()):
        raise ShapeError("expected at least one pixel in each region, got an empty one, which has no percentile")
    lowest_last = maps.masked_fill(~region, math.inf).flatten(1)
    low = lowest_last.amin(dim=1)
    high = maps.masked_fill(~region, -math.inf).flatten(1).amax(dim=1)
    if bool((low.isnan() | high.isnan()).any()):
        raise MeasureError("an attribution map holds NaN and has no percentile; leave it out")
    # numpy's expression for the place of the percentile among n values, in its order: rounding must fall alike.
    ranks = ((sizes.cpu() - 1).double() * (percentile / 100)).floor().long()
    below = _order_statistic(lowest_last, ranks)
    return TopPixels((maps > below[:, None, None]) & region, low == high)


def overlap(first: TopPixels, second: TopPixels) -> Overlap:
    """Share of the pixels that are in the top of either map which are in the top of both.

    ``distraction(x, M)`` of eq. 4: intersection over union. Independent masks of a share s of the region meet at about
    ``s / (2 - s)``, 0.111 for a fifth, so that even chance is not 0.

    Args:
        first: Top pixels of N maps.
        second: Top pixels of N maps of the same images over the same regions, in the same order.

    Returns:
        A value for each pair, 1 = the same pixels, 0 = none in common. Not defined where either map is dead, or where
        neither has a top pixel.

    Raises:
        ShapeError: If the masks differ in shape.

    Example:
        >>> region = torch.ones(1, 1, 10, dtype=torch.bool)
        >>> one = top_pixels(torch.arange(10.0).reshape(1, 1, 10), region)
        >>> two = top_pixels(torch.arange(10.0).roll(1).reshape(1, 1, 10), region)
        >>> overlap(one, two).values.tolist(), overlap(one, one).values.tolist()
        ([0.3333333333333333], [1.0])
    """
    if first.mask.shape != second.mask.shape:
        raise ShapeError(f"expected masks of one shape, got {tuple(first.mask.shape)} and {tuple(second.mask.shape)}")
    # Few numbers, and not every accelerator has float64.
    both = _sizes(first.mask & second.mask).cpu()
    either = _sizes(first.mask | second.mask).cpu()
    defined = ~(first.dead | second.dead).cpu() & (either > 0)
    values = torch.where(defined, both.double() / either.clamp(min=1), 0.0)
    return Overlap(values, defined)


def random_top_pixels(counts: Tensor, region: Tensor, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Masks of given areas that mean nothing, as coherent as those of real maps.

    Each is the top of a map of uniform noise on a coarse grid, enlarged bilinearly as attribution maps are; single
    random pixels would hide far less of a picture. Where values tie at the edge of the mask, the first in reading order
    are taken. Images draw from the generator one after the other, so that batches of any size give the same masks.

    Args:
        counts: Pixels of each mask, ``(N,)`` int64, from 0 to the size of the region.
        region: Pixels that may be taken, ``(N, H, W)`` bool.
        grid: Height and width of the noise, each at least 1: those of the layer whose maps are imitated.
        generator: Source of the noise, on any device.

    Returns:
        Masks, ``(N, H, W)`` bool on the region's device, of exactly `counts` pixels, all inside the region.

    Raises:
        ShapeError: If there is not one count for each region, or the grid has no cell.
        MeasureError: If a count is negative or larger than its region.

    Example:
        >>> region = torch.ones(1, 8, 8, dtype=torch.bool)
        >>> mask = random_top_pixels(torch.tensor([13]), region, (2, 2), torch.Generator().manual_seed(0))
        >>> tuple(mask.shape), int(mask.sum())
        ((1, 8, 8), 13)
    """
    if region.ndim != 3 or counts.shape != region.shape[:1]:
        raise ShapeError(
            "expected one count for each region (images, height, width), got "
            f"{tuple(counts.shape)} and {tuple(region.shape)}"
        )
    if min(grid) < 1:
        raise ShapeError(f"expected a grid of at least one cell, got {grid}")
    counts = counts.to(region.device)
    sizes = _sizes(region)
    if bool(((counts < 0) | (counts > sizes)).any()):
        raise MeasureError(f"expected counts from 0 to the regions' {sizes.tolist()} pixels, got {counts.tolist()}")
    noise = torch.rand((len(counts), 1, *grid), generator=generator, device=generator.device).to(region.device)
    smooth = interpolate(noise, size=region.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    # Upside down, so that the highest come first and everything outside the region comes last.
    ordered = smooth.neg_().masked_fill_(~region, math.inf).flatten(1)
    edge = _order_statistic(ordered, (counts - 1).clamp(min=0).cpu())[:, None]
    inside = ordered < edge
    tied = ordered == edge
    room = counts - inside.sum(dim=1)
    return (inside | (tied & (tied.cumsum(dim=1) <= room[:, None]))).view_as(region)


def _sizes(masks: Tensor) -> Tensor:
    """Pixels of each mask, ``(N,)`` int64."""
    return masks.flatten(1).sum(dim=1)


def _order_statistic(values: Tensor, ranks: Tensor) -> Tensor:
    """Of each row the value with so many below it in sorted order; rows that ask for the same are searched together.

    `ranks` are on the CPU. Values are selected, not sorted: sorting the pixels of a map costs as much as a network.
    """
    result = values.new_empty(len(values))
    wanted = sorted(set(ranks.tolist()))
    for rank in wanted:
        rows = slice(None) if len(wanted) == 1 else ranks == rank
        result[rows] = _selected(values[rows], rank)
    return result


def _selected(values: Tensor, rank: int) -> Tensor:
    """Of each row the value with `rank` below it; on the CPU numpy selects several times as fast as torch.

    Of bfloat16, which numpy does not know, torch selects.
    """
    if values.device.type == "cpu" and values.dtype != torch.bfloat16:
        return torch.from_numpy(np.partition(values.numpy(), rank, axis=1)[:, rank])
    return values.kthvalue(rank + 1, dim=1).values
