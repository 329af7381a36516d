"""Hostile folders, shards, manifests and class maps through the command line: exit code, message, what is left out."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import socket
import tarfile
import tempfile
import traceback
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

import planted
from commanded import Ended, command, refused
from hostile_pictures import encoded, lingering, noise, skipped
from tlaudit.data.images import ImageSet

GOOD = encoded(noise(), "PNG")
EXPECTED = r"expected a folder of images, tar shards \(\.tar\) or a manifest \(\.csv, \.tsv, \.parquet\), got "


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"), per_class=1)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with one of everything, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "b.tar").touch()
    for name in ("pipe", "pipe.csv", "pipe.tar"):
        os.mkfifo(name)


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("loop", 2, f"^tlaudit: loop: {EXPECTED}what cannot be looked at \\(Too many levels of symbolic links\\)$"),
        ("gone", 2, f"gone: {EXPECTED}a link that leads nowhere$"),
        ("pipe", 2, f"pipe: {EXPECTED}neither a folder nor a regular file$"),
        ("pipe.csv", 2, f"pipe\\.csv: {EXPECTED}neither a folder nor a regular file$"),
        ("pipe.tar", 3, "pipe.tar: expected images .*; pipe.tar not a regular file$"),
        ("file", 2, f"file: {EXPECTED}a file$"),
        ("file/below", 2, f"file/below: {EXPECTED}nothing of that name$"),
        ("/dev/zero", 2, f"/dev/zero: {EXPECTED}neither a folder nor a regular file$"),
        ("-", 2, f"-: {EXPECTED}nothing of that name$"),
        ("x" * 300, 2, f"{EXPECTED}what cannot be looked at \\(File name too long\\)$"),
        ("x/" * 3000, 2, f"{EXPECTED}what cannot be looked at \\(File name too long\\)$"),
        ("x" * 300 + ".tar", 2, f"{EXPECTED}what cannot be looked at \\(File name too long\\)$"),
        ("new\nline\u202e\udcff", 2, r"^tlaudit: new\\x0aline\\u202e\\xff: expected .* nothing of that name$"),
        ("empty", 3, r"empty: expected images \(\.jpg, .*\), found none; 0 other files$"),
        ("x.jpg", 3, r"x\.jpg: expected images \(\.jpg, .*\), found none; 0 other files$"),
        ("{a,b}.tar", 2, r"stands for 2 shards, of which 1 are missing: a\.tar$"),
        ("{..}.tar", 2, r"expected braces such as \{0000\.\.0031\} or \{a,b\}, got \{\.\.\}$"),
        ("{0..99999}{0..99999}.tar", 2, "expected at most 100000 shards, the pattern has more$"),
    ],
)
@pytest.mark.parametrize("role", ["source", "target"])
def test_a_place_that_is_none(world, role, place, code, message):
    sets = {"target": place} if role == "target" else {"target": world["target_data"], "source": place}
    refused(code, command(*lingering(world, **sets)), message)


def test_a_place_with_nul_in_a_configuration(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text('[data]\ntarget = "a\\u0000b"\n')
    words = lingering(world, "x")
    at = words.index("--target-data")
    refused(
        2, command(*words[:at], *words[at + 2 :]), r"tlaudit\.toml: data\.target: expected a path, got one with a NUL"
    )


def test_a_pattern_of_absolute_and_other_paths(world, tmp_path):
    packed(tmp_path / "b.tar", ("1.png", GOOD))
    packed(tmp_path / "c.tar", ("1.png", GOOD))
    ended = command(*lingering(world, f"{{{tmp_path}/b,c}}.tar"))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["provenance"]["data"]["target"]["images"] == 2


def test_a_pattern_behind_a_link_is_read_there(world, tmp_path):
    """`link/..` is the folder above the folder that is linked, not the one above the link."""
    packed(tmp_path / "far" / "b.tar", ("1.png", GOOD), ("2.png", GOOD))
    packed(tmp_path / "empty" / "c.tar", ("1.png", GOOD))
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    ended = command(*lingering(world, "{link/../b,empty/c}.tar"))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["provenance"]["data"]["target"]["images"] == 3


# Folders


def test_what_is_no_file_is_left_out_and_named(world, tmp_path, monkeypatch):
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    (root / "a" / "good.png").write_bytes(GOOD)
    (root / "a" / "outside.png").symlink_to(world["target_data"] / "colour0" / "0.png")
    (root / "a" / "folder.jpg").mkdir()
    (root / "a" / "folder.jpg" / "good.png").write_bytes(GOOD)
    os.mkfifo(root / "a" / "pipe.jpg")
    for name, target in {"zero.jpg": "/dev/zero", "gone.jpg": "nowhere", "self.jpg": "self.jpg", "up": root}.items():
        (root / "a" / name).symlink_to(target)
    monkeypatch.chdir(root / "a")  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("socket.jpg")
    ended = command(*lingering(world, root))
    assert ended.code == 0
    assert json.loads(ended.out)["provenance"]["data"]["target"]["images"] == 3
    assert skipped(ended.out) == {
        "a/gone.jpg": "cannot be read: No such file or directory",
        "a/pipe.jpg": "not a regular file",
        "a/self.jpg": "cannot be read: Too many levels of symbolic links",
        "a/socket.jpg": "not a regular file",
        "a/up/": "leads back to a folder that was read already",
        "a/zero.jpg": "not a regular file",
    }
    refused(3, command(*lingering(world, root, "--strict-data")), "6 files cannot be used, and none may be skipped: ")


@pytest.mark.slow
def test_ten_thousand_empty_files(world, tmp_path):
    for number in range(10_000):
        (tmp_path / "empty" / f"{number}.png").touch()
    ended = command(*lingering(world, "empty"))
    refused(3, ended, r"none of 10000 images can be used: 0\.png \(the file is empty\), .* and 9990 more$")
    assert len(ended.lines) == 12
    assert len(ended.err) < 3000


def test_folders_deeper_than_any_path(world, tmp_path):
    root = tmp_path / "deep"
    root.mkdir()
    (root / "good.png").write_bytes(GOOD)
    handle = os.open(root, os.O_RDONLY)
    try:
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=handle)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(os.open("lost.png", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    finally:
        os.close(handle)
    ended = command(*lingering(world, root))
    shutil.rmtree(root)
    assert ended.code == 0
    [(name, reason)] = skipped(ended.out).items()
    assert re.fullmatch(r"(d{200}/){19,21}", name)
    assert reason == "cannot be listed: File name too long"


def test_what_changes_while_it_is_read(world, tmp_path, monkeypatch):
    root = tmp_path / "set"
    root.mkdir()
    for name in ("cut", "gone", "good", "pipe", "turned"):
        (root / f"{name}.png").write_bytes(GOOD)
    scan = ImageSet.scan.__func__

    def changed(cls, place, **options):
        images = scan(cls, place, **options)
        if Path(place) == root:
            for name in ("gone", "pipe", "turned"):
                (root / f"{name}.png").unlink()
            (root / "cut.png").write_bytes(GOOD[:100])
            (root / "turned.png").mkdir()
            os.mkfifo(root / "pipe.png")
        return images

    monkeypatch.setattr(ImageSet, "scan", classmethod(changed))
    ended = command(*lingering(world, root))
    assert ended.code == 0
    reasons = {name: reason.partition(" (")[0] for name, reason in skipped(ended.out).items()}
    assert reasons.pop("cut.png").startswith("broken: ")
    assert reasons == {
        "gone.png": "cannot be read: No such file or directory",
        "pipe.png": "not a regular file",
        "turned.png": "not a regular file",
    }


def test_a_folder_that_vanishes(world, tmp_path, monkeypatch):
    root = tmp_path / "set"
    root.mkdir()
    (root / "1.png").write_bytes(GOOD)
    scan = ImageSet.scan.__func__

    def changed(cls, place, **options):
        images = scan(cls, place, **options)
        if Path(place) == root:
            shutil.rmtree(root)
        return images

    monkeypatch.setattr(ImageSet, "scan", classmethod(changed))
    refused(3, command(*lingering(world, root)), r"none of 1 images can be used: 1\.png \(cannot be read: No such file")


@pytest.fixture
def locked(world):
    """What nobody but root may read, and the networks that everybody may."""
    # What is imported late, codecs among it, may lie where nobody may read.
    Path("tlaudit.toml").write_text("[data]\n")
    command(*lingering(world, world["target_data"]))
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for name in ("source", "finetuned"):
        shutil.copy(world[name], root)
    shutil.copytree(world["source_data"], root / "images")
    for name in ("set/open", "set/shut", "shut"):
        (root / name).mkdir(parents=True)
        (root / name / "1.png").write_bytes(GOOD)
    shutil.copy(root / "shut" / "1.png", root / "set" / "open" / "shut.png")
    (root / "m.csv").write_text("path\nset/open/1.png\n")
    (root / "map.json").write_text('{"0": 0}')
    packed(root / "s.tar", ("1.png", GOOD))
    for name in ("set/open/shut.png", "set/shut", "shut", "m.csv", "map.json", "s.tar"):
        (root / name).chmod(0)
    yield root
    for name in ("set/shut", "shut"):
        (root / name).chmod(0o755)  # else nobody but root could clear it away
    shutil.rmtree(root)


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (
            'target = "set"',
            0,
            r"skipped open/shut\.png: cannot be read: Permission denied\n.* shut/: cannot be listed: Permission denied",
        ),
        ('target = "set"\nstrict = true', 3, "2 files cannot be used, and none may be skipped: "),
        ('target = "shut"', 3, "shut: cannot be listed: Permission denied$"),
        ('target = "shut/below"', 2, r"got what cannot be looked at \(Permission denied\)$"),
        ('target = "shut/{0..1}.tar"', 2, "2 are missing"),
        ('target = "m.csv"', 3, r"m\.csv: cannot be read: Permission denied$"),
        ('target = "s.tar"', 3, r"found none; 0 other files; s\.tar cannot be read: Permission denied$"),
        (
            'target = "images"\nclass_map = "map.json"',
            2,
            r"class map map\.json: cannot be read: Permission denied$",
        ),
    ],
)
def test_what_may_not_be_read(world, locked, monkeypatch, data, code, message):
    """In a child that is nobody: tests may run as root, whom no permission holds."""
    monkeypatch.chdir(locked)
    Path("tlaudit.toml").write_text(f"[data]\n{data}\n")
    there = {"source": locked / "source.pth", "finetuned": locked / "finetuned.pth", "source_data": locked / "images"}
    words = lingering(there, "x")
    at = words.index("--target-data")
    ended = as_nobody(words[:at] + words[at + 2 :])
    assert ended.code == code, ended.err
    assert re.search(message, ended.err.strip()), ended.err
    assert "crashed" not in ended.err


def as_nobody(words: list[str]) -> Ended:
    """Run a command in a child without rights; what goes wrong there is said here."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = in_child(words)
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
            said = {"failed": traceback.format_exc()}
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = json.load(stream)
    os.waitpid(child, 0)
    if "skipped" in said:
        pytest.skip(said["skipped"])
    assert "failed" not in said, said["failed"]
    return Ended(said["code"], "", said["err"])


def in_child(words: list[str]) -> dict[str, object]:
    """How the command ended, or why permissions hold nobody here."""
    if not os.getuid():
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        except PermissionError as error:
            # Root in name only, as in some containers: it may be held by permissions all the same.
            if os.access("shut", os.R_OK):
                return {"skipped": f"no rights to give up rights ({error.strerror}), and permissions do not hold"}
    ended = command(*words)
    return {"code": ended.code, "err": ended.err}


def test_what_fails_in_a_child_is_said(monkeypatch):
    monkeypatch.setitem(globals(), "command", lambda *_: 1 / 0)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        as_nobody([])


def test_without_the_right_to_give_up_rights_the_reason_is_said(tmp_path, monkeypatch):
    def refuse(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "shut").mkdir()
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr("os.setgroups", refuse)
    with pytest.raises(pytest.skip.Exception, match=r"no rights to give up rights \(Operation not permitted\)"):
        as_nobody([])


# Shards


def packed(path: Path, *members: tuple[str, bytes], **headers: object) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in headers.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "headers", "reason"),
    [
        ("/etc/passwd.png", {}, "its name leads out of the shard"),
        ("../../up.png", {}, "its name leads out of the shard"),
        ("a/../../up.png", {}, "its name leads out of the shard"),
        ("link.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link, whose content lies elsewhere"),
        ("hard.png", {"type": tarfile.LNKTYPE, "linkname": "good.png"}, "a link, whose content lies elsewhere"),
        ("device.png", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, "not a regular file"),
        ("pipe.png", {"type": tarfile.FIFOTYPE}, "not a regular file"),
        ("n" * 5000 + ".png", {}, "its name has more than 4096 characters"),
        (
            "holes.png",
            {"pax_headers": {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}},
            "stored with holes, which are not filled; write the shard without --sparse",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_member_that_means_ill(world, tmp_path, name, headers, reason):
    """Nothing of it is read or written, what lies before and behind it is."""
    first, last = packed(tmp_path / "1.tar", ("good.png", GOOD)), packed(tmp_path / "3.tar", ("last.png", GOOD))
    evil = packed(tmp_path / "2.tar", (name, GOOD), **headers)
    (tmp_path / "s.tar").write_bytes(_members(first) + _members(evil) + last)
    before = sorted(path.name for path in tmp_path.iterdir())
    ended = command(*lingering(world, "s.tar"))
    assert ended.code == 0
    assert json.loads(ended.out)["provenance"]["data"]["target"]["images"] == 2
    assert list(skipped(ended.out).values()) == [reason]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def _members(data: bytes) -> bytes:
    """A shard without the mark of its end."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.getmembers()
        return data[: tar.offset]


def _sized(data: bytes, size: bytes) -> bytes:
    """A shard whose first member has another size, and a checksum that is right."""
    head = data[:124] + size + data[136:148] + b" " * 8 + data[156:512]
    return head[:148] + b"%06o\0 " % sum(head) + head[156:] + data[512:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", r"not a tar file that can be read: empty file; what follows is not read$"),
        (lambda data: gzip.compress(data), r"not a tar file that can be read: compressed; unpack it$"),
        (lambda _: b"PK\x03\x04" + bytes(2000), "not a tar file that can be read"),
        (lambda _: b"<html>" * 500, "not a tar file that can be read"),
        (lambda data: data[:700], r"cut off in 1\.png$"),
        (lambda data: _sized(data, b"77777777777\0"), r"cut off in 1\.png$"),
        (lambda data: _sized(data, b"\x80" + b"\x7f" * 11), r"s\.tar "),
        (lambda data: _sized(data, b"\xff" * 12), r"s\.tar "),
        (lambda data: _sized(data, b"-0000000001\0"), r"s\.tar "),
    ],
)
def test_a_shard_that_lies_or_is_none(world, tmp_path, change, message):
    data = packed(tmp_path / "s.tar", ("1.png", GOOD))
    (tmp_path / "s.tar").write_bytes(change(data))
    refused(3, command(*lingering(world, "s.tar")), r"^tlaudit: s\.tar: expected images .*, found none; ", message)


# Manifests


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", 2, "expected a header with the names of the columns, got no text$"),
        (b"a.png\n", 2, r"expected a column with the paths of images, path, .*; there are: a\.png$"),
        (b"path;label\na.png;1\n", 2, "there are: path;label$"),
        (b"path,path\na,b\n", 2, "expected one column for the image, got path and path; "),
        (b"path,label,label\na,1,2\n", 2, "expected one column for the class, got label and label; "),
        (b'path\n"a.png\n', 2, "cannot be read as CSV: unexpected end of data$"),
        (b"path\na\0.png\n", 2, "line 2: expected the path of an image, got a character that no path holds$"),
        (b"path\na.png,\n", 2, "line 2: expected 1 cells, got 2$"),
        (b"path\n" + b"x" * 200_000, 2, "cannot be read as CSV: field larger than field limit"),
        (
            b"path\n" + b"x" * 5000 + b".png",
            2,
            "line 2: expected paths and classes of at most 4096 characters, got 5004$",
        ),
        (b"path\na.png\n./a.png\n", 2, r"expected each image once, got again: \./a\.png; remove the rows that repeat$"),
        ("path\nx.png".encode("utf-16"), 2, "expected UTF-8, got 'utf-8' codec can't decode byte 0xff in position 0"),
        ("\u202epath\x1b[2J\na\n".encode(), 2, r"there are: \\u202epath\\x1b\[2J$"),
        (b"path\n/dev/zero.png\n../../../etc/passwd.png\n", 3, "none of 2 images can be used: .*No such file"),
        (b"path\n/etc/passwd\n", 3, "found none; 1 other files; /etc/passwd its name does not end like an image's"),
    ],
)
def test_a_manifest_written_wrong(world, tmp_path, content, code, message):
    (tmp_path / "m.csv").write_bytes(content)
    refused(code, command(*lingering(world, "m.csv")), r"^tlaudit: m\.csv: ", message)


def test_a_manifest_with_mark_and_bare_returns(world, tmp_path):
    (tmp_path / "1.png").write_bytes(GOOD)
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbfpath\r1.png\r")
    ended = command(*lingering(world, "m.csv"))
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("columns", "code", "message"),
    [
        ({}, 2, "expected a column with the paths of images"),
        ({"path": [b"a.png"]}, 2, "row 1: expected the path of an image, got no text$"),
        ({"path": [["a.png"]]}, 2, "row 1: expected the path of an image, got no text$"),
        ({"path": [{"path": "a.png"}]}, 2, "row 1: expected the path of an image, got no text$"),
        ({"path": ["a.png"], "label": [{"a": 1}]}, 2, "row 1: expected a class as a whole number or text, got dict$"),
        ({"path": ["a.png"], "label": [1.5]}, 2, "row 1: expected a class as a whole number or text, got float$"),
        ({"path": ["a\0.png"]}, 2, "row 1: expected the path of an image, got a character that no path holds$"),
        (
            {"path": ["x" * 10**7 + ".png"]},
            2,
            "row 1: expected paths and classes of at most 4096 characters, got 10000004$",
        ),
    ],
)
def test_parquet_of_the_wrong_types(world, columns, code, message):
    write_table(pa.table(columns), "m.parquet")
    refused(code, command(*lingering(world, "m.parquet")), r"^tlaudit: m\.parquet: ", message)


@pytest.mark.parametrize("content", [b"path\na.png\n", b"PAR1" + bytes(100) + b"PAR1", b""])
def test_parquet_that_is_none(world, tmp_path, content):
    (tmp_path / "m.parquet").write_bytes(content)
    refused(3, command(*lingering(world, "m.parquet")), r"^tlaudit: m\.parquet: cannot be read as Parquet: ")


# Class maps


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", b"", "not valid JSON"),
        ("m.json", b"[]", r"expected a JSON object such as \{"),
        ("m.json", b"{}", "expected at least one folder with its class, got none$"),
        ("m.json", b'{"3": NaN}', "folder '3': expected a class index or name, got NaN$"),
        ("m.json", b"{NaN: 3}", "not valid JSON"),
        ("m.json", b'{"3": 3} x', "not valid JSON: Extra data"),
        ("m.json", b'{"3": 3.0}', "folder '3': expected a class index or name, got 3.0$"),
        ("m.json", b'{"3": null}', "folder '3': expected a class index or name, got null$"),
        ("m.json", b'{"3": 12}', "folder '3': expected the name of a class or an index from 0 to 11, got 12$"),
        ("m.json", b'{"3": 3, "3": 3}', "folder '3': folder '3' has a class already"),
        ("m.json", b'{"3": "\\ud800"}', r"got '\\ud800'$"),
        ("m.json", b'{"a":' * 600 + b"1" + b"}" * 600, "expected a class index or name, got a list or an object$"),
        ("m.json", b'{"a":' * 10**5, "not valid JSON"),
        ("m.json", b'{"3": [' + b"1," * 10**5 + b"1]}", "expected a class index or name, got a list or an object$"),
        ("m.json", b'{"3": "' + b"x" * 10**6 + b'"}', "got 'x{1024}…'$"),
        ("m.json", b'{"' + b"x" * 10**6 + b'": 99}', "folder 'x{1024}…': expected the name"),
        ("m.json", b"\xff\xfe{\0}\0", "expected UTF-8"),
        ("m.csv", b"3;4", r"line 1: expected folder,class \(names with commas in quotes\), got \['3;4'\]$"),
        ("m.csv", b"3," + b"x," * 10**5, r"line 1: expected folder,class .*…$"),
        ("m.csv", b"3," + b"x" * 200_000, "line 1: not valid CSV: field larger than field limit"),
        ("m.csv", b"3,\0", r"got '\\x00'$"),
        ("m.csv", b'3,"3', "line 1: not valid CSV: unexpected end of data$"),
        ("m.csv", "\u202e,\x1b]0;x\x07".encode(), r"line 1: expected the name of a class .*, got '\\x1b\]0;x\\x07'$"),
        ("new\nline\u202e.csv", b"3;4", r"^tlaudit: class map new\\x0aline\\u202e\.csv, line 1"),
        ("loop", None, "class map loop: cannot be read: Too many levels of symbolic links$"),
        ("empty", None, "class map empty: cannot be read: Is a directory$"),
        ("x" * 300, None, "cannot be read: File name too long$"),
        ("/dev/zero", None, "class map /dev/zero: cannot be read: it holds more than 64 MiB$"),
        ("pipe", None, "class map pipe: cannot be read: it is a pipe, and nobody writes to it$"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_class_map_that_is_none(world, tmp_path, monkeypatch, name, content, message):
    monkeypatch.setattr("tlaudit.reading.PATIENCE", 0.1)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = command(*lingering(world, world["target_data"], "--class-map", name))
    refused(2, ended, "^tlaudit: class map ", message)
    assert len(ended.err) < 3000
