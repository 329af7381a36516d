"""The same commands again and again, on small networks: which bytes they leave, and in which numbers documents differ.

As a script it is a process that runs them, for what is settled when Python starts:
``repeated.py WORLD FOLDER FILE COMMAND...``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from datetime import datetime
from pathlib import Path
from unittest import mock

import torch

import several
from commanded import command
from tlaudit.checks import base
from tlaudit.cli import gate
from tlaudit.results import Run

SETTINGS = """
[models]
source = "{root}/source.pth"
finetuned = "{root}/finetuned.pth"
baseline = "{root}/baseline.pth"
arch = "{arch}"
[data]
source = "{root}/images"
target = "{root}/target"
val = "{root}/val"
[preprocess]
resize = 16
crop = 16
[execution]
device = "cpu"
workers = 0
batch_size = 8
[lingering]
k = 1
v_lo = 1.0
p_lo = 0.01
bootstrap = 100
[distraction]
layer = "features.3"
per_class = 3
bootstrap = 100
gallery = 1
[erosion]
stages = ["features.0", "features.3"]
full_matrix = true
bootstrap = 100
[stress]
stages = ["features.0", "features.3"]
ratios = [0.0, 1.0]
bootstrap = 100
training = {{ epochs = 1, batch_size = 8 }}
[screen]
lingering = "{root}/lingering.json"
calibrate = "{root}/val"
per_class = 2
bootstrap = 100
[repair]
methods = ["l2sp"]
train = "{root}/target"
training = {{ epochs = 1, batch_size = 8 }}
judge = {{ per_class = 1, classes = 2, bootstrap = 100 }}
[audit]
checks = ["lingering", "distraction", "erosion"]
"""
POLICY = """
[[policy.rules]]
metric = "lingering.fraction"
max = 1.0
severity = "error"
[[policy.rules]]
metric = "erosion.cka.min"
min = 2.0
severity = "warn"
"""
NETWORKS = "--source {root}/source.pth --finetuned {root}/finetuned.pth --arch {arch}"
EVERY = "-f json -f csv -f markdown -f html"
COMMANDS = {
    "inspect": "inspect {root}/finetuned.pth --arch {arch} -f json -o {place}/inspection.json",
    "init": "init " + NETWORKS + " --source-data {root}/images --target-data {root}/target -o {place}/first.toml",
    "lingering": f"lingering {EVERY} -o {{place}}/result.json",
    "distraction": f"distraction {EVERY} -o {{place}}/result.json --save-composites {{place}}/composites "
    "--save-rows {place}/rows.csv",
    "erosion": f"erosion {EVERY} -o {{place}}/result.json",
    "stress": f"stress {EVERY} -o {{place}}/result.json --runs {{place}}/runs",
    "sample": "lingering --limit 4 -o {place}/result.json",
    "audit": f"audit {EVERY} -f model-card -o {{place}}/audit.json",
    "screen": "screen {root}/target {root}/images -o {place}/rows.jsonl --summary {place}/summary.json "
    "--report {place}/screen.html",
    "repair": "repair -o {place}/new.safetensors --steps {place}/steps.csv --result {place}/repair.json "
    "--report {place}/repair.html",
    "gate": "gate {root}/audit.json --policy {root}/policy.toml --first-release -f json -f markdown -f junit -f sarif "
    "-f html -o {place}/verdict.json",
    "compare": f"compare a={{root}}/audit.json b={{root}}/second.json {EVERY} -o {{place}}/board.json",
}
WITHOUT_SETTINGS = {"inspect", "init", "compare", "gate"}


def build(root):
    """Networks, pictures, a configuration that names them wherever one stands, and two audits."""
    several.build(root)
    (root / "tlaudit.toml").write_text(SETTINGS.format(root=root, arch=several.ARCH))
    (root / "policy.toml").write_text(POLICY)
    place = root.parent / "made"
    for name, more in (("lingering", ""), ("audit", ""), ("second", "--seed 1")):
        kind = name.replace("second", "audit")
        left = ran(root, place, f"{kind} -o {{place}}/{name}.json {more}")
        (root / f"{name}.json").write_bytes(left[f"{name}.json"])
    return root


def ran(root, place, words, *more):
    """Run a command that writes into a folder, which is empty before and gone afterwards; the clock stands still.

    Args:
        root: The world.
        place: The folder: always the same one where documents are compared, for they name it.
        words: A name of `COMMANDS`, or words with ``{root}``, ``{place}`` and ``{arch}``.
        *more: Further words.

    Returns:
        Content of each file that was left, and what was said on ``stdout`` and ``stderr``.
    """
    place.mkdir()
    said = _command(root, place, words, *more)
    left = _left(place)
    shutil.rmtree(place)
    return said | left


def ran_together(root, place, *names):
    """Run commands one after the other as one of several processes; the others give what they said alone.

    Args:
        root: The world.
        place: The folder, as of `ran`.
        *names: Of `COMMANDS`.

    Returns:
        For each command what `ran` gives.
    """
    found, port, leads = {}, int(os.environ["MASTER_PORT"]), os.environ["RANK"] == "0"
    for number, name in enumerate(names):
        os.environ["MASTER_PORT"] = str(1024 + (port + 97 * number) % 60000)
        # Nobody writes but the one that leads, which may be done before another begins.
        own = place if leads else place.with_name(f"{place.name}-{os.environ['RANK']}-{number}")
        own.mkdir(exist_ok=True)
        found[name] = _command(root, own, name) | _left(own)
        shutil.rmtree(own)
    return found


def _command(root, place, words, *more):
    words = [word.format(root=root, place=place, arch=several.ARCH) for word in COMMANDS.get(words, words).split()]
    if words[0] not in WITHOUT_SETTINGS:
        words += ["--config", str(root / "tlaudit.toml")]
    with mock.patch.object(base.Stopwatch, "stop", _stopped), mock.patch.object(gate, "datetime", _Clock):
        ended = command(*words, *more)
    assert ended.code == 0, ended.err
    return {"stdout": ended.out.encode(), "stderr": ended.err.encode()}


def _left(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


class _Clock:
    """The day on which every verdict is given."""

    @staticmethod
    def now(tz):
        return datetime(2026, 1, 1, tzinfo=tz)


def _stopped(*_):
    """The facts of every run."""
    return Run(started_at="2026-01-01T00:00:00+00:00", seconds=1.0, command="tlaudit", batch_size=1, workers=0)


def differences(ours, theirs):
    """Names of the files that are not the same to the byte, or that only one of two runs left."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def moved(ours, theirs, path=""):
    """Leaves of two JSON documents that differ: by path, the two values; a part that only one has differs, too."""
    if type(ours) is type(theirs) and isinstance(ours, dict | list):
        pairs = ours.items() if isinstance(ours, dict) else enumerate(ours)
        others = dict(theirs.items() if isinstance(theirs, dict) else enumerate(theirs))
        found = {}
        for key, value in pairs:
            found |= moved(value, others.pop(key, None), f"{path}/{key}")
        return found | {f"{path}/{key}": (None, value) for key, value in others.items()}
    same = ours == theirs and type(ours) is type(theirs)
    return {} if same or _both_nan(ours, theirs) else {path: (ours, theirs)}


def _both_nan(*values):
    return all(isinstance(value, float) and math.isnan(value) for value in values)


def _main(root, place, told, *names):
    torch.set_num_threads(1)
    left = {
        name: {file: content.hex() for file, content in ran(Path(root), Path(place), name).items()} for name in names
    }
    Path(told).write_text(json.dumps(left))


if __name__ == "__main__":
    _main(*sys.argv[1:])
