"""Hostile pictures through the command line: what is kept, what is left out and why, and what both cost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import planted
from commanded import command, refused
from hostile_pictures import BOMBS, KEPT, PICTURES, encoded, jpeg_of_scans, lingering, noise, skipped

KEPT_ONES = [picture for picture in PICTURES if picture.reason == KEPT]
LEFT_OUT = [picture for picture in PICTURES if picture.reason != KEPT]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return planted.build(tmp_path_factory.mktemp("world"), per_class=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """All of them in one folder, with a good one before and behind."""
    root = tmp_path_factory.mktemp("corpus")
    for picture in PICTURES:
        (root / picture.name).write_bytes(picture.make())
    for name in ("! first.png", "~ last.png"):
        noise().save(root / name)
    return root


@pytest.fixture(scope="module")
def among(world, corpus):
    return command(*lingering(world, corpus))


def test_names_are_told_apart():
    assert len({picture.name for picture in PICTURES}) == len(PICTURES) >= 90
    assert len(LEFT_OUT) > 50


def test_among_good_ones_the_others_are_used(among):
    assert among.code == 0, among.err
    data = json.loads(among.out)["provenance"]["data"]["target"]
    assert data["images"] == len(KEPT_ONES) + 2
    assert data["available"] == len(PICTURES) + 2
    assert set(skipped(among.out)) == {picture.name for picture in LEFT_OUT}


@pytest.mark.parametrize("picture", LEFT_OUT, ids=lambda picture: picture.name)
def test_among_good_ones_it_is_left_out_for_a_reason(among, picture):
    reason = skipped(among.out)[picture.name]
    assert re.match(picture.reason, reason), reason
    assert reason.isprintable()


def test_ten_are_named_on_stderr_and_nothing_else_is_said_there(among):
    said = sorted(skipped(among.out).items())
    assert among.lines[:10] == [f"tlaudit: skipped {name}: {reason}" for name, reason in said[:10]]
    assert among.lines[10:] == [f"tlaudit: skipped {len(said) - 10} more files; the result names them all"]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_alone(world, corpus, tmp_path, picture):
    (tmp_path / picture.name).symlink_to(corpus / picture.name)
    ended = command(*lingering(world, tmp_path))
    if picture.reason == KEPT:
        assert (ended.code, ended.err) == (0, "")
        assert not skipped(ended.out)
    else:
        refused(
            3, ended, rf"none of 1 images can be used: {re.escape(picture.name)} \(", picture.reason.removesuffix("$")
        )
        assert not ended.out


def test_workers_say_the_same(world, corpus, among):
    ended = command(*lingering(world, corpus, "-j", "2", "-b", "16"))
    assert ended.code == 0
    assert skipped(ended.out) == skipped(among.out)
    digests = [json.loads(run.out)["provenance"]["data"]["target"]["fingerprint"] for run in (ended, among)]
    assert digests[0] == digests[1]


def test_strict_leaves_nothing_out(world, corpus):
    ended = command(*lingering(world, corpus, "--strict-data"))
    refused(
        3, ended, f"{len(LEFT_OUT)} files cannot be used, and none may be skipped: ", f"and {len(LEFT_OUT) - 10} more$"
    )
    assert not ended.out


def test_strict_has_nothing_against_what_can_be_used(world, corpus, tmp_path):
    for picture in KEPT_ONES:
        (tmp_path / picture.name).symlink_to(corpus / picture.name)
    ended = command(*lingering(world, tmp_path, "--strict-data"))
    assert (ended.code, ended.err) == (0, "")


def test_a_source_picture_that_is_left_out_takes_no_other_with_it(world, corpus, tmp_path):
    for index, colour in enumerate(planted.COLOURS):
        planted.paint(tmp_path / str(index), colour, 1)
    (tmp_path / "3" / "scans.jpg").symlink_to(corpus / "scans.jpg")
    ended = command(*lingering(world, world["target_data"], source=tmp_path))
    assert ended.code == 0
    assert list(skipped(ended.out, "source")) == ["3/scans.jpg"]


MEASURE = """
import resource, sys, time
import numpy as np
from tlaudit.data.decoding import decode_batch
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
buffer = np.zeros((1, 16, 16, 3), dtype=np.uint8)
decode_batch([sys.argv[1]], [(256, 16, "bilinear")], [buffer])
before, begin = peak(), time.process_time()
refused = sum(len(decode_batch([file], [(256, 16, "bilinear")], [buffer]).refused) for file in sys.argv[2:])
print(refused, peak() - before, time.process_time() - begin)
"""


def test_bombs_cost_little(corpus):
    """Together: what they unpack to would be gigabytes."""
    files = [str(corpus / name) for name in ("! first.png", *(picture.name for picture in BOMBS))]
    done = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True)
    refused_ones, mebibytes, seconds = map(float, done.stdout.split())
    assert refused_ones == len(BOMBS)
    assert mebibytes < 200
    assert seconds < 10
    assert not done.stderr


def test_what_is_left_out_for_its_scans_would_have_taken_long(tmp_path, monkeypatch, world):
    """The limit is what refuses it: one scan fewer, or a higher limit, and it is kept."""
    (tmp_path / "scans.jpg").write_bytes(jpeg_of_scans(501))
    assert command(*lingering(world, tmp_path)).code == 3
    monkeypatch.setattr("tlaudit.data.decoding.MOST_SCANS", 501)
    assert command(*lingering(world, tmp_path)).code == 0


@pytest.mark.parametrize(
    ("kind", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("TIFF", "tif")]
)
def test_cut_anywhere_it_is_left_out_or_whole(world, tmp_path, kind, ending):
    """At sixty places: what is left out is named; what is kept lacks at most the end that decoders do without."""
    whole = encoded(noise(), kind)
    places = [len(whole) * part // 60 for part in range(60)]
    for place in places:
        (tmp_path / f"{place:06d}.{ending}").write_bytes(whole[:place])
    (tmp_path / f"whole.{ending}").write_bytes(whole)
    ended = command(*lingering(world, tmp_path))
    assert ended.code == 0
    kept = {int(file.stem) for file in tmp_path.glob(f"0*.{ending}")} - {
        int(Path(name).stem) for name in skipped(ended.out)
    }
    assert all(place >= len(whole) * 0.95 for place in kept), sorted(kept)
