"""Weights between two networks, and the batch-norm statistics that belong to them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tlaudit.errors import UsageError
from tlaudit.repair import METHODS
from tlaudit.training.reestimation import with_statistics_of

STATISTICS = ("running_mean", "running_var")


def swept(given):
    return dict(METHODS["wise-ft"].setup(given).variants)


def in_training(given):
    (batch,) = given.training.epoch(0, seed=0, batch_size=1000, flip=False)
    return given.normalizer(batch.pixels)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_weights_lie_between_and_the_head_is_the_finetuned_one(bench, alpha):
    given = bench(finetuned=True, wise_ft={"alpha": alpha, "sweep": []})
    setup = METHODS["wise-ft"].setup(given)
    assert setup.objective is None
    assert setup.variants == ()
    theirs, ours = given.source.module.state_dict(), given.finetuned.state_dict()
    for key, value in setup.network.state_dict().items():
        if key.startswith("fc.") or not value.is_floating_point():
            assert torch.equal(value, ours[key])
        elif not key.endswith(STATISTICS):
            expected = (1 - alpha) * theirs[key].double() + alpha * ours[key].double()
            assert value.double().numpy() == pytest.approx(expected.numpy(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["own", "resnet18", "squeezenet1_1", "vit"])
def test_a_share_of_1_is_the_finetuned_network_and_of_0_the_source_under_its_head(bench, name):
    given = bench(name, finetuned=True, wise_ft={"alpha": 1, "sweep": [0]})
    setup = METHODS["wise-ft"].setup(given)
    ours, theirs = given.finetuned.state_dict(), given.source.module.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in setup.network.state_dict().items())
    ((label, least),) = setup.variants
    assert label == "wise-ft 0"
    for key, value in least.state_dict().items():
        kept = key.startswith(f"{given.head}.") or not value.is_floating_point()
        assert torch.equal(value, (ours if kept else theirs)[key])


def test_sweep_has_a_network_for_each_share_and_the_chosen_one_is_among_them(bench):
    given = bench(finetuned=True)
    setup = METHODS["wise-ft"].setup(given)
    expected = [f"wise-ft {step / 10:g}" for step in range(11)]
    assert [name for name, _ in setup.variants] == expected
    assert dict(setup.variants)["wise-ft 0.5"] is setup.network
    assert [
        name for name, _ in METHODS["wise-ft"].setup(bench(finetuned=True, wise_ft={"sweep": [1, 0.2]})).variants
    ] == [
        "wise-ft 0.2",
        "wise-ft 1",
    ]


def test_statistics_are_those_of_the_mixed_weights(bench):
    given = bench(finetuned=True, wise_ft={"alpha": 0.5, "sweep": []})
    network = METHODS["wise-ft"].setup(given).network
    norm = network.stem[1]
    with torch.no_grad():
        entering = network.stem[0](in_training(given)).double()
    assert norm.running_mean.numpy() == pytest.approx(entering.mean((0, 2, 3)).numpy(), abs=1e-6)
    # Three batches of eight images: their unbiased variances are averaged.
    order = torch.cat([batch.index for batch in given.training.epoch(0, seed=0, batch_size=8, flip=False)])
    whole = next(given.training.epoch(0, seed=0, batch_size=1000, flip=False)).index
    rows = entering[torch.stack([(whole == item).nonzero()[0, 0] for item in order])]
    expected = torch.stack([part.var((0, 2, 3)) for part in rows.split(8)]).mean(0)
    assert norm.running_var.numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    averaged = (given.source.module.stem[1].running_mean + given.finetuned.stem[1].running_mean) / 2
    assert not torch.allclose(norm.running_mean, averaged, atol=1e-3)


def test_batches_count_by_their_images(bench):
    given = bench(finetuned=True)
    execution = dataclasses.replace(given.execution, batch_size=10)
    assert given.training.sizes(10) == [10, 10, 4]
    network = with_statistics_of(given.finetuned, given.training, execution=execution, normalizer=given.normalizer)
    with torch.no_grad():
        entering = network.stem[0](in_training(given)).double()
    assert network.stem[1].running_mean.numpy() == pytest.approx(entering.mean((0, 2, 3)).numpy(), abs=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_nothing_but_statistics_is_found_anew(bench, name):
    given = bench(name, finetuned=True)
    before = {key: value.clone() for key, value in given.finetuned.state_dict().items()}
    momenta = [getattr(module, "momentum", None) for module in given.finetuned.modules()]
    network = with_statistics_of(
        given.finetuned, given.training, execution=given.execution, normalizer=given.normalizer
    )
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) != key.endswith(STATISTICS)
        assert torch.equal(given.finetuned.state_dict()[key], before[key])
    assert [getattr(module, "momentum", None) for module in network.modules()] == momenta
    assert not any(module.training for module in network.modules())


def test_refuses_to_mix_with_nothing(bench):
    with pytest.raises(UsageError, match="give it as --finetuned"):
        METHODS["wise-ft"].setup(bench())


def test_refuses_other_shapes(bench, sources):
    given = dataclasses.replace(bench(finetuned=True), source=sources("vit"))
    with pytest.raises(UsageError, match="the source has no"):
        METHODS["wise-ft"].setup(given)
