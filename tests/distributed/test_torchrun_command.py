"""The command as torchrun starts it, against the same in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WORLD = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
FIXTURES = Path(__file__).parents[2] / "fixtures"
DATA = Path(os.environ.get("TLAUDIT_REAL_DATA", "")).resolve()
real = [pytest.mark.realdata, pytest.mark.skipif("TLAUDIT_REAL_DATA" not in os.environ, reason="no real data")]


def demo():
    checkpoints = FIXTURES / "checkpoints"
    return {
        "--source": checkpoints / "source.safetensors",
        "--finetuned": checkpoints / "finetuned.safetensors",
        "--baseline": checkpoints / "baseline.safetensors",
        "--source-data": FIXTURES / "source",
        "--target-data": FIXTURES / "target" / "train",
        "--val-data": FIXTURES / "target" / "val",
    }


def squeezenets():
    checkpoints = DATA / "checkpoints"
    return {
        "--source": checkpoints / "squeezenet1_1-imagenet.pth",
        "--finetuned": checkpoints / "squeezenet1_1-dogs-vs-cats.pth",
        "--baseline": checkpoints / "squeezenet1_1-dogs-vs-cats-scratch.pth",
        "--source-data": DATA / "imagenet-samples",
        "--target-data": DATA / "dogs-vs-cats" / "train",
        "--val-data": DATA / "dogs-vs-cats" / "val",
    }


def ran(given, place, *, processes):
    """The document of a command, without what the clock touches."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else ()), "-m", "tlaudit", "lingering", "--no-cache"]
    command += [str(part) for pair in given.items() for part in pair]
    command += ["--device", "cpu", "-q", "-o", str(place)]
    environment = {name: value for name, value in os.environ.items() if name not in WORLD} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    document = json.loads(place.read_text(encoding="utf-8"))
    del document["run"]
    return json.dumps(document)


@pytest.mark.parametrize("given", [demo, pytest.param(squeezenets, marks=real)])
def test_writes_the_document_of_one_process(given, tmp_path):
    alone, together = (ran(given(), tmp_path / f"{number}.json", processes=number) for number in (1, 2))
    assert together == alone


def test_torchrun_tells_that_the_command_failed(tmp_path):
    """Its own code is 1, whatever ours is; what ours are it prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {name: value for name, value in os.environ.items() if name not in WORLD} | {"OMP_NUM_THREADS": "1"}
    given = {**demo(), "--target-data": tmp_path}
    arguments = [str(part) for pair in given.items() for part in pair]
    done = subprocess.run(
        [*command, "-m", "tlaudit", "lingering", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.count("expected images") == 1
    assert "exitcode  : 3" in done.stderr
