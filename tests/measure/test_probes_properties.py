from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from measured import matrices, normal, seeds
from tlaudit.errors import DegenerateError
from tlaudit.measure.probes import STRENGTH_UNTRIED, STRENGTHS, fit_linear, linear_probe, paired_change, split

FEW = settings(max_examples=3)


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=30), st.floats(0.01, 0.99), seeds)
def test_split_takes_the_share_of_each_class_and_repeats(given_labels, share, seed):
    labels = torch.tensor(given_labels)
    counts = {one: given_labels.count(one) for one in given_labels}
    if len(counts) < 2 or max(counts.values()) < 2:
        with pytest.raises(DegenerateError, match="at least 2|no class has two images"):
            split(labels, torch.Generator().manual_seed(seed), share)
        return
    fitting, again = (split(labels, torch.Generator().manual_seed(seed), share) for _ in range(2))
    assert torch.equal(fitting, again)
    for one, count in counts.items():
        taken = int(fitting[labels == one].sum())
        assert taken == max(1, min(int(count * share + 0.5), count - 1))


@FEW
@given(
    matrices(
        rows=(8, 8), columns=(1, 3), dtypes=(torch.float16, torch.float32, torch.float64), scales=(1.0, 1e-30, 1e160)
    ),
    seeds,
)
def test_accuracy_is_a_share_or_the_features_are_refused(features, seed):
    labels = torch.tensor([0, 1] * 4)
    try:
        probe = linear_probe(features, labels, features, labels, seed % 1000)
    except DegenerateError:
        assert not bool((features.double().abs() <= 1e100).all())
        return
    assert 0 <= probe.accuracy <= 1
    assert probe.strength in {*STRENGTHS, STRENGTH_UNTRIED}
    assert probe.folds == 4
    assert paired_change(probe, probe).tolist() == [0.0] * 8


@FEW
@given(seeds, st.sampled_from((1e-3, 1.0, 1e3)), st.sampled_from((0.0, 50.0)))
def test_is_blind_to_scale_shift_and_names_of_classes(seed, scale, shift):
    labels = torch.tensor([0, 1] * 3)
    features = normal(seed, 6, 2) + 3.0 * labels[:, None]
    others = normal(seed + 1, 6, 2) + 3.0 * labels[:, None]
    plain = linear_probe(features, labels, others, labels, 0)
    moved = linear_probe(features * scale + shift, labels + 7, others * scale + shift, labels + 7, 0)
    assert torch.equal(plain.right, moved.right)
    assert plain.strength == moved.strength
    again = linear_probe(features, labels, others, labels, 0)
    assert torch.equal(plain.right, again.right)


@FEW
@given(seeds, st.integers(2, 3))
def test_fitted_weights_answer_as_the_probe_does(seed, classes):
    labels = torch.arange(6) % classes
    features = normal(seed, 6, 3) + 2.0 * labels[:, None]
    features[:, 2] = 5.0
    found = fit_linear(features, labels, 0)
    probe = linear_probe(features, labels, features, labels, 0)
    assert torch.equal(found.classes[found(features).argmax(dim=1)] == labels, probe.right)
    assert found.weight[:, 2].tolist() == [0.0] * classes
    assert bool(found(features).isfinite().all())
