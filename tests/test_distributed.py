"""Processes that find each other, add up, and do not wait for one that is gone."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import processes
from tlaudit import distributed, meeting
from tlaudit.distributed import ALONE, Group, joined
from tlaudit.errors import DataError, DivergedError, TlauditError, UsageError
from tlaudit.failures import EndedError, is_the_end, is_told

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
QUICKLY = 60
"""Seconds within which all processes are gone after one has died; far more than it takes on a busy machine."""


@pytest.fixture
def environment(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


# What runs in the processes


def _before_weights(group):
    """Fail where the other is already at the weights of the first."""
    if group.rank == 1:
        raise DataError("no memory")
    group.spread_([torch.ones(2)])


def everything():
    """Call every method once, after having been in another group."""
    with joined("cpu") as (group, _):
        before = group.told(17 if group.leads else None)
    os.environ["MASTER_PORT"] = str(before + int(os.environ["MASTER_PORT"]) % 40000 + 1024)
    with joined("auto" if not torch.cuda.is_available() else "cpu") as (group, device):
        rank = group.rank
        whole = torch.arange(6.0).reshape(2, 3) * (rank + 1)
        turned = torch.full((3, 4), rank + 1.0).t()
        numbers = torch.tensor([rank + 1, 10 * rank])
        exact = torch.tensor(1.0 + 1e-12 * rank, dtype=torch.float64)
        leaf = torch.nn.Parameter(torch.full((5,), float(rank)))
        distributed._AT_ONCE = 18
        group.sum_([whole, numbers, turned, exact, leaf, torch.empty(0)])
        spread = [torch.full((4,), float(rank)), torch.full((9,), rank)]
        group.spread_(spread)
        group.sum_([])
        value = {"epoch": 3, "name": "größer ☃", "loss": 0.1 + 0.2, "none": None, "list": [1, "x"]}
        told = group.told(value if group.leads else None)
        told_nothing = group.told(None if group.leads else 1)
        group.wait()
        ways = (_wrongly, _with_a_crash, _between, _alone, _seeing_another, _before_weights)
        failures = [_failed(group, way) for way in ways]
        group.wait()
        return {
            "failures": failures,
            "device": device,
            "rank": rank,
            "sums": [whole, numbers, turned, exact, leaf.detach()],
            "leaf": leaf.requires_grad,
            "spread": spread,
            "told": told == value and told_nothing is None,
        }


def _failed(group, way):
    """What a process of the group hears of a failure: the error's name, what it says, whether all have it."""
    try:
        with group.agreed():
            way(group)
    except (TlauditError, RuntimeError, KeyError) as error:
        return [type(error).__name__, str(error), is_told(error)]
    return None


def _wrongly(group):
    if group.rank == 1:
        raise UsageError("no such option")


def _with_a_crash(group):
    if group.rank == 1:
        raise KeyError("planted")


def _between(group):
    """Fail where the other is already at the next thing to be done together."""
    with group.agreed():
        group.gathered(group.rank)
    if group.rank == 1:
        raise DataError("gone astray")
    group.gathered("waits for the other")


def _alone(group):
    """Fail in both, each for a reason of its own."""
    raise DataError(f"reason {group.rank}")


def _seeing_another(group):
    group.refuse_different({"weights": "same", "images": 10 + group.rank}, "at the beginning")


def fails(how: str):
    """Be in a group of which one process fails."""
    with joined("cpu") as (group, _):
        group.wait()
        if group.rank == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise UsageError("no such option")
        try:
            if how == "told":
                group.told(None)
            group.sum_([torch.ones(3)])
            group.wait()
        except DataError as error:
            sys.stderr.write(f"DataError: {error}\n")
            raise SystemExit(3) from None


HOW = ("", "never", "interrupted", "ended")


def joins():
    """Wait for the first process, which does not come; wait too long, or be told to stop meanwhile."""
    how = HOW[int(os.environ["RANK"])]
    if not how:
        return
    meeting._PATIENCE = timedelta(0)
    if how == "never":
        meeting.JOINING = timedelta(seconds=0.3)
    else:
        number = signal.SIGINT if how == "interrupted" else signal.SIGTERM
        logging.getLogger("tlaudit.meeting").addFilter(lambda _: os.kill(os.getpid(), number) is None)
    try:
        with joined("cpu"):
            sys.stderr.write("joined\n")
    except (EndedError, KeyboardInterrupt) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(3 if isinstance(error, EndedError) else 130) from None


# What is asked of them


def test_worked_example_of_parts():
    assert [Group(rank, 4).part(10) for rank in range(4)] == [slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 10)]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_the_whole(size):
    for total in range(size, 30):
        rows = [list(range(total))[Group(rank, size).part(total)] for rank in range(size)]
        assert [row for some in rows for row in some] == list(range(total))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_everyone_takes_all_of_too_few_rows():
    assert {str(Group(rank, 3).part(2)) for rank in range(3)} == {"slice(0, 2, None)"}


def test_one_alone_does_nothing():
    tensor, value = torch.tensor([1.5]), object()
    ALONE.sum_([tensor])
    ALONE.spread_([tensor])
    ALONE.wait()
    assert ALONE.told(value) is value
    assert tensor.tolist() == [1.5]
    assert ALONE.leads
    assert not Group(1, 2).leads


def test_without_torchrun_there_is_one(environment):
    for name in ("auto", "cuda:1", "mps", "nonsense"):
        with joined(name) as (group, device):
            assert (group, device) == (ALONE, name)
    environment(MASTER_ADDR="somewhere", MASTER_PORT="1")
    with joined("cpu") as (group, _):
        assert group == ALONE
    environment(RANK="0", WORLD_SIZE="1")
    with joined("cpu") as (group, _):
        assert group == ALONE


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "2"},
        {"RANK": "x"},
        {"RANK": "-1"},
        {"LOCAL_RANK": ""},
        {"LOCAL_RANK": "3"},
        {"WORLD_SIZE": "two"},
        {"WORLD_SIZE": "0"},
        {"MASTER_ADDR": ""},
        {"MASTER_PORT": "²"},
    ],
    ids=str,
)
def test_refuses_an_environment_of_no_torchrun(environment, wrong):
    environment(**{**TORCHRUN, **wrong})
    name, value = next(iter(wrong.items()))
    with pytest.raises(UsageError, match=f"{name}={value}" if value else f"no {name}"), joined("cpu"):
        pass


@pytest.mark.parametrize("name", ["mps", "cuda:0", "nonsense"])
def test_refuses_a_device_for_several(environment, name):
    environment(**TORCHRUN)
    with pytest.raises(UsageError, match=f"cannot share the device '{name}'"), joined(name):
        pass


def test_refuses_more_processes_than_devices(environment, monkeypatch):
    environment(**TORCHRUN)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="got 1 devices and at least 2 processes"), joined("cuda"):
        pass


@pytest.mark.slow
def test_every_method_in_two_processes(tmp_path):
    done = processes.results(2, __file__, "everything", tmp_path)
    assert [result["rank"] for result in done] == [0, 1]
    for result in done:
        whole, numbers, turned, exact, leaf = result["sums"]
        assert torch.equal(whole, torch.arange(6.0).reshape(2, 3) * 3)
        assert numbers.tolist() == [3, 10]
        assert numbers.dtype == torch.int64
        assert torch.equal(turned, torch.full((4, 3), 3.0))
        assert exact.item() == pytest.approx(2 + 1e-12, rel=1e-15, abs=0)
        assert leaf.tolist() == [1.0] * 5
        assert result["leaf"]
        assert [tensor.tolist() for tensor in result["spread"]] == [[0.0] * 4, [0] * 9]
        assert result["told"]
        assert result["device"] == "cpu"
        usage, crash, between, alone, seeing, weights = result["failures"]
        assert usage == ["UsageError", "no such option", True]
        assert between == ["DataError", "gone astray", True]
        assert alone == ["DataError", "reason 0", True]
        assert weights == ["DataError", "no memory", True]
        assert seeing[0] == "DataError"
        assert "the same images: process 0 of 2 has 10, process 1 has 11" in seeing[1]
        if result["rank"] == 1:
            assert crash == ["KeyError", "'planted'", True]
        else:
            assert crash == ["ElsewhereError", "in process 1 of 2: KeyError: 'planted'", True]


def test_a_failure_between_sums_is_the_end_unless_all_see_it():
    """Others wait for a sum, by which nothing can be told."""
    for error, becomes in (
        (DataError("gone"), EndedError),
        (DivergedError("up"), DivergedError),
        (UsageError("no logits"), EndedError),
        (SystemExit(0), EndedError),
        (KeyError("crash"), KeyError),
    ):
        with pytest.raises(becomes) as raised, Group(0, 2).in_step():
            raise error
        assert is_the_end(raised.value) == (becomes in {EndedError, KeyError})
        with pytest.raises(type(error)) as raised, ALONE.in_step():
            raise type(error)("alone")
        assert not is_the_end(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "told"])
def test_others_end_when_one_dies(tmp_path, how):
    begun = time.monotonic()
    (first, said), (second, complained) = processes.ended(2, __file__, "fails", tmp_path, how)
    assert time.monotonic() - begun < QUICKLY
    assert first == 3
    assert "DataError: another process of this run has ended" in said
    assert second == (-signal.SIGKILL if how == "killed" else 1)
    assert how == "killed" or "no such option" in complained


@pytest.mark.slow
def test_waits_for_no_one_who_does_not_come(tmp_path):
    _, (never, said), (interrupted, stopped), (ended, told) = processes.ended(
        4, __file__, "joins", tmp_path, within=QUICKLY
    )
    assert (never, interrupted, ended) == (3, 130, 3), said + stopped + told
    assert said.count("waiting for the others of 4 processes at 127.0.0.1:") == 1
    assert "EndedError: not all of the 4 processes of this run have met at 127.0.0.1:" in said
    assert "KeyboardInterrupt" in stopped
    assert "EndedError: ended from outside" in told


@pytest.mark.slow
def test_torchrun_ends_when_one_dies(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, torch\n"
        "from tlaudit.distributed import joined\n"
        "with joined('cpu') as (group, _):\n"
        "    group.wait()\n"
        "    if group.rank == 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    group.sum_([torch.ones(3)])\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {name: value for name, value in os.environ.items() if name not in TORCHRUN}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=QUICKLY,
        cwd=Path(__file__).parent,
    )
    assert done.returncode != 0
    assert "another process of this run has ended" in done.stderr or "SIGKILL" in done.stderr
