"""What every repair method promises."""

from __future__ import annotations

import copy
import dataclasses
import functools
import random

import numpy as np
import pytest
import torch

from tlaudit.checks.base import LabelledImages
from tlaudit.data.images import NO_IMAGES
from tlaudit.data.picture_pool import PicturePool
from tlaudit.errors import TlauditError
from tlaudit.options.repair import RepairOptions
from tlaudit.repair import METHODS
from tlaudit.training.loop import Training

ORDER = ["plain", "linear-probe", "lp-ft", "ldifs", "l2sp", "lwf", "wise-ft", "composites", "unlearn", "l1", "prune"]
TRAINED = [name for name in ORDER if name not in {"linear-probe", "wise-ft"}]
NOTHING = {
    "ldifs": {"ldifs": {"weight": 0}},
    "l2sp": {"l2sp": {"alpha": 0, "beta": 0}},
    "lwf": {"lwf": {"weight": 0}},
    "composites": {"composites": {"share": 0}},
    "unlearn": {"unlearn": {"weight": 0}},
    "l1": {"l1": {"weight": 0}},
}
WEIGHED = {
    "ldifs": ("ldifs", "weight", (0.1, 100.0)),
    "l2sp": ("l2sp", "alpha", (0.01, 10.0)),
    "lwf": ("lwf", "weight", (0.01, 100.0)),
    "unlearn": ("unlearn", "weight", (0.01, 100.0)),
    "l1": ("l1", "weight", (0.01, 100.0)),
}


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def made(method, bench, train, **training):
    """The network a method ends with."""
    setup = METHODS[method].setup(bench)
    if setup.objective is None:
        return setup.network
    return train(bench, setup, **training)[0].network


def fingerprint(module):
    """All of a network that a method could disturb."""
    return (
        [module.training for module in module.modules()],
        [parameter.requires_grad for parameter in module.parameters()],
        [parameter.grad is None for parameter in module.parameters()],
        [len(child._forward_hooks) + len(child._forward_pre_hooks) for child in module.modules()],
    )


def test_the_table_is_that_of_the_methods_in_its_order():
    assert list(METHODS) == ORDER
    for name, method in METHODS.items():
        assert method.name == name
        assert method.summary
        assert method.init in method.inits or (name == "wise-ft" and not method.inits)
        assert "." not in method.summary


@pytest.mark.parametrize("name", ORDER)
def test_networks_that_are_lent_come_back_as_they_were(bench, train, name):
    given = bench(finetuned=True)
    lent = (given.source.module, given.start, given.finetuned)
    before = [(state(module), fingerprint(module)) for module in lent]
    torch.manual_seed(3)
    generators = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    made(name, given, train)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == generators[1:]
    for module, (weights, rest) in zip(lent, before, strict=True):
        assert same(state(module), weights)
        assert fingerprint(module) == rest


@pytest.mark.parametrize("name", ORDER)
def test_same_seed_same_weights(bench, train, name):
    first, second = (made(name, bench(finetuned=True), train) for _ in range(2))
    assert same(state(first), state(second))


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_moves_the_weights(bench, train, name):
    given = bench()
    assert not same(state(made(name, given, train)), state(given.start))


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(bench, name):
    given = bench(lingering=(2,), prune={"percentile": 30})
    options = given.options.training.model_copy(update={"epochs": 2, "batch_size": 8, "learning_rate": 0.01})

    def training():
        setup = METHODS[name].setup(given)
        lent = {"execution": given.execution, "normalizer": given.normalizer, "seed": 0}
        return Training(setup.network, setup.images, options, objective=setup.objective, **lent)

    whole, first, second = training(), training(), training()
    for step in whole.run():
        last = step
    for step in first.run():
        if step.number == 3:
            break
    second.restore(copy.deepcopy(first.state()))
    assert [step.number for step in second.run()] == list(range(4, last.number + 1))
    assert same(state(second.network), state(whole.network))


@pytest.mark.parametrize("name", NOTHING)
def test_weight_0_is_plain_bit_for_bit(bench, train, name):
    plain = made("plain", bench(), train)
    assert same(state(made(name, bench(**NOTHING[name]), train)), state(plain))


@pytest.mark.parametrize("name", NOTHING)
def test_another_weight_than_0_is_not_plain(bench, train, name):
    plain = made("plain", bench(), train)
    assert not same(state(made(name, bench(**{name: {}}), train)), state(plain))


@pytest.mark.parametrize("name", WEIGHED)
def test_penalty_falls_as_its_weight_rises(bench, train, name):
    section, option, weights = WEIGHED[name]
    left = []
    for weight in weights:
        given = bench(init="source", **{section: {option: weight}})
        _, steps = train(given, METHODS[name].setup(given), epochs=6)
        penalties = [sum(v for k, v in step.losses.items() if k != "cross_entropy") / weight for step in steps[-3:]]
        left.append(sum(penalties))
    assert left[1] < left[0]


@pytest.mark.parametrize("name", ORDER)
def test_what_a_method_needs_is_asked_for_and_nothing_else(bench, name):
    needs = METHODS[name].needs
    given = bench(finetuned="finetuned" in needs)
    if "source_data" not in needs:
        nothing = LabelledImages(NO_IMAGES, torch.zeros(0, dtype=torch.int64))
        given = dataclasses.replace(given, source_images=nothing)
    if "lingering" not in needs:
        given = dataclasses.replace(given, lingering=())
    setup = METHODS[name].setup(given)
    assert (setup.objective is None) == (name in {"linear-probe", "wise-ft"})
    assert not {finding.code for finding in setup.findings} & {"repair.nothing_lingers"}


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.needs])
def test_what_is_missing_is_said(bench, name):
    needs = METHODS[name].needs
    given = bench()
    if "source_data" in needs:
        nothing = LabelledImages(NO_IMAGES, torch.zeros(0, dtype=torch.int64))
        given = dataclasses.replace(given, source_images=nothing)
    with pytest.raises(TlauditError, match=r"expected images|finetuned network"):
        METHODS[name].setup(given)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "lingering" in method.needs])
def test_where_nothing_lingers_it_is_plain_and_says_so(bench, train, name):
    given = bench(lingering=())
    setup = METHODS[name].setup(given)
    assert [finding.code for finding in setup.findings] == ["repair.nothing_lingers"]
    assert same(state(made(name, given, train)), state(made("plain", given, train)))


def test_every_option_record_belongs_to_a_method():
    sections = {name for name in RepairOptions.model_fields if name.replace("_", "-") in METHODS}
    assert {name.replace("_", "-") for name in sections} == set(ORDER) - {"plain", "linear-probe", "lp-ft"}


@pytest.mark.parametrize("name", ["composites", "unlearn"])
def test_source_images_that_are_not_drawn_from_are_said(bench, monkeypatch, name):
    assert METHODS[name].setup(bench()).findings == ()
    monkeypatch.setattr(PicturePool, "load", functools.partial(PicturePool.load, most=3))
    (finding,) = METHODS[name].setup(bench()).findings
    assert finding.code == "repair.pictures_left_out"
    assert "3 of 8 images of lingering classes; 0 could not be read, and 5 had no room" in finding.message
