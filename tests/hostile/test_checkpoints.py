"""No checkpoint breaks a command, runs code unasked, or is taken for what it is not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
import safetensors.torch
import torch

import hostile_checkpoints as hostile
import several
from commanded import command, refused
from tlaudit.errors import CheckpointError
from tlaudit.models import checkpoint as reading
from tlaudit.models.checkpoint import read_checkpoint

INSPECT = ("inspect", "--arch", several.ARCH)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("case", hostile.CASES, ids=lambda case: case.name)
def test_a_hostile_checkpoint_ends_as_it_should(tmp_path, case):
    path = case.make(tmp_path)
    ended = command(*INSPECT, "--", path)
    if case.code:
        refused(case.code, ended, *case.patterns)
        assert len(ended.err) < 2000 + len(str(path))
    else:
        assert ended.code == 0, ended.err
        for pattern in case.patterns:
            assert re.search(pattern, re.sub(r"\s+", " ", ended.out).replace(" ", " ")), ended.out
    assert not CONTROL.search(ended.out + ended.err)


TRAPS = [
    *((road, "beside good weights", "zip") for road in hostile.ROADS),
    *((road, "at the top", "legacy") for road in hostile.ROADS),
    *(("open", place, "zip") for place in hostile.PLACES),
    *(("setstate", place, "legacy") for place in hostile.PLACES),
    ("eval", "in a wrapper", "zip, protocol 4"),
]


@pytest.mark.parametrize(("road", "place", "kept"), TRAPS)
def test_no_pickle_runs_code(tmp_path, road, place, kept):
    path, mark = hostile.trap(tmp_path, road, place, kept)
    said = "damaged, or saved in a way" if "protocol 4" in kept else "refused, because loading it would run code"
    refused(3, command(*INSPECT, path), said)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("road", hostile.ROADS)
@pytest.mark.parametrize("kept", ["zip", "legacy"])
def test_the_same_pickle_runs_code_where_that_is_asked_for(tmp_path, road, kept):
    # The control: what is said to run nothing above would be seen if it did.
    path, mark = hostile.trap(tmp_path, road, "beside good weights", kept)
    assert not mark.exists()
    ended = command(*INSPECT, path, "--allow-pickle")
    assert mark.exists(), ended.err
    assert "running the code this file asks for" in ended.lines[0]


def test_a_persistent_id_runs_nothing(tmp_path):
    path, mark = hostile.by_persistent_id(tmp_path)
    refused(3, command(*INSPECT, path), "damaged|would run code")
    assert not mark.exists()


def test_a_whole_module_is_code(tmp_path):
    mark = tmp_path / "ran"
    path = hostile.saved(tmp_path, hostile.Layer(mark))
    refused(3, command(*INSPECT, path), r"asks for .*hostile_checkpoints\.Layer")
    assert not mark.exists()
    command(*INSPECT, path, "--allow-pickle")
    assert mark.exists()


def test_code_that_ends_the_program_is_no_answer(tmp_path):
    path = hostile.saved(tmp_path, {**hostile.state(), "x": hostile.Calls(sys.exit, 0)})
    refused(3, command(*INSPECT, path, "--allow-pickle"), "code of the model's own ended the program")


@pytest.mark.parametrize("option", ["--source", "--finetuned", "--baseline"])
@pytest.mark.parametrize("check", ["lingering", "audit"])
def test_no_command_runs_code_of_a_network(tmp_path, world, check, option):
    path, mark = hostile.trap(tmp_path, "open", "beside good weights", "zip")
    refused(3, command(check, *_pair(world, **{option: path}), *_images(world)), r"trap\.pth: refused")
    assert not mark.exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return several.build(tmp_path_factory.mktemp("world"))


def _pair(world, **others):
    named = {f"--{role}": world / f"{role}.pth" for role in ("source", "finetuned", "baseline")} | others
    return [*(word for pair in named.items() for word in pair), "--arch", several.ARCH]


def _images(world):
    return ["--source-data", world / "images", "--target-data", world / "target"]


OTHERS = {"lingering": ("source", "target"), "erosion": ("source",), "distraction": ("source", "target")}
TELLING = [
    "place: a pipe",
    "place: a folder",
    "archive: compressed zeros",
    "state: one number for a billion",
    "state: a name of two lines",
    "state: containers of the same containers",
    "state: NaN",
    "safetensors: length 2**63",
    "header: pictures of any size",
]
BY_NAME = {case.name: case for case in hostile.CASES}


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("check", OTHERS)
def test_every_check_says_the_same_of_it(tmp_path, world, check, name):
    case = BY_NAME[name]
    ended = command(
        check, *_pair(world, **{"--finetuned": case.make(tmp_path)}), *_images(world)[: 2 * len(OTHERS[check])]
    )
    # Weights that are not finite are shown by `inspect`, and measured by nothing.
    refused(case.code or 3, ended)
    assert not CONTROL.search(ended.out + ended.err)


@pytest.mark.parametrize("name", TELLING)
def test_a_hostile_baseline_is_refused(tmp_path, world, name):
    case = BY_NAME[name]
    ended = command("lingering", *_pair(world, **{"--baseline": case.make(tmp_path)}), *_images(world))
    refused(case.code or 3, ended)


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("what", ["stress", "screen", "init"])
def test_commands_that_take_networks_refuse_hostile_ones(tmp_path, world, what, name):
    case = BY_NAME[name]
    path = case.make(tmp_path)
    words = {
        "stress": ["--source-data", world / "images"],
        "screen": [world / "target", "--lingering", world / "lingering.json"],
        "init": ["-o", tmp_path / "tlaudit.toml"],
    }[what]
    pair = ["--source", path, "--arch", several.ARCH] if what == "stress" else _pair(world, **{"--finetuned": path})
    refused(case.code or 3, command(what, *pair, *words))
    assert not (tmp_path / "tlaudit.toml").exists()


# Damage: hundreds of variants, each loaded as it was saved or refused.


def _whole(kind):
    state = hostile.state()
    if kind == "safetensors":
        return safetensors.torch.save(state, metadata={"tlaudit.classes": '["a", "b"]'})
    return hostile.packed({"state_dict": state, "classes": ["a", "b"]}, legacy=kind == "legacy")


def _differs(found, state):
    return found.keys() != state.keys() or any(
        found[key].dtype != state[key].dtype or not torch.equal(found[key], state[key]) for key in state
    )


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damage_is_refused_or_seen_in_the_hash(tmp_path, kind):
    whole, state = _whole(kind), hostile.state()
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pth")
    refusals = others = 0
    for content in hostile.damaged(whole, 100):
        path.write_bytes(content)
        found = _read(path)
        if isinstance(found, CheckpointError):
            assert re.fullmatch(rf"{re.escape(str(path))}: .+", str(found))
            refusals += 1
        else:
            assert found.sha256 == hashlib.sha256(content).hexdigest()
            others += _differs(found.state, state)
    assert refusals >= 100  # every cut, and some of the bits
    # A zip archive has a checksum for each storage; the other two formats have none, so that a flipped bit of a weight
    # is a weight: the hash is what tells.
    assert (others == 0) is (kind == "zip")


def _read(path):
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        return error


# What cannot be waited for, and what changes meanwhile.


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    path = hostile.saved(tmp_path, hostile.state())
    load = reading._load

    def growing(file, **options):
        content = load(file, **options)
        with path.open("ab") as other:
            other.write(b"more")
        return content

    monkeypatch.setattr(reading, "_load", growing)
    refused(3, command(*INSPECT, path), "changed while it was read; try again")


def test_a_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    path = hostile.written(tmp_path / "net.safetensors", safetensors.torch.save(hostile.state()))
    other = hostile.written(tmp_path / "other.safetensors", safetensors.torch.save(hostile.state(5)))
    recognise = reading.recognise
    monkeypatch.setattr(reading, "recognise", lambda *words: (recognise(*words), other.replace(path))[0])
    refused(3, command(*INSPECT, path), "changed while it was read; try again")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_file_that_vanishes_while_it_is_read(tmp_path, monkeypatch, name):
    content = hostile.packed(hostile.state()) if name.endswith("pth") else safetensors.torch.save(hostile.state())
    path = hostile.written(tmp_path / name, content)
    recognise = reading.recognise
    monkeypatch.setattr(reading, "recognise", lambda *words: (recognise(*words), path.unlink())[0])
    refused(3, command(*INSPECT, path), "cannot be read .No such file")


def test_weights_stay_what_they_were_when_the_file_is_written_to(tmp_path):
    path = hostile.written(tmp_path / "net.safetensors", safetensors.torch.save(hostile.state()))
    found = read_checkpoint(path)
    with path.open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        file.write(b"\xff" * 200)
    assert not _differs(found.state, hostile.state())


def test_a_pipe_that_takes_the_place_of_the_file_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    os.mkfifo(path)
    monkeypatch.setattr("tlaudit.models.file_kinds._refuse_wrong_path", lambda path: None)
    refused(2, command(*INSPECT, path), "device or a pipe")


@pytest.mark.parametrize(("call", "said"), [("open", "cannot be read"), ("stat", "cannot be looked at")])
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, call, said):
    path, real = hostile.saved(tmp_path, hostile.state()), getattr(os, call)

    def forbidden(place, *words, **options):
        if str(place) == str(path):
            raise PermissionError(13, "Permission denied")
        return real(place, *words, **options)

    monkeypatch.setattr(os, call, forbidden)
    refused(3, command(*INSPECT, path), rf"{said} .Permission denied")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compressed", "compressed_pickle", "claims", "expanded", "laughing"])
def test_memory_stays_bounded(tmp_path, name):
    make = {
        "compressed": hostile.compressed,
        "compressed_pickle": lambda folder: hostile.compressed_pickle(folder, 1 << 31),
        "claims": lambda folder: hostile.claims(folder, 1 << 34),
        "expanded": BY_NAME["state: more than there is"].make,
        "laughing": BY_NAME["state: classes of lists of lists"].make,
    }[name]
    code = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from tlaudit.errors import CheckpointError
from tlaudit.models.sources import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_model({str(make(tmp_path))!r}, arch={several.ARCH!r})
except CheckpointError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 64 * 1024, f"{done.stdout} KiB more"


# What a file says of itself, and what users name beside files.


@pytest.mark.slow
def test_what_a_file_says_of_its_architecture_is_not_believed(tmp_path):
    state = hostile.state()
    path = tmp_path / "net.safetensors"
    hostile.written(path, safetensors.torch.save(state, metadata={"tlaudit.architecture": "os:system\n\x1b[31m"}))
    ended = command("inspect", path)
    refused(3, ended, "none of torchvision's classifiers fits", r"says that it is os:system \\u001b\[31m; give --arch")
    hostile.written(path, safetensors.torch.save(state, metadata={"tlaudit.architecture": "resnet18"}))
    refused(3, command("inspect", path), "is no resnet18, which the file's own metadata says")


def test_a_record_of_hostile_names_is_a_document(tmp_path):
    path = hostile.saved(
        tmp_path, {**hostile.state(), "a\n\x1b\ud800\u202e": 3, "fc.bias": torch.full((2,), torch.nan)}
    )
    ended = command(*INSPECT, path, "-f", "json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["model"]["keys"]["ignored"] == ["a \\u001b\\ud800\\u202e"]


def test_the_network_is_not_written_over(tmp_path):
    path = hostile.saved(tmp_path, hostile.state())
    before = path.read_bytes()
    refused(2, command(*INSPECT, path, "-o", path), "give each its own file")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("torchvision:", "torchvision has no classifier ''"),
        ("torchvision:\n\x1b[31m", r"no classifier ' ?\\\\u001b\[31m'"),
        ("torchvision:resnet18:a\nb", "has no weights 'a b'"),
        ("torchvision:../../etc/passwd", "no classifier '../../etc/passwd'"),
        ("torchvision:resnet18:__class__", "has no weights '__class__'"),
        ("torchvision:" + "a" * 10_000, "no classifier 'a{200}…'"),
        ("timm:", "timm has no network ''"),
        ("timm:a\nb\x1b", r"timm has no network 'a b\\\\u001b'"),
        ("timm:resnet18.a\nb", "timm has no weights 'a b'"),
        ("timm:../x", "timm has no"),
    ],
)
def test_names_of_published_weights_are_names(spec, said):
    ended = command("inspect", spec)
    refused(2, ended, said)
    assert not CONTROL.search(ended.err)


FACTORIES = {
    "raises": ("raise ValueError('a\\nb\\x1b[31m')", 2, r"importing net\.py failed: ValueError: a b\\u001b\[31m"),
    "recurses": ("def make(num_classes):\n    return make(num_classes)", 2, "the factory failed: RecursionError"),
    "exits": ("raise SystemExit(0)", 3, "ended the program .exit code 0"),
    "exits when called": ("def make(num_classes):\n    raise SystemExit(1)", 3, "ended the program .exit code 1"),
    "gives no module": ("def make(num_classes):\n    return 'net'", 2, "gave str, expected a torch.nn.Module"),
    "gives nothing to fit": (
        "from torch import nn\ndef make(num_classes):\n    return nn.ReLU()",
        2,
        "no module follows num_classes",
    ),
    "takes nothing": ("def make():\n    pass", 2, r"cannot be called as make\(num_classes=...\)"),
    "is no function": ("make = 3", 2, "make is int, expected a function or class"),
    "is not there": ("other = len", 2, "has no 'make'; it has other"),
    "no Python": ("def make(:", 2, "SyntaxError"),
    "no text": ("\udcff", 2, "SyntaxError"),
    "out of memory": ("def make(num_classes):\n    raise MemoryError", 2, "the factory failed: MemoryError"),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_that_fail(tmp_path, name):
    content, code, said = FACTORIES[name]
    (tmp_path / "net.py").write_bytes(content.encode("utf-8", "surrogateescape"))
    path = hostile.saved(tmp_path, hostile.state())
    ended = command("inspect", path, "--arch", f"{tmp_path / 'net.py'}:make")
    refused(code, ended, said)
    assert not CONTROL.search(ended.err)


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("/gone/net.py:make", "there is no file /gone/net.py"),
        ("a" * 300 + ".py:make", "there is no file"),
        ("a\0.py:make", "expected package.module:factory or file.py:factory"),
        ("a\n\x1b[31m", r"--arch a \\u001b\[31m: torchvision has no such classifier"),
        (":make", "expected package.module:factory"),
        ("net.py:", "expected package.module:factory"),
        ("..net:make", "importing ..net failed"),
        ("a\nb:make", "there is no module 'a b' to import"),
        ("timm:", "timm has no network ''"),
    ],
)
def test_architectures_that_are_none(tmp_path, arch, said):
    ended = command("inspect", hostile.saved(tmp_path, hostile.state()), "--arch", arch)
    refused(2, ended, said)
    assert not CONTROL.search(ended.err)


def test_a_factory_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.py")
    ended = command("inspect", hostile.saved(tmp_path, hostile.state()), "--arch", f"{tmp_path / 'net.py'}:make")
    refused(2, ended, "there is no file")
