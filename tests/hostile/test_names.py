"""Hostile names of files, folders and classes through every command that reads folders, to every output."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from PIL import Image

import tiny
from commanded import command
from gated import a_policy, an_audit, flips
from tlaudit.data.folders import printable

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "new\nline",
    "return\rx",
    "tab\tx",
    "\x1b[31mred\x1b[2J",
    "\u202egnp.exe",
    "\u2066isolate\u2069",
    "<script>alert(1)<",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "%s%n%d",
    "`code` | cell |",
    "=cmd()|'a'!b",
    "+1",
    "@x",
    "-dash",
    "zero\u200bwidth",
    "e\u0301",
    "\u00e9",
    "👩\u200d💻",
    "\udcff\udcfe",
    "\udc85",
    "\x85",
    "x" * 250,
    "trailing ",
    " leading",
    "CON",
    "back\\slash",
    "back\\\\slash",
    "line\u2028separator",
    "[x](javascript:alert(1))",
    "*stars* _lines_",
    "a,b;c",
    "'quote\"",
    "null",
    "nan",
    "~tilde$HOME",
    "ＦＵＬＬ",
    "--help",
    "été",
    "{a,b}",
]
"""Names that a folder can have; none can hold a slash or a NUL."""

SIDE = 16
ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal, or the order of text on a line, obeys; line breaks end lines."""


class World(NamedTuple):
    """Networks, their source images and the target images, all called hostile names."""

    root: Path
    source: list[str]
    target: list[str]


def build(root: Path, names: list[str]) -> World:
    """The world of colours, its eight classes and both target classes called these names, in their order."""
    source, target = names[: len(tiny.CORNERS)], names[-2:]
    for name, net, classes in (
        ("source", tiny.source_reader(), source),
        ("finetuned", tiny.background_reader(), target),
        ("baseline", tiny.overlay_reader(), target),
    ):
        torch.save({"state_dict": net.state_dict(), "classes": classes}, root / f"{name}.pth")
    for index, name in enumerate(source):
        paint(root / "images" / name, tiny.CORNERS[index], name)
    for number, name in enumerate(target):
        paint(root / "target" / name, tiny.CORNERS[tiny.TASK[number]], name)
        # A picture that cannot be read, called as its folder: its name is in messages.
        (root / "target" / name / f"{name[:240]}.gif").write_bytes(b"no picture")
    return World(root, source, target)


def paint(folder: Path, colour: tuple[int, int, int], name: str) -> None:
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (SIDE + number, SIDE), colour).save(folder / f"{name[:240]}{number}.png")


def chunks() -> list[list[str]]:
    """All names, eight at a time; the last ones together with the first."""
    size = len(tiny.CORNERS)
    return [(NAMES + NAMES)[at : at + size] for at in range(0, len(NAMES), size)]


@pytest.fixture(scope="module", params=chunks(), ids=lambda names: ascii(names[0]))
def world(request, tmp_path_factory):
    return build(tmp_path_factory.mktemp("world"), request.param)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def words(world: World, name: str, *more: object) -> list[object]:
    networks = [
        word for role in ("source", "finetuned", "baseline") for word in (f"--{role}", world.root / f"{role}.pth")
    ]
    net = ["--arch", tiny.READER, "--resize", SIDE, "--crop", SIDE, "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    data = ["--source-data", world.root / "images", "--target-data", world.root / "target"]
    found = ["--k", "1", "--v-lo-count", "0", "--p-lo", "0.5"] if name in {"lingering", "distraction", "audit"} else []
    return [name, *networks, *net, *data, *found, "--device", "cpu", "-j", "0", *more]


def read(ended) -> str:
    """What people read, of a command that did what it was asked: no character acts on a terminal."""
    assert ended.code == 0, ended.err
    assert not ACTS.search(ended.err), ascii(ended.err)
    return ended.out


def test_names_are_different_and_possible():
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert not any(set(name) & {"/", "\0"} for name in NAMES)
    assert len({unicodedata.normalize("NFC", name) for name in NAMES}) < len(NAMES)
    assert ACTS.search("a\x1b[2J")
    assert len({printable(name) for name in NAMES}) == len(NAMES)


def columns(text: str) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert all(len(row) == len(header) for row in rows)
    return {name: [row[at] for row in rows] for at, name in enumerate(header)}


def written(name: str) -> str:
    """A class name as documents hold it: as it is, but for bytes that are no text."""
    return re.sub("[\ud800-\udfff]", lambda lone: f"\\u{ord(lone[0]):04x}", name)


def names_in(result: dict, column: str = "class_name") -> set[str]:
    """Names in a result's table of classes."""
    return {row[column] for row in result["tables"]["classes"]["rows"]}


def test_lingering_in_every_format(world, tmp_path):
    ended = command(*words(world, "lingering", "-o", "found.json", "--report", "page.html"))
    read(ended)
    assert names_in(json.loads((tmp_path / "found.json").read_text("utf-8"))) == set(map(written, world.source))
    assert (tmp_path / "page.html").stat().st_size
    for name in ("table", "markdown"):
        assert not ACTS.search(read(command(*words(world, "lingering", "-f", name, "-q")))), name
    in_csv = columns(read(command(*words(world, "lingering", "-f", "csv", "-q"))))["class_name"]
    assert sorted(in_csv) == sorted(map(written, world.source))


def test_images_that_were_left_out_are_named(world):
    ended = command(*words(world, "lingering", "-f", "json", "-q"))
    left_out = json.loads(read(ended))["provenance"]["data"]["target"]["skipped"]
    expected = sorted(f"{printable(name)}/{printable(name[:240])}.gif" for name in world.target)
    assert [entry["file"] for entry in left_out] == expected
    assert [line.partition(": the name says")[0] for line in ended.lines] == [
        f"tlaudit: skipped {name}" for name in expected
    ]


def test_distraction_with_composites_and_rows(world, tmp_path):
    files = ["--save-composites", "composites", "--save-rows", "rows.csv", "-o", "found.json", "--report", "page.html"]
    read(command(*words(world, "distraction", "--per-class", "2", *files)))
    assert names_in(json.loads((tmp_path / "found.json").read_text("utf-8"))) <= set(map(written, world.source))
    rows = columns((tmp_path / "rows.csv").read_text("utf-8"))
    assert all(rows.values())
    saved = [path.name for path in (tmp_path / "composites").rglob("*")]
    assert saved
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in saved)
    for path in (tmp_path / "composites").rglob("*.csv"):
        columns(path.read_text("utf-8"))
    for name in ("table", "markdown"):
        assert not ACTS.search(read(command(*words(world, "distraction", "--per-class", "2", "-f", name, "-q")))), name


def test_screen_in_both_formats(world, tmp_path):
    read(command(*words(world, "lingering", "-o", "found.json", "-q")))
    given = words(world, "screen", "--lingering", "found.json", "-q", world.root / "target")
    at = given.index("--source-data")
    del given[at : at + 4]
    lines = [json.loads(line) for line in read(command(*given, "-f", "jsonl")).split("\n") if line]
    rows = columns(read(command(*given, "-f", "csv")))
    above = printable(str(world.root / "target"))
    files = [f"{name[:240]}{end}" for name in world.target for end in (".gif", "0.png", "1.png", "2.png")]
    folders = [name for name in world.target for _ in range(4)]
    expected = {f"{above}/{printable(folder)}/{printable(file)}" for folder, file in zip(folders, files, strict=True)}
    assert {line["image"] for line in lines} == set(rows["image"]) == expected
    reminds = {line["reminds_of"] for line in lines} - {None}
    assert reminds <= set(map(written, world.source))
    assert set(rows["reminds_of"]) - {""} == reminds


FILE = """\
[models]
source = "{root}/source.pth"
finetuned = "{root}/finetuned.pth"
baseline = "{root}/baseline.pth"
arch = "{arch}"
[data]
source = "{root}/images"
target = "{root}/target"
[preprocess]
resize = 16
crop = 16
mean = [0, 0, 0]
std = [1, 1, 1]
[execution]
device = "cpu"
workers = 0
[lingering]
k = 1
v_lo_count = 0
p_lo = 0.5
bootstrap = 100
[distraction]
per_class = 2
bootstrap = 100
[erosion]
stages = ["channels"]
bootstrap = 100
"""


@pytest.mark.slow
def test_audit_then_gate_and_compare(world, tmp_path):
    (tmp_path / "tlaudit.toml").write_text(FILE.format(root=world.root, arch=tiny.READER))
    read(command("audit", "-o", "audit.json", "--report", "page.html"))
    read(command("audit", "-o", "other.json", "--seed", "1"))
    for name in ("table", "markdown", "csv"):
        text = read(command("audit", "-f", name, "-q"))
        assert name == "csv" or not ACTS.search(text)
    for name in ("table", "markdown", "json"):
        for given in (["gate", "audit.json"], ["compare", "audit.json", "other.json"]):
            ended = command(*given, "-f", name)
            assert ended.code in {0, 1, 3}
            assert "crashed" not in ended.err
            assert not ACTS.search(ended.err), ascii(ended.err)
            assert name == "json" or not ACTS.search(ended.out), ascii(ended.out)
    ended = command("inspect", world.root / "source.pth", "--arch", tiny.READER)
    assert not ACTS.search(read(ended))


def test_a_class_map_names_folders_as_they_are_printed(world, tmp_path):
    """And the classes as the checkpoint does."""
    reversed_map = {printable(name): other for name, other in zip(world.source, reversed(world.source), strict=True)}
    entries = {folder: name for folder, name in reversed_map.items() if name == written(name)}
    numbered = {folder: world.source.index(reversed_map[folder]) for folder in reversed_map.keys() - entries.keys()}
    (tmp_path / "map.json").write_text(json.dumps(entries | numbered))
    ended = command(*words(world, "lingering", "--class-map", "map.json", "-f", "json", "-q"))
    if ended.code == 2:
        # Names that differ in case, or in what is taken for a space, are one to a reader of maps: it says so.
        assert re.search(r"map\.json, .* may be class \d+ .* or \d+ .*: give the index", ended.err), ended.err
    else:
        assert names_in(json.loads(read(ended))) == set(map(written, world.source))


# Where results go


FOLDER = "a\n\x1b[2J\u202eb\u2028\\x0a"
"""A folder that splits lines, clears the screen and turns text around; its last five characters are but text."""
SAID = r"a\u000a\u001b[2J\u202eb\u2028\x0a"
"""The same as messages have it."""


@pytest.fixture
def small(tmp_path):
    """Networks and pictures of harmless names, and a hostile folder with a file, a pipe and a folder in it."""
    made = build(tmp_path, [f"c{number}" for number in range(len(tiny.CORNERS))])
    for name in made.target:
        (made.root / "target" / name / f"{name}.gif").unlink()
    (tmp_path / FOLDER / "x.json").mkdir(parents=True)
    (tmp_path / FOLDER / "net.pth").write_bytes(b"no network")
    (tmp_path / FOLDER / "tlaudit.toml").touch()
    os.mkfifo(tmp_path / FOLDER / "pipe.json")
    return made


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["lingering", "-o", f"{FOLDER}/x.json"], f"{SAID}/x.json: expected a file to write, this is a folder"),
        (["lingering", "-o", f"{FOLDER}/pipe.json"], f"{SAID}/pipe.json: expected an ordinary file, this is a device"),
        (["lingering", "-o", f"no{FOLDER}/x.json"], f"no{SAID}/x.json: the folder no{SAID} does not exist; create it"),
        (["lingering", "-o", f"{FOLDER}/x.{FOLDER}"], f"x.{SAID}: no format ends in "),
        (["lingering", "-f", f"no{FOLDER}"], "unknown format "),
        (["lingering", "--report", f"{FOLDER}/x.txt"], f"{SAID}/x.txt: a report is HTML; name a file that ends in"),
        (
            ["lingering", "-o", f"{FOLDER}/a.html", "--report", f"{FOLDER}/a.html"],
            f"{SAID}/a.html: both --output and --report",
        ),
        (["lingering", "--config", f"{FOLDER}/none.toml"], f"{SAID}/none.toml: "),
        (["distraction", "--save-rows", f"no{FOLDER}/x.csv"], f"no{SAID}/x.csv: "),
        (["distraction", "--save-composites", f"{FOLDER}/net.pth"], f"{SAID}/net.pth: "),
        (["screen", "target", "--summary", f"{FOLDER}/x.json"], f"{SAID}/x.json: expected a file to write"),
        (["screen", "target", "-o", f"{FOLDER}/x.{FOLDER}"], f"x.{SAID}: no format ends in "),
        (["repair", "--train-data", "target", "-o", f"no{FOLDER}/x.pth"], f"no{SAID}/x.pth: the folder no{SAID} does"),
        (["repair", "--train-data", "target", "--steps", f"{FOLDER}/x.txt"], f"{SAID}/x.txt: expected a name that"),
        (["repair", "--task", f"{FOLDER}=x"], f"--task {SAID}=x: expected NAME=DIR"),
        (["init", "-o", f"no{FOLDER}/tlaudit.toml"], f"no{SAID}/tlaudit.toml: the folder no{SAID} does not exist"),
        (["init", "-o", f"{FOLDER}/tlaudit.toml"], f"{SAID}/tlaudit.toml: there is a file of that name"),
        (["init", "-o", f"{FOLDER}/pyproject.toml"], f"{SAID}/pyproject.toml: expected a file of its own"),
        (["inspect", f"{FOLDER}/net.pth"], r"tlaudit: a \u001b[2J\u202eb \x0a/net.pth: not a checkpoint"),
        (["inspect", "source.pth", "-o", f"{FOLDER}/x.json"], f"{SAID}/x.json: expected a file to write"),
        (["inspect", "source.pth", "-f", FOLDER], "unknown format "),
        (["gate", f"no{FOLDER}/x.json"], f"no{SAID}/x.json: "),
        (["gate", "x.json", "-o", f"no{FOLDER}/x.json"], f"no{SAID}/x.json: the folder no{SAID} does not exist"),
        (["compare", "x.json", "-o", f"no{FOLDER}/x.json"], f"no{SAID}/x.json: the folder no{SAID} does not exist"),
    ],
    ids=lambda value: ascii(value[0]) if isinstance(value, list) else "",
)
def test_a_hostile_place_in_a_message(small, more, message):
    """One line that says the name, every character of which is spelt out that would do anything."""
    name, *own = more
    networks = ["--source", "source.pth"] + (["--finetuned", "finetuned.pth"] if name != "repair" else [])
    networks = [] if name in {"inspect", "gate", "compare"} else networks
    ended = command(name, *networks, *own)
    assert ended.code in {2, 3}
    assert not ACTS.search(ended.err), ascii(ended.err)
    assert [line.partition(" ")[0] for line in ended.err.split("\n")] == ["tlaudit:", ""]
    assert alike(message) in alike(ended.err), ended.err


def alike(text: str) -> str:
    """A message in one of the two spellings there are: with backslashes doubled, or not."""
    return text.replace("\\\\", "\\").replace("\\x0a", "\\u000a").replace("\\x1b", "\\u001b")


def test_what_was_written_to_a_hostile_place_is_named_in_a_line(small, tmp_path):
    there = tmp_path / FOLDER
    ended = command(*words(small, "lingering", "-o", there / "ok.json", "--report", there / "ok.html"))
    read(ended)
    above = str(tmp_path)
    assert f"written: {above}/{SAID}/ok.json\nwritten: {above}/{SAID}/ok.html\n" in ended.err
    given = words(small, "init")
    start, stop = (given.index(option) for option in ("--resize", "--source-data"))
    given = given[:start] + given[stop : given.index("--device")]
    ended = command(*given, "-o", there / "tlaudit.toml", "--force")
    read(ended)
    assert ended.err.startswith(f"written: {above}/{SAID}/tlaudit.toml\nnext: ")
    assert [line.partition(":")[0] for line in ended.err.split("\n")] == ["written", "next", "then", ""]


def test_a_warning_is_one_line_too(tmp_path, monkeypatch):
    """Here of a page of GitHub's that cannot be written."""
    (tmp_path / "audit.json").write_text(an_audit(flips(0.01)).to_json(), encoding="utf-8")
    a_policy(tmp_path, {"max": 0.2})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", f"no{FOLDER}/x.md")
    ended = command("gate", "audit.json", "-q")
    assert ended.code == 0
    assert ended.err.startswith(f"tlaudit: no{SAID}/x.md: the step summary cannot be written: ")
    assert len(ended.lines) == 1
    assert not ACTS.search(ended.err), ascii(ended.err)
