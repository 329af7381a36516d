"""Files that cannot be written are refused before the work, and one that fails after it does not stop the others."""

from __future__ import annotations

import csv
import errno
import io
import os

import pytest

from commanded import command, refused
from samples import a_result
from tlaudit.cli import output as cli_output
from tlaudit.cli.options import Output
from tlaudit.cli.output import deliver, keep_apart, write
from tlaudit.cli.screen import ROW_FORMATS
from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, write_atomically


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("loop.json", "Too many levels of symbolic links"),
        ("astray.json", "the folder .*missing does not exist"),
        ("n" * 300, "File name too long"),
    ],
)
def test_names_that_no_file_can_have_are_refused_before_the_work(tmp_path, name, reason):
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "astray.json").symlink_to("missing/a.json")
    with pytest.raises(UsageError, match=reason):
        refuse_unwritable(tmp_path / name)


def test_a_link_whose_target_is_not_there_yet_is_written_through(tmp_path):
    (tmp_path / "link.json").symlink_to("new.json")
    refuse_unwritable(tmp_path / "link.json")
    write_atomically(tmp_path / "link.json", b"x")
    assert (tmp_path / "new.json").read_bytes() == b"x"


def test_links_that_lead_nowhere_are_kept_apart_all_the_same(tmp_path):
    (tmp_path / "loop.json").symlink_to("loop.json")
    keep_apart({"--output": tmp_path / "a.json"}, {"--against": tmp_path / "loop.json"})
    with pytest.raises(UsageError, match="both --against and --output name it"):
        keep_apart({"--output": tmp_path / "loop.json"}, {"--against": tmp_path / "loop.json"})


def test_a_folder_that_is_gone_is_no_crash(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    refused(2, command("gate", "a.json", "-o", tmp_path / "b.json"), "a.json: the current folder does not exist")


def test_what_can_be_written_is(tmp_path, monkeypatch, capsys):
    def full(path, content):
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, content)

    monkeypatch.setattr(cli_output, "write_atomically", full)
    places = {name: tmp_path / f"a.{name}" for name in ("json", "csv")}
    wanted = Output(("json", "csv"), tmp_path / "a", tmp_path / "a.html", 5, quiet=False, verbose=False)
    with pytest.raises(DataError) as raised:
        deliver(a_result(), wanted, places)
    assert str(raised.value) == f"{places['json']}: cannot be written: No space left on device"
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.html"]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("written: ")]
    assert said == [f"written: {tmp_path / 'a.csv'}", f"written: {tmp_path / 'a.html'}"]


def test_all_that_could_not_be_written_is_named(tmp_path, monkeypatch):
    def failing(path, content):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(cli_output, "write_atomically", failing)
    wanted = Output(("json",), tmp_path / "a.json", tmp_path / "a.html", 5, quiet=True, verbose=False)
    with pytest.raises(DataError, match=r"a\.json: cannot be written: Input/output error; .*a\.html: cannot"):
        deliver(a_result(), wanted, {"json": tmp_path / "a.json"})
    with pytest.raises(DataError, match=r"b\.txt: cannot be written: Input/output error"):
        write(tmp_path / "b.txt", "x")


def test_rows_read_back_whatever_a_file_is_called():
    file, form = io.StringIO(newline=""), ROW_FORMATS["csv"]
    form.header(file, ("file", "score"))
    form.rows(file, [{"file": "a\rb.jpg", "score": None}, {"file": 'c,"d\n.png', "score": 0.5}])
    rows = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert rows == [["file", "score"], ["a\rb.jpg", ""], ['c,"d\n.png', "0.5"]]
