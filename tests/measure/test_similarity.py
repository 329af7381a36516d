from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import DotProduct

import reference
from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure.similarity import CkaAccumulator, CkaParts, gram, hsic1

SHAPES = [(4, 1, 1), (5, 3, 2), (9, 4, 30), (12, 40, 3), (20, 6, 6)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def related(n: int, one: int, two: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the same n images in two networks that have something in common, neither centred."""
    first = normal(n, one, seed=seed) + 0.5
    return first, first @ normal(one, two, seed=100) + normal(n, two, seed=seed + 1) - 2


def measured(first: torch.Tensor, second: torch.Tensor, size: int | None = None) -> CkaAccumulator:
    pairs = CkaAccumulator(["one"], ["two"])
    for a, b in zip(first.split(size or len(first)), second.split(size or len(first)), strict=True):
        pairs.add({"one": gram(a)}, {"two": gram(b)})
    return pairs


def cka(first: torch.Tensor, second: torch.Tensor, size: int | None = None) -> float:
    return measured(first, second, size).cka("one", "two")


def biased_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    first, second = first - first.mean(0), second - second.mean(0)
    return float((second.T @ first).norm() ** 2 / ((first.T @ first).norm() * (second.T @ second).norm()))


@pytest.mark.parametrize(("n", "one", "two"), SHAPES)
def test_agrees_with_reference(n, one, two):
    first, second = related(n, one, two)
    k, l = first @ first.T, second @ second.T  # noqa: E741 (named as the papers do)
    expected = reference.hsic1(reference.gram(first.tolist()), reference.gram(second.tolist()))
    assert hsic1(k, l) == pytest.approx(expected, rel=1e-9)
    assert hsic1(gram(first), gram(second)) == pytest.approx(expected, rel=1e-9)
    assert cka(first, second) == pytest.approx(
        reference.minibatch_cka([(first.tolist(), second.tolist())]), rel=1e-9, abs=1e-9
    )


def test_gram_agrees_with_sklearn():
    features = normal(7, 3, 4)
    apart = features - features.mean(0)
    assert np.allclose(gram(features), DotProduct(sigma_0=0)(apart.flatten(1).numpy()), atol=1e-12)


def test_minibatches_agree_with_reference():
    parts = [related(n, 5, 8, seed=n) for n in (4, 9, 6)]
    pairs = CkaAccumulator(["one"], ["two"])
    for first, second in parts:
        pairs.add({"one": gram(first)}, {"two": gram(second)})
    expected = reference.minibatch_cka([(first.tolist(), second.tolist()) for first, second in parts])
    assert pairs.cka("one", "two") == pytest.approx(expected, abs=1e-9)
    assert (pairs.batches, pairs.images) == (3, 19)


def test_every_pair_of_stages_agrees_with_hsic1():
    first = {name: gram(normal(9, 6, seed=seed)) for seed, name in enumerate("abc")}
    second = {name: first["c"] + gram(normal(9, 4, seed=seed)) for seed, name in enumerate("dc", start=5)}
    pairs = CkaAccumulator(list(first), list(second))
    pairs.add(dict(reversed(first.items())), second)
    found = pairs.matrix()
    assert found.shape == (3, 2)
    for row, (one, k) in enumerate(first.items()):
        for column, (two, l) in enumerate(second.items()):  # noqa: E741
            expected = hsic1(k, l) / math.sqrt(hsic1(k, k) * hsic1(l, l))
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-12)
            assert pairs.cka(one, two) == pytest.approx(expected, abs=1e-12)


def test_is_blind_to_rotation_scale_translation_and_order():
    first, second = related(16, 10, 12)
    expected = cka(first, second)
    assert 0.3 < expected < 0.95
    turned = first @ torch.linalg.qr(normal(10, 10, seed=7)).Q
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert cka(turned, second) == pytest.approx(expected, abs=1e-12)
    assert cka(first * 1e-4, second * 300) == pytest.approx(expected, abs=1e-12)
    assert cka(first[order], second[order]) == pytest.approx(expected, abs=1e-12)
    assert cka(second, first) == pytest.approx(expected, abs=1e-12)
    assert cka(first + normal(10, seed=8) * 50, second - 30) == pytest.approx(expected, abs=1e-9)
    assert cka(first[order], second) < expected - 0.2


def test_hsic1_is_blind_to_translation_of_the_features():
    # Moving all rows alike adds a_i + a_j to the Gram matrix: what `gram` takes off does not matter.
    first, second = related(8, 5, 6)
    moved = first + normal(5, seed=3)
    k, l = first @ first.T, second @ second.T  # noqa: E741
    assert hsic1(moved @ moved.T, l) == pytest.approx(hsic1(k, l), rel=1e-10)
    assert hsic1(gram(first), l) == pytest.approx(hsic1(k, l), rel=1e-10)


@pytest.mark.parametrize("common", [0.0, 30.0, 1000.0])
def test_float32_loses_no_digits_to_a_common_mean(common):
    first = normal(16, 3000, dtype=torch.float32).relu() + common
    second = first[:, :900] * 0.5 + normal(16, 900, seed=1, dtype=torch.float32).relu() + 7 * common
    assert cka(first, second) == pytest.approx(cka(first.double(), second.double()), abs=2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_under_autocast(dtype):
    features = normal(8, 2000, dtype=torch.float32).relu().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = gram(features)
        pairs = CkaAccumulator(["one"], ["two"])
        pairs.add({"one": found}, {"two": gram(features.float())})
    assert found.dtype == torch.float64
    assert torch.allclose(found, gram(features.double()), rtol=1e-5, atol=1e-3)
    pairs.add({"one": found}, {"two": found})  # once more outside, where what was made inside may not be written to
    assert pairs.cka("one", "two") == pytest.approx(1, abs=1e-9)


def test_memory_layout_and_gradients_do_not_matter():
    features = normal(5, 3, 4, 4, dtype=torch.float32)
    before = features.clone()
    expected = gram(features)
    as_it_lies = gram(features.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(as_it_lies, expected, rtol=1e-6, atol=1e-5)
    found = gram(features.requires_grad_())
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert torch.equal(features, before)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0)])
def test_merges_in_any_order(order):
    first, second = related(60, 7, 7)
    whole = measured(first, second, 5)
    parts = [measured(a, b, 5) for a, b in zip(first.split(15), second.split(15), strict=True)]
    sent = [pickle.loads(pickle.dumps(parts[number].parts())) for number in order]
    merged = CkaAccumulator.of_parts(["one"], ["two"], CkaParts(*map(torch.cat, zip(*sent, strict=True))))
    assert (merged.batches, merged.images) == (12, 60) == (whole.batches, whole.images)
    assert merged.cka("one", "two") == pytest.approx(whole.cka("one", "two"), abs=1e-13)
    assert parts[0].batches == 3


def test_comes_back_from_its_parts_to_the_bit():
    pairs = measured(*related(60, 7, 7), 5)
    again = CkaAccumulator.of_parts(["one"], ["two"], pairs.parts())
    assert again.matrix().equal(pairs.matrix())
    drawn = [one.resampled("one", "two", 20, np.random.default_rng(0)) for one in (pairs, again)]
    assert drawn[0].equal(drawn[1])
    empty = CkaAccumulator(["a", "b"], ["c"]).parts()
    assert [tuple(part.shape) for part in empty] == [(0,), (0, 2, 1), (0, 3), (0, 3)]
    assert CkaAccumulator.of_parts(["a", "b"], ["c"], empty).batches == 0


def test_bounds():
    first = normal(12, 8)
    assert cka(first, first) == pytest.approx(1, abs=1e-12)
    # Unbiased, hence on either side of the truth, which is 0 here; nothing is clipped.
    values = [cka(normal(8, 20, seed=seed), normal(8, 20, seed=1000 + seed)) for seed in range(40)]
    assert min(values) < -0.02
    assert max(values) > 0.02


def test_independent_features_read_nothing():
    values, biased = [], []
    for seed in range(20):
        first, second = normal(50, 768, seed=seed), normal(50, 768, seed=500 + seed)
        values.append(cka(first, second))
        biased.append(biased_cka(first, second))
    assert np.mean(biased) == pytest.approx(0.94, abs=0.01)
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(20)
    assert np.std(values) < 0.05


def test_averaged_minibatches_read_the_truth():
    # y shares half of its variance with x, direction by direction: for many more images than features CKA is 0.5.
    first = normal(3200, 256)
    second = math.sqrt(0.5) * first + math.sqrt(0.5) * normal(3200, 256, seed=1)
    per_batch = [biased_cka(a, b) for a, b in zip(first.split(32), second.split(32), strict=True)]
    assert np.mean(per_batch) > 0.9
    assert cka(first, second, 32) == pytest.approx(0.5, abs=0.03)
    assert cka(first, second) == pytest.approx(0.5, abs=0.03)


def test_averages_before_it_divides():
    large, small = related(6, 4, 4), related(6, 4, 4, seed=40)
    first, second = torch.cat([large[0] * 10, small[0]]), torch.cat([large[1] * 10, small[1]])
    apart = [cka(*large), cka(*small)]
    assert abs(apart[0] - apart[1]) > 0.02
    # The first minibatch weighs ten thousand times as much.
    assert cka(first, second, 6) == pytest.approx(apart[0], abs=1e-3)


def test_worked_example():
    # Two pairs of like images. Off the diagonal K has 4 ones: tr = 4, (1K1)^2 / 6 = 16/6, 2/2 * 1KK1 = 4,
    # HSIC1 = (4 + 16/6 - 4) / 4 = 2/3. L pairs them otherwise: tr = 0, 1KL1 = 4, HSIC1 = (0 + 16/6 - 4) / 4 = -1/3.
    k = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    l = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])  # noqa: E741
    assert hsic1(k, k) == pytest.approx(2 / 3)
    assert hsic1(k, l) == pytest.approx(-1 / 3)
    pairs = CkaAccumulator(["k"], ["k", "l"])
    pairs.add({"k": k}, {"k": k, "l": l})
    assert pairs.matrix()[0].tolist() == pytest.approx([1, -0.5])


def test_resampled_agrees_with_drawing_minibatches():
    pairs = measured(*related(60, 5, 5), 6)
    found = pairs.resampled("one", "two", 3000, np.random.default_rng(0))
    assert found.shape == (3000,)
    rng = np.random.default_rng(1)
    first, second = related(60, 5, 5)
    batches = list(zip(first.split(6), second.split(6), strict=True))
    values = torch.tensor(
        [[hsic1(gram(a), gram(b)), hsic1(gram(a), gram(a)), hsic1(gram(b), gram(b))] for a, b in batches]
    )
    drawn = torch.stack([values[rng.integers(0, 10, 10)].mean(dim=0) for _ in range(3000)])
    naive = drawn[:, 0] / (drawn[:, 1] * drawn[:, 2]).sqrt()
    spread = float(naive.std())
    for q in (0.025, 0.5, 0.975):
        assert float(found.quantile(q)) == pytest.approx(float(naive.double().quantile(q)), abs=0.2 * spread)
    assert torch.equal(found, pairs.resampled("one", "two", 3000, np.random.default_rng(0)))
    assert not torch.equal(found, pairs.resampled("one", "two", 3000, np.random.default_rng(2)))


def test_resamples_draw_alike_in_parts(monkeypatch):
    pairs = measured(*related(60, 5, 5), 6)
    whole = pairs.resampled("one", "two", 50, np.random.default_rng(0))
    monkeypatch.setattr("tlaudit.measure.similarity._CELLS_AT_ONCE", 70)
    assert torch.allclose(pairs.resampled("one", "two", 50, np.random.default_rng(0)), whole, atol=1e-14)


def test_resamples_without_variation_are_left_out():
    first, second = related(30, 5, 5)
    first[6:] = 1.0  # of five minibatches only the first varies: (4/5)^5 of the resamples miss it
    found = measured(first, second, 6).resampled("one", "two", 1000, np.random.default_rng(0))
    assert len(found) == pytest.approx(1000 * (1 - 0.8**5), abs=60)
    assert bool(found.isfinite().all())


def test_refuses_bad_features():
    for bad in (torch.rand(4), torch.rand(4, 0), torch.rand(0, 4), torch.ones(4, 4, dtype=torch.int64)):
        with pytest.raises(ShapeError, match=r"features \(images, ...\) of a floating type"):
            gram(bad)


def test_refuses_bad_grams():
    pairs = CkaAccumulator(["a", "b"], ["c"])
    k = gram(normal(5, 3))
    with pytest.raises(ShapeError, match="at least 4 images in a minibatch, got 3"):
        hsic1(k[:3, :3], k[:3, :3])
    with pytest.raises(ShapeError, match="square"):
        hsic1(k[:4], k[:4])
    with pytest.raises(ShapeError, match="at least 4 images in a minibatch, got 3"):
        pairs.add({"a": k[:3, :3], "b": k[:3, :3]}, {"c": k[:3, :3]})
    with pytest.raises(ShapeError, match=r"the same images, got shapes \[\(4, 4\), \(5, 5\)\]"):
        pairs.add({"a": k, "b": k}, {"c": k[:4, :4]})
    with pytest.raises(ShapeError, match=r"first network, got none for \['b'\] and some for \[\]"):
        pairs.add({"a": k}, {"c": k})
    with pytest.raises(ShapeError, match=r"second network, got none for \[\] and some for \['d'\]"):
        pairs.add({"a": k, "b": k}, {"c": k, "d": k})
    assert pairs.batches == 0


def test_refuses_bad_names():
    with pytest.raises(ShapeError, match=r"first network, each once, got \['a'\] more than once"):
        CkaAccumulator(["a", "b", "a"], ["a"])
    with pytest.raises(ShapeError, match="second network, each once, got none"):
        CkaAccumulator(["a"], [])
    pairs = measured(*related(30, 3, 3), 6)
    with pytest.raises(ShapeError, match=r"first network, one of \['one'\], got 'two'"):
        pairs.cka("two", "two")
    with pytest.raises(ShapeError, match=r"second network, one of \['two'\], got 'one'"):
        pairs.resampled("one", "one", 10, np.random.default_rng(0))
    for first, second in ((["one"], ["two", "three"]), (["one", "zero"], ["two"])):
        with pytest.raises(
            ShapeError, match=r"parts of the stages \['one'.* of shapes \[\(5,\), .* got \[\(5,\), \(5, 1, 1\)"
        ):
            CkaAccumulator.of_parts(first, second, pairs.parts())
    with pytest.raises(ShapeError, match=r"got \[\(4,\), \(5, 1, 1\), \(5, 2\), \(5, 2\)\]"):
        CkaAccumulator.of_parts(["one"], ["two"], pairs.parts()._replace(images=pairs.parts().images[1:]))
    with pytest.raises(MeasureError, match="at least one resample"):
        pairs.resampled("one", "two", 0, np.random.default_rng(0))
    with pytest.raises(DegenerateError, match="at least 5 minibatches, got 1"):
        measured(*related(30, 3, 3)).resampled("one", "two", 10, np.random.default_rng(0))


def test_nothing_measured_is_degenerate():
    pairs = CkaAccumulator(["one"], ["two", "three"])
    with pytest.raises(DegenerateError, match="no minibatch of at least 4 images"):
        pairs.cka("one", "two")
    assert pairs.matrix().shape == (1, 2)
    assert bool(pairs.matrix().isnan().all())


def test_many_equal_images_are_constant_too():
    assert gram(torch.tensor([[0.1, 3.3, -7.7]]).expand(3001, 3)).eq(0).all()


@pytest.mark.parametrize("value", [0.1, -3.3e4, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_constant_features_have_a_gram_of_zeros(value, dtype):
    features = normal(1, 700).mul(value).to(dtype).expand(13, 700)
    assert gram(features).eq(0).all()


def test_features_apart_by_rounding_count_as_constant():
    constant = normal(1, 700, dtype=torch.float32).expand(9, 700)
    up = torch.nextafter(constant, constant + 1)
    nudged = torch.where(normal(9, 700, seed=1) > 0.8, up, constant)
    assert not torch.equal(nudged[0], nudged[1])
    assert gram(nudged).eq(0).all()
    assert not gram(nudged.double()).eq(0).all()  # in float64 that is a difference


def test_degenerate_stage_leaves_the_others_as_they_were():
    good = {"x": normal(20, 6), "y": normal(20, 9, seed=1) + normal(20, 1, seed=2)}
    bad = {
        "constant": torch.ones(20, 5),
        "one image": normal(1, 700, dtype=torch.float32).repeat(20, 1),  # and one unlike the others, which says nothing
        "nan": normal(20, 5).index_fill(0, torch.tensor([7]), torch.nan),
        "inf": normal(20, 5).index_fill(0, torch.tensor([12, 17]), torch.inf),
        "overflow": normal(20, 5, dtype=torch.float32) * 1e30,
    }
    bad["one image"][3] = normal(700, seed=9, dtype=torch.float32)
    healthy = CkaAccumulator(list(good), list(good))
    mixed = CkaAccumulator([*bad, *good], [*good, *bad])
    for rows in torch.arange(20).split(10):
        grams = {name: gram(features[rows]) for name, features in (good | bad).items()}
        healthy.add({name: grams[name] for name in good}, {name: grams[name] for name in good})
        mixed.add(grams, grams)
    found = mixed.matrix()
    assert torch.allclose(found[len(bad) :, : len(good)], healthy.matrix(), atol=1e-14, rtol=0)
    assert found.isnan().sum() == 49 - 4
    reasons = {
        "constant": "stage 'constant' of the first network are constant or collapsed",
        "one image": "stage 'one image' of the first network are constant or collapsed",
        "nan": "stage 'nan' of the first network are NaN, infinite .* in 1 of 2 minibatches",
        "inf": "stage 'inf' of the first network are NaN, infinite .* in 1 of 2 minibatches",
        "overflow": "too large to multiply in 2 of 2",
    }
    for name, reason in reasons.items():
        with pytest.raises(DegenerateError, match=reason):
            mixed.cka(name, "x")
        with pytest.raises(DegenerateError, match=reason.replace("first", "second")):
            mixed.cka("y", name)
