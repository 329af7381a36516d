"""Tar shards: what is found in them, and that no damaged or hostile one does harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
from typing import TYPE_CHECKING

import pytest
import torch

from tlaudit.data.account import fingerprint
from tlaudit.data.images import ImageSet, ImageStream
from tlaudit.data.kinds import expanded
from tlaudit.data.shards import list_shards
from tlaudit.errors import ClassMatchError, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tlaudit.data.folders import Listing


def write(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]], **options: object) -> Path:
    """A shard with these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def found(path: Path) -> Listing:
    return list_shards(str(path.parent), [path.name])


def classes(listing: Listing) -> dict[str, str | None]:
    return {item.name: item.folder for item in listing.items}


def reasons(listing: Listing) -> dict[str, str]:
    return {skipped.file: skipped.reason for skipped in listing.unread}


@pytest.fixture
def shards(photos: Path, tmp_path: Path) -> Path:
    """The photographs, in their order, in three shards with classes beside them."""
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.*"))
    for shard in range(3):
        members = []
        for name in names[8 * shard : 8 * shard + 8]:
            key = name.replace("/", "_").partition(".")[0]
            members += [(f"{key}.cls", name[:3].encode()), (f"{key}{name[-4:]}", (photos / name).read_bytes())]
        write(tmp_path / "shards" / f"train-{shard:04d}.tar", members)
    return tmp_path / "shards"


# What is found


def test_class_is_that_of_the_cls_file_then_the_json_then_the_folder(tmp_path: Path) -> None:
    shard = write(
        tmp_path / "a.tar",
        {
            "x/1.jpg": b"1",
            "x/1.cls": b" 7\n",
            "x/1.json": b'{"label": 9}',
            "x/2.json": b'{"caption": "a", "class": "tench"}',
            "x/2.jpg": b"22",
            "x/3.json": b'{"caption": "a"}',
            "x/3.PNG": b"333",
            "4.left.jpg": b"4",
            "4.right.jpg": b"4",
            "4.cls": b"great white",
            "5.jpg": b"5",
            "x/6.txt": b"",
        },
    )
    listing = found(shard)
    assert classes(listing) == {
        "a.tar/x/1.jpg": "7",
        "a.tar/x/2.jpg": "tench",
        "a.tar/x/3.PNG": "x",
        "a.tar/4.left.jpg": "great white",
        "a.tar/4.right.jpg": "great white",
        "a.tar/5.jpg": None,
    }
    assert (listing.folders, listing.other_files, listing.unread) == (["7", "great white", "tench", "x"], 1, [])


def test_class_may_lie_far_from_its_image(tmp_path: Path) -> None:
    members = [(f"d/{n}.jpg", b"x") for n in range(50)] + [(f"d/{n}.cls", str(n % 3).encode()) for n in range(50)]
    assert list(classes(found(write(tmp_path / "a.tar", members))).values()) == [str(n % 3) for n in range(50)]


@pytest.mark.parametrize(
    ("member", "data", "reason"),
    [
        ("1.cls", b"", "expected one line with an index or a name, got none"),
        ("1.cls", b"a\nb", "expected one line with an index or a name, got more"),
        ("1.cls", b"\xff", "expected UTF-8"),
        ("1.cls", b"x" * 2000, "expected a file of at most 1024 bytes"),
        ("1.json", b"{", "not valid JSON"),
        ("1.json", b"[" * 100_000, "not valid JSON"),
        ("1.json", b'{"label": 1' + b"0" * 5000 + b"}", "not valid JSON"),
        ("1.json", b'{"label": 1.5}', "expected an index or a name as label"),
        ("1.json", b'{"cls": true}', "expected an index or a name as cls"),
        ("1.json", b'{"cls": " "}', "expected an index or a name as cls"),
        ("1.json", b'{"label": 1, "label": 2}', "expected one label, got several that differ"),
    ],
)
def test_a_class_that_cannot_be_read_is_none_and_no_other_is_guessed(
    tmp_path: Path, member: str, data: bytes, reason: str
) -> None:
    listing = found(write(tmp_path / "a.tar", {"x/1.jpg": b"1", f"x/{member}": data}))
    assert classes(listing) == {"a.tar/x/1.jpg": None}
    assert reasons(listing)[f"a.tar/x/{member}"].startswith("says no class: ")
    assert reason in reasons(listing)[f"a.tar/x/{member}"]


def test_members_that_contradict_each_other_say_no_class(tmp_path: Path) -> None:
    members = [("x/1.jpg", b"1"), ("x/1.left.png", b"2"), ("x/2.jpg", b"3"), ("x/3.jpg", b"4")]
    members += [
        ("x/1.cls", b"7"),
        ("x/1.cls", b"8"),
        ("x/1.json", b'{"label": 7}'),
        ("x/9.cls", b"1"),
        ("x/9.cls", b"2"),
    ]
    members += [("x/2.cls", b"5"), ("./x/2.cls", b"5"), ("x/3.json", b'{"label": 4, "label": 4}')]
    listing = found(write(tmp_path / "a.tar", members))
    assert list(classes(listing).values()) == [None, None, "5", "4"]
    assert reasons(listing) == {"a.tar/x/1.cls": "several members of that name say different classes; none is taken"}


def test_a_shard_without_images_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"1.txt": b"1"})
    with pytest.raises(DataError, match=r"found none; 1 other files; a\.tar has no image among its members"):
        ImageSet.scan(tmp_path / "a.tar", labelled=True)


def test_same_bytes_same_pixels_same_kind_of_fingerprint(photos: Path, shards: Path, small) -> None:
    folder, sharded = ImageSet.scan(photos, labelled=True), ImageSet.scan(shards, labelled=True)
    assert sharded.folders == folder.folders
    assert (sharded.available, sharded.other_files, sharded.unread) == (23, 0, ())
    seen = []
    for images in (folder, sharded):
        stream = ImageStream(images, [small], batch_size=5, workers=2)
        seen.append(torch.cat([batch.pixels[small.geometry] for batch in stream]))
        assert stream.record().fingerprint == fingerprint(images)
    assert torch.equal(*seen)
    by_hand = hashlib.sha256()
    for ours, theirs in zip(sharded.items, folder.items, strict=True):
        assert ours.folder == theirs.folder
        content = theirs.path.read_bytes()
        by_hand.update(f"{ours.name}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\n".encode())
    assert fingerprint(sharded) == by_hand.hexdigest()


def test_one_shard_a_pattern_and_a_folder_of_shards(shards: Path) -> None:
    every = ImageSet.scan(shards, labelled=True)
    pattern = ImageSet.scan(shards / "train-{0000..0002}.tar", labelled=True)
    assert pattern.items == every.items
    one = ImageSet.scan(shards / "train-0001.tar", labelled=True)
    assert [item.name for item in one.items] == [
        item.name for item in every.items if item.name.startswith("train-0001")
    ]
    some = ImageSet.scan(shards, labelled=True, limit=7, seed=3)
    assert (len(some.items), some.available, some.folders) == (7, 23, every.folders)
    assert {item.folder for item in some.items} == {"ant", "bee", "cat"}


def test_shards_below_class_folders_keep_their_names(shards: Path) -> None:
    (shards / "deep").mkdir()
    (shards / "train-0002.tar").rename(shards / "deep" / "train-0000.tar")
    names = [item.name for item in ImageSet.scan(shards, labelled=True).items]
    assert len(set(names)) == 23
    assert names[0].startswith("deep/train-0000.tar/")
    both = ImageSet.scan(shards / "{deep/train-0000,train-0000}.tar", labelled=True)
    assert len({item.name for item in both.items}) == 15


def test_shards_beside_images_are_not_read_and_it_is_said(photos: Path, shards: Path, caplog) -> None:
    (shards / "train-0000.tar").rename(photos / "photos.tar")
    images = ImageSet.scan(photos, labelled=True)
    assert (len(images.items), images.other_files) == (23, 1)
    assert "tar shards beside them are not read: photos.tar" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}/{00..01}.tar", ["x/00.tar", "x/01.tar", "y/00.tar", "y/01.tar"]),
    ],
)
def test_patterns(pattern: str, paths: list[str]) -> None:
    assert expanded(pattern) == paths


@pytest.mark.parametrize("pattern", ["{}.tar", "{a}.tar", "{3..1}.tar", "{a..c}.tar", "{1,1}.tar", "{0..100000}.tar"])
def test_refuses_patterns(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"expected braces such as|names a shard twice|expected at most 100000"):
        expanded(pattern)


def test_refuses_patterns_with_missing_shards(shards: Path) -> None:
    with pytest.raises(UsageError, match=r"stands for 5 shards, of which 2 are missing: .*0003\.tar, .*0004\.tar$"):
        ImageSet.scan(shards / "train-{0000..0004}.tar", labelled=True)


def test_labelled_needs_a_class_for_each_image(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"1.jpg": b"1", "2.jpg": b"2", "2.cls": b"3"})
    with pytest.raises(
        ClassMatchError, match=r"a class for each image \(KEY\.cls, .*, but a\.tar/1\.jpg has none; add"
    ):
        ImageSet.scan(tmp_path / "a.tar", labelled=True)
    assert ImageSet.scan(tmp_path / "a.tar", labelled=False).folders == ("3",)


# What means ill


def test_compressed_shards_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "a.tar", {"1.jpg": b"1"}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
    with pytest.raises(UsageError, match="got a compressed archive; unpack it"):
        ImageSet.scan(tmp_path / "a.tar.gz", labelled=False)
    (tmp_path / "a.tar").write_bytes(gzip.compress(data))
    with pytest.raises(DataError, match="a.tar not a tar file that can be read: compressed; unpack it"):
        ImageSet.scan(tmp_path / "a.tar", labelled=False)


def test_members_that_cannot_be_had_have_reasons(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in {
            "good.jpg": tarfile.REGTYPE,
            "link.jpg": tarfile.SYMTYPE,
            "hard.jpg": tarfile.LNKTYPE,
            "device.jpg": tarfile.CHRTYPE,
            "pipe.jpg": tarfile.FIFOTYPE,
            "folder.jpg": tarfile.DIRTYPE,
            "../up.jpg": tarfile.REGTYPE,
            "/etc/top.jpg": tarfile.REGTYPE,
            "./same.jpg": tarfile.REGTYPE,
            "same.jpg": tarfile.REGTYPE,
            "._litter.jpg": tarfile.REGTYPE,
            "__MACOSX/litter.jpg": tarfile.REGTYPE,
            "new\nline\u202e.jpg": tarfile.REGTYPE,
            f"{'n' * 5000}.jpg": tarfile.REGTYPE,
        }.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "good.jpg"
            tar.addfile(info)
        info = tarfile.TarInfo("holes.jpg")
        info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}
        tar.addfile(info)
    listing = found(tmp_path / "a.tar")
    assert list(classes(listing)) == ["a.tar/good.jpg", "a.tar/same.jpg", "a.tar/new\\x0aline\\u202e.jpg"]
    short = {name.removeprefix("a.tar/")[:12]: reason for name, reason in reasons(listing).items()}
    assert short == {
        "link.jpg": "a link, whose content lies elsewhere",
        "hard.jpg": "a link, whose content lies elsewhere",
        "device.jpg": "not a regular file",
        "pipe.jpg": "not a regular file",
        "../up.jpg": "its name leads out of the shard",
        "etc/top.jpg": "its name leads out of the shard",
        "same.jpg": "a member of that name came before it in the shard",
        "n" * 12: "its name has more than 4096 characters",
        "holes.jpg": "stored with holes, which are not filled; write the shard without --sparse",
    }


def test_a_damaged_shard_gives_what_lies_before_the_damage(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tar", [(f"{n}.jpg", bytes([n]) * 700) for n in range(4)]).read_bytes()
    each = 512 + 1024
    for cut, images, reason in (
        (2 * each + 100, 2, "damaged at byte 3072; what follows is not read"),
        (2 * each + 600, 2, "cut off in 2.jpg"),
        (2 * each, 2, "ends without the mark of its end: it may be cut off"),
        (len(whole), 4, ""),
    ):
        (tmp_path / "a.tar").write_bytes(whole[:cut])
        listing = found(tmp_path / "a.tar")
        assert (len(listing.items), reasons(listing)) == (images, {"a.tar": reason} if reason else {}), cut
    (tmp_path / "a.tar").write_bytes(whole[:each] + b"\x07" * 512 + whole[each + 512 :])
    assert reasons(found(tmp_path / "a.tar")) == {"a.tar": f"damaged at byte {each}; what follows is not read"}
    (tmp_path / "a.tar").write_bytes(whole + whole)
    assert "goes on behind the mark of its end" in reasons(found(tmp_path / "a.tar"))["a.tar"]


def test_flipped_bytes_and_absurd_sizes_never_raise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"x/1.jpg": b"1" * 600, "x/1.cls": b"3", "é" * 80 + ".png": b"2"})
    whole = path.read_bytes()
    sizes = [
        b"77777777777\0",
        b"\x80" + b"\xff" * 11,
        b"\xff" * 12,
        b"-0000000001\0",
        b"\x80" + struct.pack(">Q", 2**62) + b"\0" * 3,
    ]
    header = tarfile.TarInfo("x/1.jpg").tobuf()
    for size in sizes:
        changed = header[:124] + size + header[136:148] + b" " * 8 + header[156:]
        total = sum(changed)
        changed = changed[:148] + b"%06o\0 " % total + changed[156:]
        path.write_bytes(changed + whole[512:])
        assert reasons(found(path)), size
    for at in range(0, 4000, 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found(path)


def test_what_is_no_shard_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", {"1.jpg": b"1"})
    (tmp_path / "empty.tar").touch()
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere")
    (tmp_path / "text.tar").write_text("no tar" * 200)
    os.mkfifo(tmp_path / "pipe.tar")
    images = ImageSet.scan(tmp_path, labelled=False)
    assert [item.name for item in images.items] == ["b.tar/1.jpg"]
    assert {skipped.file: skipped.reason.partition(":")[0] for skipped in images.unread} == {
        "empty.tar": "not a tar file that can be read",
        "gone.tar": "cannot be read",
        "pipe.tar": "not a regular file",
        "text.tar": "not a tar file that can be read",
    }


def test_a_shard_that_changes_after_it_was_listed(shards: Path, small) -> None:
    images = ImageSet.scan(shards, labelled=True)
    (shards / "train-0001.tar").write_bytes((shards / "train-0001.tar").read_bytes()[:5000])
    (shards / "train-0002.tar").unlink()
    stream = ImageStream(images, [small], batch_size=4, workers=0)
    list(stream)
    said = {skipped.reason for skipped in stream.skipped}
    assert said == {
        "cannot be read: the shard has become shorter since it was listed",
        "cannot be read: No such file or directory",
    }
    assert stream.record().fingerprint == fingerprint(images)


def test_file_handles_are_given_back(shards: Path, small) -> None:
    before = len(os.listdir("/proc/self/fd"))
    list(ImageStream(ImageSet.scan(shards, labelled=True), [small], batch_size=4, workers=0))
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_image_larger_than_is_read_is_digested(shards: Path, small, monkeypatch) -> None:
    images = ImageSet.scan(shards, labelled=True)
    expected = fingerprint(images)
    monkeypatch.setattr("tlaudit.data.decoding.MAX_FILE_BYTES", 5000)
    stream = ImageStream(images, [small], batch_size=4, workers=0)
    list(stream)
    assert 0 < len(stream.skipped) < 23
    assert stream.record().fingerprint == expected
