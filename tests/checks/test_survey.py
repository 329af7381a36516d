"""One pass for several checks gives each the bits of a pass of its own."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import tiny
import two_ways
from tlaudit import load_pair
from tlaudit.checks import survey as surveys
from tlaudit.checks.assembly import assemble
from tlaudit.checks.compared import compare
from tlaudit.checks.recognition import recognise
from tlaudit.checks.survey import recognise_source, survey
from tlaudit.config import settle
from tlaudit.errors import DataError
from two_ways import CLASSES, OTHER, PREPROCESS, STAGES

PER_CLASS = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return two_ways.build(tmp_path_factory.mktemp("survey"), PER_CLASS)


def subject_of(world, *, baseline=True, baseline_arch=None, batch_size=6, seed=0, finetuned="finetuned.pth"):
    control = str(world / "baseline.pth") if baseline else None
    pair = load_pair(
        str(world / "source.pth"), str(world / finetuned), control, arch=tiny.OWN, baseline_arch=baseline_arch
    )
    execution = {"device": "cpu", "workers": 0, "batch_size": batch_size, "seed": seed}
    settings = settle({"data": {"source": world / "images"}, "preprocess": PREPROCESS, "execution": execution})
    return assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution, needed=())


def stages_of(subject):
    roles = ("source", "finetuned", *(("baseline",) if subject.pair.baseline is not None else ()))
    return dict.fromkeys(roles, STAGES)


def compared_alone(subject):
    pair = subject.pair
    modules = {"source": pair.source.module, "finetuned": pair.hybrid()}
    modules |= {"baseline": pair.baseline.module} if pair.baseline is not None else {}
    networks = {role: subject.network(module, role) for role, module in modules.items()}
    return compare(subject, subject.source.images, networks, stages_of(subject), keep=True)


def assert_same(ours, theirs):
    """Everything that either check takes out of a pass."""
    assert ours.stages == theirs.stages
    assert ours.reasons == theirs.reasons
    assert ours.index.equal(theirs.index)
    assert all(ours.predicted[role].equal(theirs.predicted[role]) for role in ("source", "finetuned"))
    assert ours.matrix == theirs.matrix
    assert ours.record == theirs.record
    assert all(ours.kept[role].equal(theirs.kept[role]) for role in theirs.kept)
    assert ours.cka.keys() == theirs.cka.keys()
    assert all(ours.cka[role].matrix().equal(theirs.cka[role].matrix()) for role in theirs.cka)
    for role, spectra in theirs.spectra.items():
        assert all(ours.spectra[role][path].eigenvalues.equal(one.eigenvalues) for path, one in spectra.items())


def assert_recognised_alike(ours, theirs):
    assert ours.labels.equal(theirs.labels)
    assert ours.record == theirs.record
    assert ours.own.keys() == theirs.own.keys()
    for name, own in theirs.own.items():
        assert ours.own[name].equal(own)
        assert ours.right[name].equal(theirs.right[name])


@pytest.mark.parametrize(
    "given", [{}, {"baseline": False}, {"baseline_arch": OTHER}, {"batch_size": 20, "seed": 3}], ids=str
)
def test_gives_the_bits_of_two_passes(world, given):
    subject = subject_of(world, **given)
    found = survey(subject, stages_of(subject), features="pooled", keep=True)
    assert_recognised_alike(found.recognition, recognise_source(subject))
    assert_same(found.compared, compared_alone(subject))


@pytest.mark.parametrize(("arch", "networks"), [(None, 3), (OTHER, 4)])
def test_the_baseline_runs_beside_the_control_only_where_its_features_differ(world, monkeypatch, arch, networks):
    asked = []
    original = surveys.compare
    monkeypatch.setattr(surveys, "compare", lambda *args, **more: asked.append(args[2]) or original(*args, **more))
    subject = subject_of(world, baseline_arch=arch)
    survey(subject, stages_of(subject), features="pooled", keep=False)
    assert len(asked[0]) == networks


def test_what_has_been_found_is_not_looked_for_again(world, monkeypatch):
    subject = subject_of(world)
    found = survey(subject, stages_of(subject), features="pooled", keep=False)
    monkeypatch.setattr(surveys, "recognise", None)
    known = dataclasses.replace(subject, survey=found)
    assert recognise_source(known) is found.recognition
    without = recognise_source(known, control=False)
    assert without.own.keys() == without.right.keys() == {"source", "hybrid"}
    assert without.record is found.recognition.record


def test_recognition_is_in_the_order_of_the_set(world):
    """The images come in an order drawn by the seed, which leaves no trace but in the last bits."""
    subject = subject_of(world)
    networks = {"source": subject.network(subject.pair.source.module, "source")}
    plain = recognise(subject, subject.source, networks, "images")
    mixed = recognise(subject, subject.source, networks, "images", subject.mixed(subject.source.images))
    assert subject.mixed(subject.source.images) != list(range(CLASSES * PER_CLASS))
    assert mixed.labels.equal(plain.labels)
    assert torch.allclose(mixed.own["source"], plain.own["source"], atol=1e-6)
    assert mixed.record == plain.record


def test_the_control_is_left_out_where_nobody_wants_it(world):
    found = recognise_source(subject_of(world), control=False)
    assert found.own.keys() == {"source", "hybrid"}


def test_refuses_answers_that_are_no_numbers(world, tmp_path):
    net = tiny.own(2, 2)
    with torch.no_grad():
        net.blocks[1].weight.fill_(3e38)
        net.blocks[0].bias.fill_(3e38)
    tiny.saved(tmp_path / "huge.pth", net)
    subject = subject_of(world, finetuned=tmp_path / "huge.pth")
    with pytest.raises(DataError, match="the hybrid network gives no number"):
        survey(subject, stages_of(subject), features="pooled", keep=False)
