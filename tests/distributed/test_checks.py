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

pytestmark = pytest.mark.slow

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
PASSES = ("lingering", "lingering in one batch", "erosion", "distraction", "distraction in parts")
LONG = ("erosion flat", "stress", "stress again", "audit", "repair")
"""Left to the slow tests; the last two are told by two processes, and not again by three."""
WORLDS = [
    (2, PASSES),
    pytest.param((2, LONG), marks=pytest.mark.slow),
    pytest.param((3, (*PASSES, *LONG[:3])), marks=pytest.mark.slow),
]


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


def found(pair, root, place, group, name):
    """What one case finds; files are written on the way."""
    if name == "audit":
        checks = {"checks": ("lingering", "distraction", "erosion")}
        return dumped(run_audit(pair, settings(root, 8, audit=checks), group=group))
    if name == "repair":
        given = settings(root, 8, repair=REPAIR | {"train": root / "target"})
        places = Places(place / "net.safetensors", place / "steps.csv", resume=False, others={})
        return dumped(run_repair(pair.source, None, given, places, group=group)).replace(str(place), "here")
    kind, batch_size, options = CASES[name.removesuffix(" again")]
    if name == "distraction":
        options = options | {"save_rows": place / "rows.csv", "save_composites": place / "composites"}
    if kind == "stress":
        options = options | {"runs": place / "runs"}
    return check(pair, root, group, kind, batch_size, **options)


def work(root, place, *names):
    with joined("cpu") as (group, _), group.agreed():
        pair = networks(Path(root))
        return {name: found(pair, Path(root), Path(place), group, name) for name in names}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return several.build(tmp_path_factory.mktemp("world"))


class Alone(dict):
    """What one process finds, found when it is first asked for."""

    def __init__(self, root, place):
        super().__init__()
        self.root, self.place, self.pair = root, place, networks(root)

    def __missing__(self, name):
        self[name] = found(self.pair, self.root, self.place, ALONE, name)
        return self[name]


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    return Alone(world, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", params=WORLDS, ids=["2-passes", "2-long", "3"])
def together(world, tmp_path_factory, request):
    place, told = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("told")
    size, names = request.param
    return place, processes.results(size, __file__, "work", told, str(world), str(place), *names)


def test_finds_what_one_process_finds(together, alone):
    for name, ours in together[1][0].items():
        assert {result[name] for result in together[1]} == {ours}
        close(json.loads(ours), json.loads(alone[name]), 1e-4 if name == "repair" else 1e-6, name)


def test_not_a_bit_differs_where_batches_are_the_same(together, alone):
    same = {name: ours for name, ours in together[1][0].items() if name in EXACT}
    assert same
    assert same == {name: alone[name] for name in same}


def test_similarities_of_erosion_are_the_same_bits(together, alone):
    """Each minibatch is one process's, and they are put in the order of the pass before any is drawn again."""
    name = "erosion" if "erosion" in together[1][0] else "erosion flat"
    ours, theirs = (json.loads(text)["measurements"] for text in (together[1][0][name], alone[name]))
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
    (ours, done), theirs = together, alone.place
    for name in done[0]:
        assert alone[name]
    if "distraction" in done[0]:
        assert (ours / "rows.csv").read_bytes() == (theirs / "rows.csv").read_bytes()
        drawn = [{path.relative_to(place) for path in (place / "composites").rglob("*.*")} for place in (ours, theirs)]
        assert drawn[0] == drawn[1]
        assert len(drawn[0]) > 2
        for path in drawn[0]:
            assert (ours / path).read_bytes() == (theirs / path).read_bytes()
    if "stress" in done[0]:
        assert len(list((ours / "runs").iterdir())) == 2
    trained = {"net.safetensors", "net.safetensors.state", "steps.csv"}
    assert trained & {path.name for path in ours.iterdir()} == (trained if "repair" in done[0] else set())
