"""Where a repair writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlaudit.errors import UsageError
from tlaudit.repair.places import Places


def test_one_network_has_the_files_that_were_named(tmp_path):
    places = Places(tmp_path / "net.safetensors", tmp_path / "steps.csv")
    assert places.checkpoint_of("ldifs", ["ldifs"]) == tmp_path / "net.safetensors"
    assert places.steps_of("ldifs", ["ldifs"]) == tmp_path / "steps.csv"
    assert places.state_of("ldifs", ["ldifs"]) == tmp_path / "net.safetensors.state"


def test_of_several_each_has_its_own(tmp_path):
    places = Places(tmp_path / "net.v2.pth", tmp_path / "steps.jsonl")
    names = ["plain", "ldifs"]
    assert places.checkpoint_of("ldifs", names) == tmp_path / "net.v2.ldifs.pth"
    assert places.steps_of("plain", names) == tmp_path / "steps.plain.jsonl"
    assert places.state_of("plain", names) == tmp_path / "net.v2.plain.pth.state"


def test_nothing_is_written_unless_named():
    places = Places()
    places.refuse(["ldifs"], {})
    assert (places.checkpoint_of("a", ["a"]), places.steps_of("a", ["a"]), places.state_of("a", ["a"])) == (None,) * 3


def test_forgets_states(tmp_path):
    places = Places(tmp_path / "net.pth")
    for name in ("a", "b"):
        places.state_of(name, ["a", "b"]).write_bytes(b"state")
    (tmp_path / "net.a.pth").write_bytes(b"weights")
    places.forget(["a", "b"])
    assert [path.name for path in tmp_path.iterdir()] == ["net.a.pth"]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (Places(Path("net.ckpt")), r"net.ckpt: expected a name that ends in .safetensors or .pth"),
        (Places(None, Path("steps.txt")), r"steps.txt: expected a name that ends in .csv or .jsonl"),
        (Places(Path("nowhere/net.pth")), "the folder nowhere does not exist"),
        (Places(None, None, resume=True), "--resume .* give --output"),
    ],
)
def test_refuses(places, message):
    with pytest.raises(UsageError, match=message):
        places.refuse(["ldifs"], {})


def test_refuses_a_folder_that_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match="is not writable"):
        Places(tmp_path / "net.pth").refuse(["ldifs"], {})


@pytest.mark.parametrize(
    ("given", "read", "message"),
    [
        ({"checkpoint": "net.pth"}, {"--source": "net.b.pth"}, "both --source and --output of b name it"),
        ({"steps": "s.csv", "others": {"--result (csv)": "s.a.csv"}}, {}, r"both --result \(csv\) and --steps of a"),
        ({"checkpoint": "net.pth"}, {"--finetuned": "net.a.pth.state"}, "both --finetuned and the saved state of a"),
    ],
)
def test_refuses_to_write_over_anything_else(tmp_path, given, read, message):
    others = {option: tmp_path / name for option, name in given.pop("others", {}).items()}
    places = Places(**{key: tmp_path / name for key, name in given.items()}, others=others)
    with pytest.raises(UsageError, match=message):
        places.refuse(["a", "b"], {option: tmp_path / name for option, name in read.items()})


def test_refuses_to_write_over_what_the_caller_read(tmp_path):
    """One training's table among them, which nobody named as it is."""
    places = Places(steps=tmp_path / "s.csv", read={"--train-data": tmp_path / "s.b.csv"})
    with pytest.raises(UsageError, match="s.b.csv: both --train-data and --steps of b name it"):
        places.refuse(["a", "b"])
