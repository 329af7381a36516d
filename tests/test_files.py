from __future__ import annotations

import os

import pytest

from tlaudit.errors import UsageError
from tlaudit.files import crash_details, keep_traceback, refuse_unwritable, write_atomically


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
