from __future__ import annotations

import multiprocessing
import os

import pytest

from tlaudit.errors import UsageError
from tlaudit.files import clear_away, crash_details, keep_traceback, refuse_unwritable, unfinished, write_atomically


def test_writes_whole_files_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.json"]


def test_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tlaudit.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_follows_links(tmp_path):
    (tmp_path / "real.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_atomically(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


def test_refuses_before_the_work_starts(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "fine.json")
    with pytest.raises(UsageError, match="does not exist"):
        refuse_unwritable(tmp_path / "missing" / "a.json")
    with pytest.raises(UsageError, match="this is a folder"):
        refuse_unwritable(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    for act in (refuse_unwritable, lambda path: write_atomically(path, b"x")):
        with pytest.raises(UsageError, match="device or a pipe"):
            act(tmp_path / "pipe.json")
    monkeypatch.setattr("tlaudit.files.os.access", lambda *_: False)
    with pytest.raises(UsageError, match="not writable"):
        refuse_unwritable(tmp_path / "a.json")


def test_a_traceback_that_cannot_be_written_is_no_crash(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = keep_traceback(ValueError("boom"))
    assert "boom" in kept.read_text()
    assert crash_details(ValueError("boom")).startswith(f" (details: {tmp_path}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert keep_traceback(ValueError("boom")) is None
    assert crash_details(ValueError("boom")) == ""


def test_what_killed_runs_left_is_cleared_away_and_what_is_written_now_stays(tmp_path):
    left = tmp_path / ".a.json.01234567.tlaudit-tmp"
    left.write_bytes(b"half")
    folder = tmp_path / ".pictures.89abcdef.tlaudit-tmp"
    (folder / "0000").mkdir(parents=True)
    others = {".a.json.01234567.tmp", ".01234567.tlaudit-tmp.txt", "a.01234567.tlaudit-tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"of somebody else")
    (tmp_path / ".link.01234567.tlaudit-tmp").symlink_to(tmp_path / "a.json")
    with unfinished(tmp_path / "b.json") as file, unfinished(tmp_path / "c", folder=True) as made:
        file.write_bytes(b"not yet whole")
        write_atomically(tmp_path / "a.json", b"whole")
        assert file.read_bytes() == b"not yet whole"
        assert {p.name for p in tmp_path.iterdir()} == others | {
            "a.json",
            file.name,
            made.name,
            ".link.01234567.tlaudit-tmp",
        }
    assert {p.name for p in tmp_path.iterdir()} == others | {"a.json", ".link.01234567.tlaudit-tmp"}
    clear_away(tmp_path / "missing")


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")
    write_atomically(path, b"whole")
    assert os.listdir(tmp_path) == [path.name]


def hammer(folder, number):
    for _ in range(200):
        write_atomically(folder / "a.json", bytes([number]) * 5000)


def test_runs_that_write_one_file_leave_one_that_is_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=hammer, args=(tmp_path, number)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert os.listdir(tmp_path) == ["a.json"]
    assert len(set((tmp_path / "a.json").read_bytes())) == 1
