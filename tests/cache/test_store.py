"""Entries come back as they were written, or not at all; a folder stays small, whoever else uses it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tlaudit.cache.entry import Entry
from tlaudit.cache.place import default_folder, opened
from tlaudit.cache.store import Cache
from tlaudit.config import settle
from tlaudit.files import unfinished_name

QUESTION = {"kind": "recognition", "networks": [["ab", [256, 224, "bilinear"]]], "order": None}
IMAGES = "5" * 64
ENTRY = Entry(
    {
        "own": torch.tensor([0.25, float("nan"), -0.0]),
        "right": torch.tensor([True, False]),
        "none": torch.empty(0, 3, dtype=torch.int64),
        "half": torch.tensor(1.5, dtype=torch.bfloat16),
    },
    {"decoded": 3, "skipped": [["a/ü.png", "broken"]], "b": {"z": 1, "a": 2}},
)


def cache_at(folder, most=10**6):
    return Cache(folder, most)


def only_file(folder):
    (path,) = folder.glob("*.safetensors")
    return path


def assert_is_the_entry(found):
    assert found.told == ENTRY.told
    assert list(found.told["b"]) == ["z", "a"]
    for name, tensor in ENTRY.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert torch.equal(found.tensors[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_gives_back_every_bit(tmp_path):
    folder = tmp_path / "new" / "cache"
    cache_at(folder).keep(QUESTION, IMAGES, ENTRY)
    assert_is_the_entry(cache_at(folder).find(QUESTION, IMAGES))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_answers_to_its_own_question_and_images_only(tmp_path):
    cache = cache_at(tmp_path)
    assert not cache.asked_before(QUESTION)
    cache.keep(QUESTION, IMAGES, ENTRY)
    assert cache.asked_before(QUESTION)
    assert cache.asked_before(dict(reversed(QUESTION.items())))
    assert not cache.asked_before({**QUESTION, "order": "x"})
    assert cache.find({**QUESTION, "order": "x"}, IMAGES) is None
    assert cache.find(QUESTION, "6" * 64) is None
    # The name of a file holds a part of the fingerprint; the file holds all of it.
    assert cache.find(QUESTION, IMAGES[:-1] + "6") is None


def truncated(path, dice):
    path.write_bytes(path.read_bytes()[: dice.randrange(1, path.stat().st_size)])


def flipped(path, dice):
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def emptied(path, _):
    path.write_bytes(b"")


def garbage(path, dice):
    path.write_bytes(dice.randbytes(500))


def longer(path, _):
    path.write_bytes(path.read_bytes() + b"\0")


def a_folder(path, _):
    path.unlink()
    path.mkdir()


def a_pipe(path, _):
    path.unlink()
    os.mkfifo(path)


def endless(path, _):
    path.unlink()
    path.symlink_to("/dev/zero")


def headless(path, _):
    tensors = load_file(path)
    save_file(tensors, path)


def another_digest(path, _):
    tensors = load_file(path)
    save_file({**tensors, "own": tensors["own"] + 1}, path, metadata={"key": "{}", "told": "{}", "sha256": "0" * 64})


def endless_header(path, _):
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")


def deep_header(path, _):
    header = b"[" * 100_000
    path.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize(
    "damage",
    [
        *(truncated, flipped, emptied, garbage, longer, a_folder, a_pipe, endless),
        *(headless, another_digest, endless_header, deep_header),
    ],
    ids=lambda f: f.__name__,
)
def test_what_is_broken_is_never_believed(tmp_path, damage, caplog):
    cache, dice = cache_at(tmp_path), random.Random(0)
    for _ in range(40 if damage in (truncated, flipped) else 1):
        cache.keep(QUESTION, IMAGES, ENTRY)
        damage(only_file(tmp_path), dice)
        found = cache.find(QUESTION, IMAGES)
        if found is not None:
            # A bit of the padding behind the header, which says nothing.
            assert_is_the_entry(found)
            continue
        assert "computed again" in caplog.text
        assert not list(tmp_path.iterdir())
    cache.keep(QUESTION, IMAGES, ENTRY)
    assert_is_the_entry(cache.find(QUESTION, IMAGES))


def test_entries_that_have_changed_places_are_not_believed(tmp_path):
    cache = cache_at(tmp_path)
    cache.keep(QUESTION, IMAGES, ENTRY)
    first = only_file(tmp_path)
    cache.keep({**QUESTION, "order": "x"}, IMAGES, Entry({}, {"other": 1}))
    (second,) = set(tmp_path.iterdir()) - {first}
    shutil.move(first, tmp_path / "between")
    shutil.move(second, first)
    shutil.move(tmp_path / "between", second)
    assert cache.find(QUESTION, IMAGES) is None
    assert cache.find({**QUESTION, "order": "x"}, IMAGES) is None


def sized(number, size=1000):
    return {"number": number}, IMAGES, Entry({"x": torch.full((size,), number, dtype=torch.uint8)}, {})


def test_the_least_used_go_first(tmp_path):
    cache = cache_at(tmp_path)
    for number in range(4):
        cache.keep(*sized(number))
        newest = max(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    assert cache.find(*sized(0)[:2]) is not None
    each = newest.stat().st_size
    others = [tmp_path / "mine.safetensors", tmp_path / f"{'0' * 40}.safetensors"]
    for other in others:
        other.write_bytes(bytes(5000))
        os.utime(other, (0, 0))
    cache_at(tmp_path, 3 * each).keep(*sized(4))
    kept = [number for number in range(5) if cache.find(*sized(number)[:2]) is not None]
    assert kept == [0, 3, 4]
    assert all(other.exists() for other in others)


def test_what_is_too_large_for_the_whole_cache_is_not_kept(tmp_path):
    cache = cache_at(tmp_path, 5000)
    cache.keep(*sized(1))
    cache.keep(*sized(2, size=6000))
    assert cache.find(*sized(1)[:2]) is not None
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_run_that_was_killed_left_unfinished_is_cleared_away(tmp_path):
    cache = cache_at(tmp_path)
    cache.keep(*sized(1))
    name = only_file(tmp_path).name
    old, foreign = tmp_path / unfinished_name(name), tmp_path / ".x.tmp"
    for path in (old, foreign):
        path.write_bytes(b"x")
    cache.keep(*sized(2))
    assert not old.exists()
    assert foreign.exists()


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = cache_at(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            cache.keep(*sized(number))
            assert cache.find(*sized(number)[:2]) is None
    assert [record.getMessage() for record in caplog.records if "nothing is kept" in record.getMessage()]
    assert sum("nothing is kept" in record.getMessage() for record in caplog.records) == 1


def hammer(folder, seed, most):
    """Write, read and crowd out, all at once; any exception and any wrong answer ends the process with an error."""
    dice, cache = random.Random(seed), Cache(folder, most)
    for _ in range(150):
        number = dice.randrange(12)
        if dice.random() < 0.5:
            cache.keep(*sized(number))
        found = cache.find(*sized(number)[:2])
        assert found is None or (found.tensors["x"] == number).all()


def test_runs_at_the_same_time_do_each_other_no_harm(tmp_path):
    cache_at(tmp_path).keep(*sized(0))
    most = 5 * only_file(tmp_path).stat().st_size
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=hammer, args=(tmp_path, seed, most)) for seed in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    Cache(tmp_path, most).keep(*sized(0))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= most
    assert not list(tmp_path.glob(".*"))


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TLAUDIT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == tmp_path / ".cache" / "tlaudit"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_folder() == tmp_path / ".cache" / "tlaudit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "tlaudit"
    monkeypatch.setenv("TLAUDIT_CACHE_DIR", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delenv("TLAUDIT_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == tmp_path / "Library" / "Caches" / "tlaudit"


def test_whether_there_is_one(tmp_path, monkeypatch):
    def options(**execution):
        return settle({"execution": execution}).execution

    assert opened(options()) is None  # the tests' own environment names none
    assert opened(options(cache=False, cache_dir=tmp_path)) is None
    assert opened(options(cache_dir=tmp_path)).folder == tmp_path
    monkeypatch.setenv("TLAUDIT_CACHE_DIR", str(tmp_path / "own"))
    assert opened(options()).folder == tmp_path / "own"
    cache = opened(options(cache_dir=tmp_path, cache_size=5000 / 2**30))
    cache.keep(*sized(1, size=6000))
    assert not list(tmp_path.iterdir())
