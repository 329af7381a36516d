from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlaudit.errors import DegenerateError, MeasureError, ShapeError
from tlaudit.measure import probes
from tlaudit.measure.probes import (
    STRENGTH_UNTRIED,
    STRENGTHS,
    Probe,
    fit_linear,
    linear_probe,
    paired_change,
    split,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(n: int, dimensions: int, classes: int, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around one centre for each class, and the classes, all equally frequent."""
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, dimensions, generator=generator(1), dtype=torch.float64) * apart
    return centres[labels] + torch.randn(n, dimensions, generator=generator(2), dtype=torch.float64), labels


def halves(features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    middle = len(labels) // 2
    return features[:middle], labels[:middle], features[middle:], labels[middle:]


@pytest.mark.parametrize(
    ("n", "dimensions", "classes", "apart"), [(200, 5, 2, 0.4), (300, 20, 3, 0.3), (120, 200, 4, 0.2), (60, 3, 3, 1.0)]
)
@pytest.mark.parametrize("seed", [0, 3])
def test_agrees_with_reference(n, dimensions, classes, apart, seed):
    features, labels, test_features, test_labels = halves(*clusters(n, dimensions, classes, apart))
    found = linear_probe(features, labels, test_features, test_labels, seed)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": list(STRENGTHS)},
        cv=StratifiedKFold(5, shuffle=True, random_state=seed),
        # Its means over the folds are rounded, so that equal ones would not count as equal.
        refit=lambda results: int(np.round(results["mean_test_score"], 9).argmax()),
    ).fit(features.numpy(), labels.numpy())
    expected = search.predict(test_features.numpy()) == test_labels.numpy()
    assert found.right.tolist() == expected.tolist()
    assert found.strength == search.best_params_["logisticregression__C"]
    assert found.accuracy == pytest.approx(expected.mean())
    assert (found.folds, found.converged) == (5, True)
    assert 0.3 < found.accuracy < 1


def test_strength_depends_on_the_features():
    # Of 300 columns each tells a little: trusting all alike is best. Of two the second tells classes once the first,
    # thirty times as large, is taken off it: that takes weights much larger than those of standardised columns.
    assert linear_probe(*halves(*clusters(600, 300, 2, 0.12)), seed=0).strength <= 1e-3
    features, labels = clusters(1000, 2, 2, 0.0)
    mixed = torch.stack([features[:, 0] * 30, features[:, 0] * 30 + features[:, 1] + 2 * labels], dim=1)
    found = linear_probe(*halves(mixed, labels), seed=0)
    assert found.strength >= 1
    # Two normal distributions two spreads apart: Phi(1) = 0.84 can be told; 500 images spread by 0.016.
    assert found.accuracy == pytest.approx(0.84, abs=0.05)


def test_is_blind_to_scale_and_shift_of_columns_and_to_constant_ones():
    features, labels, test_features, test_labels = halves(*clusters(200, 6, 3, 0.4))
    expected = linear_probe(features, labels, test_features, test_labels, seed=0)
    scale, shift = torch.logspace(-6, 6, 6, dtype=torch.float64), torch.arange(6) * 100.0
    found = linear_probe(features * scale + shift, labels, test_features * scale + shift, test_labels, seed=0)
    assert torch.equal(found.right, expected.right)
    # Constant where it is fitted, whatever it is where it is tested.
    constant = torch.full((100, 1), 0.1, dtype=torch.float64)
    test_constant = torch.randn(100, 1, generator=generator(), dtype=torch.float64) * 1e6
    wider, test_wider = torch.cat([features, constant], 1), torch.cat([test_features, test_constant], 1)
    assert torch.equal(linear_probe(wider, labels, test_wider, test_labels, seed=0).right, expected.right)


def test_is_blind_to_the_names_of_classes_and_the_order_of_test_images():
    features, labels, test_features, test_labels = halves(*clusters(200, 6, 3, 0.4))
    expected = linear_probe(features, labels, test_features, test_labels, seed=0)
    names = torch.tensor([7, 90, 400])
    order = torch.randperm(100, generator=generator())
    found = linear_probe(features, names[labels], test_features[order], names[test_labels[order]], seed=0)
    assert torch.equal(found.right, expected.right[order])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_precision_is_computed_in_float64(dtype):
    features, labels, test_features, test_labels = halves(*clusters(100, 6, 2, 0.4))
    features, test_features = features.to(dtype).requires_grad_(), test_features.to(dtype)
    with torch.inference_mode():
        found = linear_probe(features, labels.byte(), test_features, test_labels.int(), seed=0)
    expected = linear_probe(features.double(), labels, test_features.double(), test_labels, seed=0)
    assert torch.equal(found.right, expected.right)


def test_separable_classes_are_all_right():
    found = linear_probe(*halves(*clusters(200, 10, 4, 8.0)), seed=0)
    assert found.accuracy == 1
    assert found.right.shape == (100,)
    assert found.right.dtype == torch.bool


def test_shuffled_labels_read_chance():
    features, labels = clusters(2000, 10, 4, 8.0)
    labels = labels[torch.randperm(2000, generator=generator(5))]
    # 1000 images at a chance of 1/4: four spreads are 0.055.
    assert linear_probe(*halves(features, labels), seed=0).accuracy == pytest.approx(0.25, abs=0.055)


def test_erased_direction_is_forgotten():
    features, labels, test_features, test_labels = halves(*clusters(400, 8, 2, 2.0))
    mean = features[labels == 1].mean(0) - features[labels == 0].mean(0)
    away = mean / mean.norm()
    before = linear_probe(features, labels, test_features, test_labels, seed=0)
    erased = [rows - (rows @ away)[:, None] * away for rows in (features, test_features)]
    after = linear_probe(erased[0], labels, erased[1], test_labels, seed=0)
    assert before.accuracy > 0.9
    assert after.accuracy < 0.65
    assert float(paired_change(after, before).mean()) == pytest.approx(after.accuracy - before.accuracy)


def test_worked_example():
    # One column tells the classes, the border lies half-way between them at 1; the second column is constant.
    features = torch.tensor([[0.0, 5], [0, 5], [2, 5], [2, 5]])
    labels = torch.tensor([3, 3, 4, 4])
    found = linear_probe(
        features, labels, torch.tensor([[0.9, 0.0], [1.1, 0], [0.9, 9], [9, 9]]), torch.tensor([3, 4, 4, 4]), seed=0
    )
    assert found.right.tolist() == [True, True, False, True]
    assert found.accuracy == 0.75
    assert found.folds == 2


def test_paired_change_says_what_was_lost_and_gained():
    before, after = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    found = paired_change(Probe(after, 1.0, 5, True), Probe(before, 1.0, 5, True))
    assert found.tolist() == [0, -1, 1, 0]
    with pytest.raises(ShapeError, match="the same images, got 4 and 3"):
        paired_change(Probe(after, 1.0, 5, True), Probe(before[:3], 1.0, 5, True))


@pytest.mark.parametrize(("smallest", "folds"), [(1, 0), (2, 2), (4, 4), (5, 5), (9, 5)])
def test_folds_follow_the_smallest_class(smallest, folds):
    features, labels = clusters(60, 4, 2, 1.0)
    chosen = torch.cat([(labels == 0).nonzero()[:, 0], (labels == 1).nonzero()[:smallest, 0]])
    found = linear_probe(features[chosen], labels[chosen], features, labels, seed=0)
    assert found.folds == folds
    assert (found.strength == STRENGTH_UNTRIED) or folds
    assert found.strength in STRENGTHS


@pytest.mark.slow
def test_same_seed_same_folds():
    data = halves(*clusters(60, 30, 3, 0.25))
    found = [linear_probe(*data, seed=seed) for seed in range(8)]
    assert len({probe.strength for probe in found}) > 1
    again = [linear_probe(*data, seed=seed) for seed in range(8)]
    for one, two in zip(found, again, strict=True):
        assert torch.equal(one.right, two.right)
        assert one.strength == two.strength


def test_says_when_it_did_not_converge(monkeypatch):
    data = halves(*clusters(60, 30, 3, 0.25))
    monkeypatch.setattr(probes, "_MOST_STEPS", 1)
    assert not linear_probe(*data, seed=0).converged  # and no warning, which would be an error here


def test_other_warnings_are_not_swallowed(monkeypatch):
    fit = LogisticRegression.fit

    def warning_fit(self, *args):
        warnings.warn("look here", UserWarning, stacklevel=1)
        return fit(self, *args)

    monkeypatch.setattr(LogisticRegression, "fit", warning_fit)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.warns(UserWarning, match="look here"):
            assert linear_probe(*halves(*clusters(60, 3, 2, 1.0)), seed=0).converged


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_split_is_stratified_and_leaves_both_parts_something(share):
    labels = torch.cat([torch.full((count,), label) for label, count in ((5, 40), (2, 7), (9, 2), (0, 1), (3, 10))])
    labels = labels[torch.randperm(60, generator=generator(3))]
    fitting = split(labels, generator(), share)
    assert fitting.shape == (60,)
    assert fitting.dtype == torch.bool
    for label, count in ((5, 40), (2, 7), (9, 2), (3, 10)):
        expected = min(max(math.floor(count * share + 0.5), 1), count - 1)
        assert int(fitting[labels == label].sum()) == expected
    assert bool(fitting[labels == 0].all())
    assert set(labels[~fitting].tolist()) == {2, 3, 5, 9}
    assert torch.equal(fitting, split(labels, generator(), share))
    assert not torch.equal(fitting, split(labels, generator(1), share))


def test_split_draws_every_image_alike():
    labels = torch.tensor([0] * 6 + [1] * 3)
    one = generator()
    often = torch.stack([split(labels, one) for _ in range(2000)]).double().mean(0)
    # 2000 draws at 1/2 or 2/3: four spreads are 0.045.
    assert often.numpy() == pytest.approx(np.array([0.5] * 6 + [2 / 3] * 3), abs=0.045)


def test_refuses_bad_splits():
    with pytest.raises(ShapeError, match=r"a vector of integer labels, got shape \(3,\) of float32"):
        split(torch.rand(3), generator())
    with pytest.raises(ShapeError, match="a vector of integer labels"):
        split(torch.zeros(3, 2, dtype=torch.int64), generator())
    for share in (0.0, 1.0, math.nan):
        with pytest.raises(MeasureError, match="strictly between 0 and 1"):
            split(torch.tensor([0, 0, 1, 1]), generator(), share)
    with pytest.raises(DegenerateError, match="needs at least 2, got 1"):
        split(torch.tensor([4, 4, 4]), generator())
    with pytest.raises(DegenerateError, match="needs at least 2, got 0"):
        split(torch.zeros(0, dtype=torch.int64), generator())
    with pytest.raises(DegenerateError, match="no class has two images"):
        split(torch.tensor([4, 5, 6]), generator())


def test_refuses_bad_input():
    features, labels = clusters(20, 3, 2, 1.0)
    with pytest.raises(ShapeError, match=r"features \(images, dimensions\) .* to fit to, got shape \(20, 3, 1\)"):
        linear_probe(features[:, :, None], labels, features, labels, seed=0)
    with pytest.raises(ShapeError, match=r"floating type to test on, got shape \(20, 3\) of int64"):
        linear_probe(features, labels, features.long(), labels, seed=0)
    with pytest.raises(ShapeError, match=r"to test on, got shape \(0, 3\)"):
        linear_probe(features, labels, features[:0], labels[:0], seed=0)
    with pytest.raises(ShapeError, match="a label for each of 20 images to fit to, got 19"):
        linear_probe(features, labels[:19], features, labels, seed=0)
    with pytest.raises(ShapeError, match="one width, got 3 to fit to and 2 to test"):
        linear_probe(features, labels, features[:, :2], labels, seed=0)
    with pytest.raises(MeasureError, match=r"classes \[7, 9\] are to be tested"):
        linear_probe(features, labels, features[:3], torch.tensor([9, 1, 7]), seed=0)


def test_degenerate_input():
    features, labels = clusters(20, 3, 2, 1.0)
    with pytest.raises(DegenerateError, match="needs at least 2, got 1"):
        linear_probe(features, labels * 0, features, labels * 0, seed=0)
    broken = features.clone()
    broken[3, 1], broken[8] = math.nan, math.inf
    with pytest.raises(DegenerateError, match="2 of 20 images to fit to hold NaN or infinite"):
        linear_probe(broken, labels, features, labels, seed=0)
    with pytest.raises(DegenerateError, match="2 of 20 images to test on hold NaN or infinite"):
        linear_probe(features, labels, broken, labels, seed=0)
    # Constant features tell nothing apart: the more frequent class everywhere.
    found = linear_probe(torch.ones(21, 3), torch.cat([labels, torch.tensor([1])]), torch.ones(20, 3), labels, seed=0)
    assert found.right.tolist() == (labels == 1).tolist()


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_is_the_classifier_that_is_tested(classes):
    features, labels, test_features, test_labels = halves(*clusters(300, 8, classes, 0.4))
    found = fit_linear(features, labels, seed=0)
    probe = linear_probe(features, labels, test_features, test_labels, seed=0)
    assert (found.strength, found.folds, found.converged) == (probe.strength, probe.folds, probe.converged)
    assert torch.equal(found(test_features).argmax(1) == test_labels, probe.right)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=found.strength, max_iter=1000))
    expected = reference.fit(features.numpy(), labels.numpy()).predict_proba(test_features.numpy())
    assert found(test_features).softmax(1).numpy() == pytest.approx(expected, abs=1e-12)


def test_linear_answers_for_features_as_they_are():
    features, labels = clusters(200, 6, 3, 0.4)
    scale, shift = torch.logspace(-6, 6, 6, dtype=torch.float64), torch.arange(6) * 100.0
    first, second = fit_linear(features, labels, seed=0), fit_linear(features * scale + shift, labels, seed=0)
    there = second(features * scale + shift)
    assert torch.allclose(there, first(features), atol=1e-6)
    assert torch.allclose(second.weight * scale, first.weight, rtol=1e-6, atol=1e-9)


def test_linear_of_two_classes_leans_to_neither():
    features, labels = clusters(100, 4, 2, 1.0)
    found = fit_linear(features, labels * 5 + 2, seed=0)
    assert found.classes.tolist() == [2, 7]
    assert torch.equal(found.weight[0], -found.weight[1])
    assert torch.equal(found.bias[0], -found.bias[1])


def test_linear_gives_constant_columns_no_weight():
    features, labels = clusters(100, 4, 3, 1.0)
    features[:, 2] = 0.1
    found = fit_linear(features, labels, seed=0)
    assert not found.weight[:, 2].any()
    assert found.weight[:, 0].all()
    assert found.bias.isfinite().all()


def test_linear_says_what_it_could_not_try():
    features, labels = clusters(30, 4, 2, 1.0)
    labels[:] = 0
    labels[-1] = 1
    found = fit_linear(features, labels, seed=0)
    assert (found.strength, found.folds) == (STRENGTH_UNTRIED, 0)
    with pytest.raises(DegenerateError, match="at least 2, got 1"):
        fit_linear(features, torch.zeros(30, dtype=torch.int64), seed=0)
    with pytest.raises(ShapeError, match="a label for each"):
        fit_linear(features, labels[:3], seed=0)
