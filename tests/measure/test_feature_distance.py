"""The distance LDIFS trains on, against its definition written down in loops, and its gradient."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tlaudit.errors import ShapeError, UsageError
from tlaudit.measure import feature_distance as module
from tlaudit.measure.feature_distance import REDUCTIONS, feature_distance


def features(shape, seed=0, *, channels_last=False, dtype=torch.float32):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return made.to(memory_format=torch.channels_last) if channels_last else made


def unit(vector):
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / (norm + 1e-10) for value in vector]


def by_loops(target, source, reduction, axis):
    """Number by number, in Python's own floats."""
    if reduction == "sum":
        pairs = zip(target.flatten().tolist(), source.flatten().tolist(), strict=True)
        return sum((one - other) ** 2 for one, other in pairs) / len(target)
    axis = 1 if reduction == "official" else axis
    total, positions = 0.0, 0
    others = [range(size) for number, size in enumerate(target.shape) if number != axis % target.ndim]
    for place in itertools.product(*others):
        at = list(place)
        at.insert(axis % target.ndim, slice(None))
        vectors = unit(target[tuple(at)].tolist()), unit(source[tuple(at)].tolist())
        total += sum((one - other) ** 2 for one, other in zip(*vectors, strict=True))
        positions += 1
    return total / (positions * (target.shape[1] if reduction == "official" else 1))


def by_autograd(target, source, reduction, axis):
    """The same definition in torch's differentiable operations."""
    if reduction == "sum":
        return (target - source).square().flatten(1).sum(dim=1).mean()
    axis = 1 if reduction == "official" else axis
    one, other = (x / (torch.linalg.vector_norm(x, dim=axis, keepdim=True) + 1e-10) for x in (target, source))
    squared = (one - other).square()
    return squared.mean() if reduction == "official" else squared.sum(dim=axis).mean()


LAYOUTS = [((3, 5, 4, 2), 1), ((3, 4, 2, 5), 3), ((3, 7, 5), -1), ((4, 6), 1), ((2, 1, 3, 3), 1)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_agrees_with_reference(reduction, shape, axis):
    target, source = features(shape, 0), features(shape, 1)
    ours = feature_distance(target, source, reduction, axis)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(by_loops(target.double(), source.double(), reduction, axis), rel=1e-6)


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradient_agrees_with_autograd(monkeypatch, reduction, shape, axis, channels_last, spare):
    if channels_last and len(shape) != 4:
        pytest.skip("four axes only")
    monkeypatch.setitem(module._AT_ONCE, "cpu", 20)  # several blocks
    target, source = (features(shape, seed, channels_last=channels_last).double() for seed in (0, 1))
    expected = torch.autograd.grad(by_autograd(target.requires_grad_(), source, reduction, axis), target)[0]
    kept = source.clone()
    given = target.detach().clone().requires_grad_()
    distance = feature_distance(given, source, reduction, axis, weight=3.0, spare=spare)
    found = torch.autograd.grad(2 * distance, given)[0]
    torch.testing.assert_close(found, 6 * expected, rtol=1e-9, atol=1e-12)
    assert spare or torch.equal(source, kept)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_gradient_agrees_with_finite_differences(reduction, shape, axis):
    target, source = (features(shape, seed, dtype=torch.float64) for seed in (0, 1))
    given = target.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: feature_distance(x, source, reduction, axis, weight=2.0), (given,))


def test_source_gets_no_gradient():
    target, source = features((2, 3), 0).requires_grad_(), features((2, 3), 1).requires_grad_()
    feature_distance(target, source).backward()
    assert target.grad is not None
    assert source.grad is None


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_is_blind_to_layout_in_memory(reduction):
    target, source = features((4, 6, 5, 5), 0), features((4, 6, 5, 5), 1)
    plain = feature_distance(target, source, reduction)
    strided = [x.to(memory_format=torch.channels_last) for x in (target, source)]
    torch.testing.assert_close(feature_distance(*strided, reduction), plain)
    torch.testing.assert_close(feature_distance(strided[0], source, reduction), plain)
    if reduction == "channel":
        torch.testing.assert_close(
            feature_distance(*(x.permute(0, 2, 3, 1) for x in (target, source)), "channel", 3), plain
        )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, 1e15])
def test_channel_is_blind_to_scale(scale):
    target, source = features((3, 8, 4, 4), 0), features((3, 8, 4, 4), 1)
    plain = feature_distance(target, source).item()
    given = (scale * target).requires_grad_()
    scaled = feature_distance(given, 7 * source)
    assert scaled.item() == pytest.approx(plain, rel=1e-3)
    gradient = torch.autograd.grad(scaled, given)[0]
    assert gradient.isfinite().all()
    # What only changes the length changes nothing.
    assert (gradient * given).sum(dim=1).abs().max() < 1e-4


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bounds(reduction):
    target = features((3, 6, 5), 0).requires_grad_()
    here = feature_distance(target, target.detach().clone(), reduction, -1)
    assert here.item() == 0
    assert torch.autograd.grad(here, target)[0].eq(0).all()
    most = {"channel": 4.0, "official": 4 / 6, "sum": 4 * target.square().sum().item() / 3}[reduction]
    assert feature_distance(target, -target, reduction, -1).item() == pytest.approx(most, rel=1e-6)


def test_worked_example():
    # One image of two positions: turned by 60 degrees (2 - 2 · 1/2 = 1) and by 90 (2).
    target = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    source = torch.tensor([[[0.5, math.sqrt(0.75)], [1.0, 0.0]]])
    assert feature_distance(target, source, "channel", -1).item() == pytest.approx(1.5, rel=1e-6)
    assert feature_distance(target, source, "sum").item() == pytest.approx(1.5**2 + 0.75 + 1 + 9, rel=1e-6)


@pytest.mark.parametrize("reduction", ["channel", "official"])
def test_degenerate_input(reduction):
    # Vectors: zero against something, something against zero, zero against zero.
    target = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    source = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    distance = feature_distance(target, source, reduction)
    assert distance.item() == pytest.approx((1 + 1 + 0) / 3 / (2 if reduction == "official" else 1))
    gradient = torch.autograd.grad(distance, target)[0]
    assert gradient[[0, 2]].eq(0).all()
    assert gradient.isfinite().all()
    tiny = feature_distance(torch.full((1, 4), 1e-25), torch.ones(1, 4), reduction)
    assert tiny.item() == pytest.approx(1 / (4 if reduction == "official" else 1))
    assert feature_distance(torch.full((1, 4), 1e30), torch.ones(1, 4), reduction).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_half_precision_is_computed_in_single(dtype, reduction):
    target, source = (features((4, 16, 8, 8), seed).to(dtype) for seed in (0, 1))
    given = target.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = feature_distance(given, source, reduction)
    exact = target.double().requires_grad_()
    expected = feature_distance(exact, source.double(), reduction)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    # As a scaled loss asks for it: what would be lost below the smallest float16 is not.
    ours = torch.autograd.grad(found * 2.0**10, given)[0]
    theirs = torch.autograd.grad(expected * 2.0**10, exact)[0]
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), theirs, rtol=0.02, atol=2e-4 * theirs.abs().max().item())


@pytest.mark.parametrize("spare", [False, True])
def test_what_is_written_over_later_does_not_matter(spare):
    weights = features((5, 5), 2).requires_grad_()
    inputs = features((4, 5), 3)
    with torch.inference_mode():
        source = inputs @ features((5, 5), 4)
    made = inputs @ weights
    expected = torch.autograd.grad(by_autograd(made, source.clone(), "channel", 1) + made.relu().sum(), weights)[0]
    made = inputs @ weights
    distance = feature_distance(made, source, spare=spare)
    loss = distance + torch.relu_(made).sum()
    torch.testing.assert_close(torch.autograd.grad(loss, weights)[0], expected)


def test_spare_memory_is_used_and_no_other():
    target, source = features((2, 3, 4, 4), 0).requires_grad_(), features((2, 3, 4, 4), 1)
    gradient = torch.autograd.grad(feature_distance(target, source, spare=True), target)[0]
    assert gradient.data_ptr() == source.data_ptr()
    # Without a gradient nothing has to be kept, so nothing is written.
    source = features((2, 3, 4, 4), 1)
    kept = source.clone()
    feature_distance(target.detach(), source, spare=True)
    assert torch.equal(source, kept)
    # Numbers that share a place have none to spare.
    spread = features((1, 3, 1, 1), 1).expand(2, 3, 4, 4)
    assert torch.autograd.grad(feature_distance(target, spread, spare=True), target)[0].shape == target.shape


@pytest.mark.parametrize(
    ("target", "source"), [((2, 3), (2, 4)), ((2, 3, 4), (2, 3)), ((3,), (3,)), ((0, 3), (0, 3)), ((2, 0), (2, 0))]
)
def test_refuses_other_shapes(target, source):
    with pytest.raises(ShapeError, match="expected features of two networks of one shape"):
        feature_distance(torch.zeros(target), torch.zeros(source))


def test_refuses_unknown_reductions():
    with pytest.raises(UsageError, match="unknown reduction 'mean'; known are channel, official, sum"):
        feature_distance(torch.zeros(2, 3), torch.zeros(2, 3), "mean")
