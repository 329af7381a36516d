"""Files and folders named one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tlaudit.data.inputs import gather
from tlaudit.errors import DataError, UsageError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def names(inputs):
    return [item.name for item in inputs.images.items]


def test_keeps_the_order_of_the_arguments_and_sorts_within_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.png", "b/1.png", "b/deep/er/0.png", "a.jpg", "z.png"):
        picture(Path(name))
    Path("b/notes.txt").write_text("x")
    inputs = gather([Path("z.png"), Path("b"), Path("a.jpg"), Path("z.png")])
    assert names(inputs) == ["z.png", "b/1.png", "b/2.png", "b/deep/er/0.png", "a.jpg", "z.png"]
    assert all(item.path.exists() for item in inputs.images.items)
    assert inputs.refused == ()
    assert (inputs.images.available, inputs.images.other_files) == (6, 1)
    assert str(inputs.images.root) == "z.png, b, a.jpg and 1 more"


def test_what_holds_no_image_keeps_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("a/1.png"))
    Path("notes.txt").write_text("x")
    Path("empty").mkdir()
    (Path("a") / "loop").symlink_to(Path("a").resolve(), target_is_directory=True)
    inputs = gather([Path("notes.txt"), Path("a"), Path("empty"), Path("a/1.png")])
    assert names(inputs) == ["a/1.png", "a/1.png"]
    assert [(at, skipped.file) for at, skipped in inputs.refused] == [(0, "notes.txt"), (1, "a/loop/"), (1, "empty")]
    reasons = [skipped.reason for _, skipped in inputs.refused]
    assert "does not end like an image's" in reasons[0]
    assert reasons[2].startswith("expected images")


def test_names_are_printable(tmp_path):
    assert names(gather([picture(tmp_path / "two\nlines.png")])) == [f"{tmp_path}/two\\x0alines.png"]


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="name images"):
        gather([])
    with pytest.raises(UsageError, match=r"no such file or folder: .*none\.png, .*nowhere"):
        gather([tmp_path / "none.png", picture(tmp_path / "a.png"), tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image to screen: .*empty: expected images"):
        gather([tmp_path / "empty"])
