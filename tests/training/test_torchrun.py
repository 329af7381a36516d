"""The training loop in several processes ends where it ends in one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import processes
from small_training import CPU, EXECUTION, SMALL, images_in, options
from tlaudit.distributed import ALONE, joined
from tlaudit.errors import DivergedError
from tlaudit.models.preprocess import Normalizer
from tlaudit.training.loop import Training, train
from tlaudit.training.objective import CrossEntropy
from tlaudit.training.state import SavedState
from tlaudit.training.steps import StepFile

pytestmark = pytest.mark.slow

WORLD = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
TRAININGS = {
    "uneven parts": options(epochs=2, batch_size=5),
    "sgd": options(optimizer="sgd", batch_size=7, clip=0.1, crop_scale=0.5, jitter=0.3),
    "frozen": options(batch_size=8, batch_norm="frozen", weight_decay=0.5),
    "single images": options(epochs=1, batch_size=1, batch_norm="frozen"),
}


class Net(nn.Module):
    """No bias before a batch norm: its gradient is 0 but for rounding, which AdamW makes steps of."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(6, 6, 3, bias=False),
            nn.BatchNorm2d(6, momentum=None),
            nn.ReLU(),
            nn.Dropout(0.3),
        )
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


class Exploding(CrossEntropy):
    """Is no number from the sixth step on, for the images of the last process alone."""

    def __call__(self, network, inputs):
        terms = super().__call__(network, inputs)
        last = inputs.part.stop == inputs.part.total
        return {name: term * torch.inf if inputs.step == 5 and last else term for name, term in terms.items()}


def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval().requires_grad_(False)


def run(data, given, group, **more):
    normalizer = Normalizer(SMALL, CPU)
    return train(net(), data, given, execution=EXECUTION, normalizer=normalizer, seed=3, group=group, **more)


def everything(data, place, group):
    """Weights after all the trainings, and what is told of some."""
    done = {name: run(data, given, group).network for name, given in TRAININGS.items()}
    told = {}
    ways = Path(place)

    answers = iter([0.5, 0.75, 0.25, 0.75])
    validate = (lambda _: next(answers)) if group.leads else (lambda _: pytest.fail("asked beside rank zero"))
    best = run(
        data, options(epochs=5), group, validate=validate, patience=2, step_file=StepFile(ways / f"{group.size}.csv")
    )
    done["best"], told["best"] = best.network, [best.kept, len(best.history), best.stopped]

    saved = SavedState(ways / f"{group.size}.state", {"n": 1}, every=1)
    stopping = iter([False] * 4 + [True])
    try:
        run(data, options(), group, saved=saved, objective=Stopping(stopping))
    except InterruptedError:
        told["stopped"] = True
    done["resumed"] = run(data, options(), group, saved=saved, resume=True).network
    done["not stopped"] = run(data, options(), group).network

    try:
        run(data, options(), group, objective=Exploding())
    except DivergedError as error:
        told["diverged"] = str(error)
        done["diverged"] = error.trained.network
    told["ordinary"] = sorted({type(module).__mro__[1].__name__ for module in done["best"].modules()})
    return {"weights": {name: dict(network.state_dict()) for name, network in done.items()}, "told": told}


class Stopping(CrossEntropy):
    """Fails in a step that an iterator chooses."""

    def __init__(self, stopping) -> None:
        self._stopping = stopping

    def __call__(self, network, inputs):
        if next(self._stopping):
            raise InterruptedError
        return super().__call__(network, inputs)


def work(folder, place):
    """What each process does."""
    with joined("cpu") as (group, _):
        return everything(images_in(Path(folder)), place, group)


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    place = tmp_path_factory.mktemp("alone")
    return everything(data, place, ALONE) | {"rows": rows_in(place / "1.csv")}


@pytest.fixture(scope="module")
def together(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("together")
    done = processes.results(2, __file__, "work", place, str(folder), str(place))
    return {"done": done, "rows": rows_in(place / "2.csv"), "files": sorted(path.name for path in place.iterdir())}


def rows_in(path):
    names, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


@pytest.mark.parametrize("name", [*TRAININGS, "best", "resumed", "diverged"])
def test_ends_at_the_weights_of_one_process(together, alone, name):
    first, second = (result["weights"][name] for result in together["done"])
    assert all(torch.equal(first[key], second[key]) for key in first)
    close(first, alone["weights"][name])
    start = net().state_dict()
    assert not torch.equal(first["fc.weight"], start["fc.weight"])


def close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert (ours[key] - value).double().norm() <= 1e-5 * value.double().norm(), key


def test_goes_on_bit_for_bit_after_a_stop(together):
    for result in together["done"]:
        resumed, whole = result["weights"]["resumed"], result["weights"]["not stopped"]
        assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_tells_the_same_as_one_process(together, alone):
    assert alone["told"]["best"] == [1, 4, True]
    for result in together["done"]:
        assert result["told"] == alone["told"]
    assert len(alone["rows"]) == len(together["rows"]) == 12
    for ours, theirs in zip(together["rows"], alone["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_rank_zero_alone_writes(together):
    assert together["files"] == [
        "2.csv",
        "2.state",
        *(f"work-{rank}.{kind}" for rank in range(2) for kind in ("pt", "txt")),
    ]


def test_a_training_in_one_process_is_not_prepared(data):
    training = Training(net(), data, options(), execution=EXECUTION, normalizer=Normalizer(SMALL, CPU), seed=0)
    assert [type(module) for module in training.network.modules()] == [type(module) for module in net().modules()]


@pytest.mark.slow
def test_torchrun_starts_it(folder, alone, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, torch\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]\n"
        "import test_torchrun\n"
        "torch.set_num_threads(1)\n"
        "rank = os.environ['RANK']\n"
        "torch.save(test_torchrun.work(sys.argv[1], sys.argv[2]), f'{sys.argv[2]}/{rank}.pt')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {name: value for name, value in os.environ.items() if name not in WORLD} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(folder), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in TRAININGS:
            close(result["weights"][name], alone["weights"][name])
