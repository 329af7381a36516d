"""No command writes over a file that it reads: refused before any work, both options named, the file as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from commanded import command, refused
from tlaudit.cli.flags import FLAGS
from tlaudit.cli.subject import SETS
from tlaudit.data.composite_files import COLUMNS

NETWORKS = ["--source", "none.pth", "--finetuned", "none.pth"]
"""Networks that are not there: whoever looked at them would say so."""

TABLE = ["-f", "csv", "-o"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a file of each kind that a command reads."""
    monkeypatch.chdir(tmp_path)
    for name in ("m.csv", "map.json", "known.json", "net.py", "a.png", "s-0.tar", "s-1.tar", "s.a.csv", "x.pth.state"):
        Path(name).write_text("mine\n")
    Path("link.csv").symlink_to("m.csv")
    for number in ("1", "2"):
        Path("task", number, "val").mkdir(parents=True)
        Path("task", number, "train.csv").write_text("mine\n")


def contents():
    return {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("words", "read", "written"),
    [
        (["lingering", "--source-data", "m.csv", "-o", "m.csv"], "--source-data", "--output (csv)"),
        (["lingering", "--target-data", "m.csv", "-o", "./m.csv"], "--target-data", "--output (csv)"),
        (["lingering", "--target-data", "link.csv", "-o", "m.csv"], "--target-data", "--output (csv)"),
        (["lingering", "--val-data", "m.csv", "-o", "link.csv"], "--val-data", "--output (csv)"),
        (["lingering", "--class-map", "map.json", "-o", "map.json"], "--class-map", "--output (json)"),
        (["lingering", "--target-data", "m.csv", "-f", "csv", "-f", "json", "-o", "m.x"], "--target-data", "(csv)"),
        (["lingering", "--target-data", "s-{0..1}.tar", *TABLE, "s-1.tar"], "shard 2 of --target-data", "--output"),
        (["lingering", "--arch", "net.py:build", *TABLE, "net.py"], "--arch", "--output"),
        (["distraction", "--target-data", "m.csv", "--save-rows", "m.csv"], "--target-data", "--save-rows"),
        (["audit", "--target-data", "m.csv", "-o", "m.csv"], "--target-data", "--output (csv)"),
        (["erosion", "--data", "m.csv", "-o", "m.csv"], "--data (data of [erosion])", "--output (csv)"),
        (["stress", "--test-data", "m.csv", "-o", "m.csv"], "--test-data (test of [stress])", "--output (csv)"),
        (["screen", "m.csv", "-o", "m.csv"], "IMAGES 1", "--output"),
        (["screen", "s-0.tar", "a.png", *TABLE, "a.png"], "IMAGES 2", "--output"),
        (["screen", "x", "--calibrate", "m.csv", "-o", "m.csv"], "--calibrate (calibrate of [screen])", "--output"),
        (["screen", "x", "--target-data", "m.csv", "--summary", "./m.csv"], "--target-data", "--summary"),
        (["screen", "map.json", "-o", "x.csv", "--summary", "map.json"], "IMAGES 1", "--summary"),
        (["repair", "--train-data", "m.csv", "--steps", "m.csv"], "--train-data (train of [repair])", "--steps"),
        (["repair", "--probe-data", "m.csv", "--result", "m.csv"], "(probe of [repair.judge])", "--result (csv)"),
        (
            ["repair", "--task", "a=task/1", "--task", "b=task/2", "--steps", "task/2/train.csv"],
            "train of --task b",
            "--steps",
        ),
        (["init", "--target-data", "m.csv", "-o", "m.csv", "--force"], "--target-data", "--output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_read_is_not_written_over(words, read, written):
    before = contents()
    name, *more = words
    networks = NETWORKS[:2] if name in {"stress", "repair"} else NETWORKS
    ended = command(name, *networks, *more)
    refused(2, ended)
    assert f"both {read} and " in ended.err.replace("--probe-data ", "")
    assert f"{written}" in ended.err.partition(" and ")[2]
    assert ended.err.endswith("name it; give each its own file\n")
    assert len(ended.lines) == 1
    assert contents() == before


def test_inspect_does_not_write_over_the_code_of_a_network():
    ended = command("inspect", "none.pth", "--arch", "net.py:build", "-o", "net.py")
    refused(2, ended, r"^tlaudit: net\.py: both --arch and --output name it; ")
    assert Path("net.py").read_text() == "mine\n"


def test_the_file_of_settings_names_what_is_read_too():
    Path("tlaudit.toml").write_text('[erosion]\ndata = "m.csv"\n')
    ended = command("audit", *NETWORKS, "-o", "m.csv")
    refused(2, ended, r"m\.csv: both --data \(data of \[erosion\]\) and --output \(csv\) name it")


def test_nor_is_what_is_read_written_over_in_a_folder_of_composites():
    Path("ours").mkdir()
    Path("ours", "composites.csv").write_text(",".join(COLUMNS) + "\n")
    ended = command("distraction", *NETWORKS, "--target-data", "ours/composites.csv", "--save-composites", "ours")
    refused(2, ended, r"composites\.csv: --target-data lies in the folder of --save-composites, which is written as a")


def test_other_places_are_no_matter():
    """What is not the same file is not refused: the networks are looked for."""
    ended = command("lingering", *NETWORKS, "--source-data", ".", "--target-data", "m.csv", "-o", "other.csv")
    assert ended.code != 0
    assert "both" not in ended.err
    assert "none.pth" in ended.err


def test_a_pattern_that_is_written_wrong_is_for_its_reader_to_refuse():
    words = ["--source-data", ".", "--target-data", "s-{2..1}.tar", "-o", "other.csv"]
    assert "none.pth" in command("lingering", *NETWORKS, *words).err


def test_every_option_that_names_images_is_known():
    """Each option that takes a path names images, or is one of those that are looked at by their commands."""
    others = {"--class-map", "--lingering", "--save-composites", "--save-rows", "--summary", "--runs", "--cache-dir"}
    taken = {
        (section, flag.key)
        for section, flags in FLAGS.items()
        for flag in flags
        if flag.kind is Path and flag.names not in others
    }
    assert {(section, key) for _, section, key in SETS} == taken
    by_option = {(section, flag.key): flag.names for section, flags in FLAGS.items() for flag in flags}
    assert all(by_option[section, key] == option for option, section, key in SETS)


@pytest.mark.parametrize("place", ["x.pth", "./x.pth", "task/../x.pth"])
def test_a_file_that_is_read_where_a_repair_saves_its_state(place):
    """Such as a manifest of a name that nobody expects."""
    Path("tlaudit.toml").write_text('[data]\nclass_map = "x.pth.state"\n')
    words = ["--source", "none.pth", "--train-data", "m.csv", "-o", place]
    refused(2, command("repair", *words), "both --class-map and the saved state of ldifs name it")
