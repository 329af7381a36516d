from __future__ import annotations

import multiprocessing
import os

import pytest

from tlaudit.errors import UsageError
from tlaudit.files import (
    clear_away,
    crash_details,
    keep_traceback,
    refuse_unwritable,
    unfinished,
    unfinished_name,
    write_atomically,
)


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
    left = tmp_path / unfinished_name("a.json")
    left.write_bytes(b"half")
    folder = tmp_path / unfinished_name("pictures")
    (folder / "0000").mkdir(parents=True)
    ours, link = unfinished_name("a.json"), unfinished_name("link")
    others = {ours.removesuffix(".tlaudit-tmp"), f"{ours}.txt", ours[1:], ".a.json.01234567.tlaudit-tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"of somebody else")
    (tmp_path / link).symlink_to(tmp_path / "a.json")
    with unfinished(tmp_path / "b.json") as file, unfinished(tmp_path / "c", folder=True) as made:
        file.write_bytes(b"not yet whole")
        write_atomically(tmp_path / "a.json", b"whole")
        assert file.read_bytes() == b"not yet whole"
        assert {p.name for p in tmp_path.iterdir()} == others | {
            "a.json",
            file.name,
            made.name,
            link,
        }
    assert {p.name for p in tmp_path.iterdir()} == others | {"a.json", link}
    clear_away(tmp_path / "missing")


def test_what_another_host_writes_stays(tmp_path, monkeypatch):
    """Where locks hold on one host only, as on some network file systems, nobody else's can be seen."""
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "another")
        theirs = tmp_path / unfinished_name("a.json")
        theirs.write_bytes(b"not yet whole")
    clear_away(tmp_path)
    assert theirs.read_bytes() == b"not yet whole"
    monkeypatch.setattr("platform.node", lambda: "another")
    clear_away(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_made_where_there_is_no_folder(tmp_path, folder):
    with pytest.raises(FileNotFoundError), unfinished(tmp_path / "none" / "a", folder=folder):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", [False, True])
def test_what_cannot_be_locked_is_not_left_behind(tmp_path, monkeypatch, folder):
    """As for a plain user where the umask is 0777: what was just made cannot be opened."""
    opened, made = os.open, []

    def shut(path, flags, *mode):
        if flags & os.O_CREAT:
            return opened(path, flags, *mode)
        made.extend(tmp_path.iterdir())
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", shut)
    if folder:
        with pytest.raises(PermissionError, match="Permission denied"), unfinished(tmp_path / "a", folder=True):
            pass
        assert len(made) == 1
    else:
        # Made and opened in one, so that its mode does not matter.
        with unfinished(tmp_path / "a"):
            pass
        assert made == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o644])
def test_who_may_read_a_file_stays(tmp_path, monkeypatch, mode):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    path.chmod(mode)
    while_written = []
    synced = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (while_written.append(os.fstat(file).st_mode & 0o777), synced(file)))
    write_atomically(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", mode)
    assert while_written == [mode | 0o200], "nobody else reads it before it has its name"


def test_a_new_file_has_the_mode_of_all_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.json", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


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
