"""Every check, an audit and a repair in two and three processes, against the same in one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import processes
import several
from tlaudit import load_pair
from tlaudit.auditing.session import run_audit
from tlaudit.checks import run_check
from tlaudit.checks.assembly import assemble
from tlaudit.config import settle
from tlaudit.distributed import ALONE, joined
from tlaudit.repair.places import Places
from tlaudit.repair.session import run as run_repair

STAGES = ("features.0", "features.3", "features.5")
OPTIONS = {
    "lingering": {"k": 1, "v_lo": 1.0, "p_lo": 0.01, "bootstrap": 100},
    "distraction": {"per_class": 3, "overlays": 6, "layer": "features.3", "bootstrap": 100, "gallery": 3},
    "erosion": {"stages": STAGES, "bootstrap": 100},
    "stress": {"stages": STAGES, "ratios": (0, 1), "bootstrap": 100, "training": {"epochs": 1, "batch_size": 8}},
}
REPAIR = {
    "methods": ("plain",),
    "training": {"epochs": 1, "batch_size": 7},
    "judge": {"classes": 4, "per_class": 3},
}
CASES = {
    "lingering": ("lingering", 8, {}),
    "lingering in one batch": ("lingering", 64, {}),
    "erosion": ("erosion", 8, {"full_matrix": True}),
    "erosion flat": ("erosion", 64, {"features": "flat", "probe": True}),
    "distraction": ("distraction", 6, {}),
    "distraction in parts": ("distraction", 8, {"max_classes": 3}),
    "stress": ("stress", 8, {}),
}
EXACT = ("lingering", "lingering in one batch", "erosion flat", "distraction")
"""Whose batches hold what they hold in one process, and which add up no sums in another order: not a bit differs."""
LONG = ("erosion flat", "audit", "repair")
"""Told by two processes, and not again by three."""


def settings(root, batch_size, **sections):
    data = {"source": root / "images", "target": root / "target", "val": root / "val"}
    execution = {"device": "cpu", "workers": 0, "batch_size": batch_size}
    return settle({"data": data, "preprocess": several.PREPROCESS, "execution": execution} | OPTIONS | sections)


def networks(root):
    return load_pair(*(str(root / f"{name}.pth") for name in ("source", "finetuned", "baseline")), arch=several.ARCH)


def dumped(result):
    document = json.loads(result.to_json())
    del document["run"]
    for check in document.get("checks", []):
        del check["run"]
    return json.dumps(document)


def check(pair, root, group, name, batch_size, **options):
    given = settings(root, batch_size, **{name: OPTIONS[name] | options})
    subject = assemble(
        pair,
        given.data.model_copy(update={"target": None, "val": None}) if name == "stress" else given.data,
        preprocess=given.preprocess,
        execution=given.execution,
        needed=(),
        group=group,
    )
    return dumped(run_check(name, subject, given))


def everything(root, place, group):
    """What each case finds, and the files that are written on the way."""
    pair = networks(root)
    found = {}
    for name, (kind, batch_size, options) in CASES.items():
        if name in LONG and group.size > 2:
            continue
        if name == "distraction":
            options = options | {"save_rows": place / "rows.csv", "save_composites": place / "composites"}
        if name == "stress":
            options = options | {"runs": place / "runs"}
        found[name] = check(pair, root, group, kind, batch_size, **options)
    found["stress again"] = check(pair, root, group, "stress", 8, runs=place / "runs")
    if group.size > 2:
        return found
    checks = {"checks": ("lingering", "distraction", "erosion")}
    found["audit"] = dumped(run_audit(pair, settings(root, 8, audit=checks), group=group))
    given = settings(root, 8, repair=REPAIR | {"train": root / "target"})
    places = Places(place / "net.safetensors", place / "steps.csv", resume=False, others={})
    told = dumped(run_repair(pair.source, None, given, places, group=group))
    found["repair"] = told.replace(str(place), "here")
    return found


def work(root, place):
    with joined("cpu") as (group, _), group.agreed():
        return everything(Path(root), Path(place), group)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return several.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("alone")
    return place, everything(world, place, ALONE)


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def together(world, tmp_path_factory, request):
    place, told = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("told")
    return place, processes.results(request.param, __file__, "work", told, str(world), str(place))


def left_out(done, name):
    """Whether three processes were not asked about it, two having been."""
    return len(done) > 2 and name in LONG


@pytest.mark.parametrize("name", [*CASES, "stress again", "audit", "repair"])
def test_finds_what_one_process_finds(together, alone, name):
    _, done = together
    if left_out(done, name):
        assert name not in done[0]
        return
    assert len({result[name] for result in done}) == 1
    close(json.loads(done[0][name]), json.loads(alone[1][name]), 1e-4 if name == "repair" else 1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_not_a_bit_differs_where_batches_are_the_same(together, alone, name):
    done = together[1]
    assert left_out(done, name) or done[0][name] == alone[1][name]


def test_similarities_of_erosion_are_the_same_bits(together, alone):
    """Each minibatch is one process's, and they are put in the order of the pass before any is drawn again."""
    ours, theirs = (json.loads(found["erosion"])["measurements"] for found in (together[1][0], alone[1]))
    same = [(one, other) for one, other in zip(ours, theirs, strict=True) if ".cka" in one["name"]]
    assert len(same) > 2
    assert all(one == other for one, other in same)


def close(ours, theirs, tolerance, where=""):
    """Counts and words the same, numbers to rounding."""
    assert type(ours) is type(theirs), where
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        # Weights that were trained together differ by rounding, and so do their hashes.
        for key in theirs.keys() - {"sha256"} if "method" in theirs else theirs:
            close(ours[key], theirs[key], tolerance, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            close(one, other, tolerance, f"{where}[{number}]")
    elif isinstance(theirs, float):
        assert math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance), (where, ours, theirs)
    else:
        assert ours == theirs, (where, ours, theirs)


def test_files_are_those_of_one_process(together, alone):
    """Written by the one that leads, and by nobody else."""
    ours, theirs = together[0], alone[0]
    trained = {"net.safetensors", "net.safetensors.state", "steps.csv"}
    named = [{str(path.relative_to(place)) for path in place.rglob("*.*")} for place in (ours, theirs)]
    ran, expected = ({name for name in names - trained if not name.startswith("runs")} for names in named)
    assert ran == expected
    assert trained <= named[1]
    assert len(together[1]) > 2 or trained <= named[0]
    assert (ours / "rows.csv").read_bytes() == (theirs / "rows.csv").read_bytes()
    for path in (theirs / "composites").rglob("*.*"):
        assert (ours / path.relative_to(theirs)).read_bytes() == path.read_bytes()
    assert len(list((ours / "runs").iterdir())) == 2
