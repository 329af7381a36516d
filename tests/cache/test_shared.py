"""What one command keeps another one finds: single checks, the pass they share, and several processes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import processes
import tiny
import two_ways
from tlaudit import load_pair
from tlaudit.checks import asking, followed
from tlaudit.checks.assembly import assemble
from tlaudit.checks.compared import compare
from tlaudit.checks.prevalence import shown_classes
from tlaudit.checks.survey import recognise_source, survey
from tlaudit.config import settle
from tlaudit.distributed import ALONE, joined
from two_ways import CLASSES, OTHER, PREPROCESS, STAGES

PER_CLASS = 7


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = two_ways.build(tmp_path_factory.mktemp("shared"), PER_CLASS)
    (root / "images" / "0" / "broken.png").write_bytes(b"broken")
    return root


def subject_of(world, folder, *, baseline_arch=None, group=ALONE):
    networks = [str(world / f"{name}.pth") for name in ("source", "finetuned", "baseline")]
    pair = load_pair(*networks, arch=tiny.OWN, baseline_arch=baseline_arch)
    execution = {"device": "cpu", "workers": 0, "batch_size": 4, "cache": folder is not None, "cache_dir": folder}
    sections = {
        "data": {"source": world / "images", "target": world / "images"},
        "preprocess": PREPROCESS,
        "execution": execution,
    }
    settings = settle(sections)
    return assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution, group=group)


def stages():
    return dict.fromkeys(("source", "finetuned", "baseline"), STAGES)


def compared_alone(subject, *, features="pooled", keep=True):
    """As `tlaudit erosion` does it."""
    pair = subject.pair
    modules = {"source": pair.source.module, "finetuned": pair.hybrid(), "baseline": pair.baseline.module}
    networks = {role: subject.network(module, role) for role, module in modules.items()}
    return compare(subject, subject.source.images, networks, stages(), features=features, keep=keep)


def numbers(found):
    """All of a record's numbers and words, as plain values and lists, in their order."""
    if isinstance(found, torch.Tensor):
        return found.tolist()
    if hasattr(found, "resampled"):
        generator = np.random.default_rng(0)
        return [found.batches, numbers(found.matrix()), numbers(found.resampled(STAGES[0], STAGES[1], 50, generator))]
    if dataclasses.is_dataclass(found):
        return {field.name: numbers(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if isinstance(found, dict):
        return [(key, numbers(value)) for key, value in found.items()]
    return [numbers(one) for one in found] if isinstance(found, tuple | list) else repr(found)


@pytest.mark.parametrize("arch", [None, OTHER])
def test_an_audit_finds_what_single_checks_kept_and_they_what_it_kept(world, tmp_path, asked, arch):
    def subject(folder):
        return subject_of(world, folder, baseline_arch=arch)

    alone = numbers(compared_alone(subject(None))), numbers(recognise_source(subject(None)))
    together = numbers(survey(subject(None), stages(), features="pooled", keep=True))
    asked.clear()
    single = tmp_path / "single"
    assert (numbers(compared_alone(subject(single))), numbers(recognise_source(subject(single)))) == alone
    assert sum(asked) == 6 * CLASSES * PER_CLASS
    asked.clear()
    assert numbers(survey(subject(single), stages(), features="pooled", keep=True)) == together
    assert not asked
    audit = tmp_path / "audit"
    assert numbers(survey(subject(audit), stages(), features="pooled", keep=True)) == together
    assert asked
    asked.clear()
    assert numbers(survey(subject(audit), stages(), features="pooled", keep=True)) == together
    assert (numbers(compared_alone(subject(audit))), numbers(recognise_source(subject(audit)))) == alone
    assert not asked


def test_a_pass_of_which_a_part_is_known_asks_for_the_rest(world, tmp_path, asked):
    compared_alone(subject_of(world, tmp_path))
    asked.clear()
    survey(subject_of(world, tmp_path), stages(), features="pooled", keep=True)
    assert sum(asked) == 3 * CLASSES * PER_CLASS
    asked.clear()
    # Who recognises without the control finds the others.
    recognise_source(subject_of(world, tmp_path), control=False)
    assert not asked


@pytest.mark.parametrize("given", [{"features": "flat"}, {"keep": False}], ids=str)
def test_other_features_are_other_questions(world, tmp_path, asked, given):
    compared_alone(subject_of(world, tmp_path))
    asked.clear()
    found = compared_alone(subject_of(world, tmp_path), **given)
    assert sum(asked) == 3 * CLASSES * PER_CLASS
    assert numbers(found) == numbers(compared_alone(subject_of(world, None), **given))


def in_processes(world, folder):
    """What runs in each process: a first and a second time, and how often networks were asked."""
    counts = []
    original = asking.class_scores
    asking.class_scores = followed.class_scores = lambda network, pixels: (
        counts.append(len(pixels)) or original(network, pixels)
    )
    with joined("cpu") as (group, _):
        told = []
        for _ in range(2):
            subject = subject_of(Path(world), Path(folder), group=group)
            seen = numbers(shown_classes(subject, 2)), numbers(recognise_source(subject))
            told.append((repr(seen), repr(numbers(compared_alone(subject))), sum(counts)))
            counts.clear()
        files = len(os.listdir(folder)) if group.leads else 0
        group.wait()
    return told, files


@pytest.mark.slow
def test_processes_that_work_together_all_go_the_same_way(world, tmp_path):
    folder = tmp_path / "cache"
    found = processes.results(2, __file__, "in_processes", tmp_path, str(world), str(folder))
    subject = subject_of(world, None)
    expected = repr((numbers(shown_classes(subject, 2)), numbers(recognise_source(subject))))
    for (first, second), _ in found:
        assert first[0] == second[0] == expected
        assert first[1] == second[1]
        assert second[2] == 0
    assert sum(first[2] for (first, _), _ in found) == 7 * CLASSES * PER_CLASS
    assert found[0][1] == 5
