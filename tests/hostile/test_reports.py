"""Reports broken in every way: each is refused in a line that names the file, or it is legal."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import threading
import time
from pathlib import Path

import pytest

import hostile_documents
import hostile_files
import hostile_reports
from commanded import command, refused
from compared import lingering
from gated import TODAY, a_policy, flips
from hostile_reports import COMPLETE, SCHEMA
from tlaudit import documents, reading
from tlaudit.comparison import compare
from tlaudit.documents import read_report, read_result
from tlaudit.errors import ReportError, UsageError
from tlaudit.policy import gate
from tlaudit.records import READABLE_VERSIONS
from tlaudit.results import CheckResult

CONTENT = json.dumps(COMPLETE, ensure_ascii=False).encode()
DAMAGED = hostile_files.damaged(CONTENT)
MOST = 1000
"""Characters of a refusal."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(reading, "PATIENCE", 0.0)


@pytest.fixture
def held(monkeypatch):
    """Reads a text as if it stood in a file: thousands of files would take their time to be written."""

    def read(content, path):
        monkeypatch.setattr(documents, "whole", lambda *_: content)
        return read_report(path)

    return read


def test_the_report_that_is_broken_has_every_field():
    assert SCHEMA.met(COMPLETE) == SCHEMA.described()
    assert SCHEMA.allows(COMPLETE)


def test_every_field_in_every_wrong_way(held, tmp_path):
    path, wrong, counts = tmp_path / "audit.json", [], {True: 0, False: 0}
    for variant in hostile_documents.variants(SCHEMA, COMPLETE):
        legal = hostile_reports.is_legal(variant)
        counts[legal] += 1
        wrong += disagreement(variant, legal, held, path)
    assert not wrong, f"{len(wrong)} of {sum(counts.values())}:\n" + "\n".join(wrong[:40])
    assert counts[True] > 500
    assert counts[False] > 3000


def test_what_json_has_not_is_legal_nowhere(held, tmp_path):
    path, wrong, count = tmp_path / "audit.json", [], 0
    for variant in hostile_documents.textual(SCHEMA, COMPLETE, hostile_documents.JSON_TEXTS):
        count += 1
        wrong += disagreement(variant, False, held, path)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])
    assert count > 2000


def disagreement(variant, legal, read, path):
    """What is wrong with how a report was taken; nothing if it was taken as it should be."""
    try:
        read(hostile_documents.json_text(variant.document).encode(), path)
    except ReportError as error:
        said = str(error)
        if legal:
            return [f"{variant.name}: legal, but {said[:300]}"]
        key = next(part for part in reversed(variant.path) if isinstance(part, str))
        # What is no JSON at all, or cut, names a place in the text.
        names = variant.legal or key in said.replace("schema version", "schema_version") or said.endswith("…")
        if not said.startswith(f"{path}: ") or not said.isprintable() or len(said) > MOST:
            return [f"{variant.name}: told badly: {said[:300]!r}"]
        return [] if names or "as JSON" in said else [f"{variant.name}: does not name it: {said[:300]!r}"]
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        return [f"{variant.name}: crashed: {error!r}"[:300]]
    return [] if legal else [f"{variant.name}: accepted"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_no_report(held, name):
    with pytest.raises(ReportError, match=r"^a.json: expected a result that tlaudit wrote as JSON: ") as caught:
        held(DAMAGED[name], Path("a.json"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < MOST


def test_a_report_that_was_cut_off_is_none(held):
    for content in hostile_files.cut(CONTENT):
        with pytest.raises(ReportError, match=r"^a.json: expected a result that tlaudit wrote as JSON: "):
            held(content, Path("a.json"))


def test_a_report_with_a_bit_the_other_way_round_is_refused_or_read(held):
    """Of a text or a number nobody can tell; what is read then has all that it needs."""
    read = 0
    for content in hostile_files.flipped(CONTENT, 1000):
        try:
            held(content, Path("a.json"))
            read += 1
        except ReportError as error:
            assert str(error).startswith("a.json: ")  # noqa: PT017 - of many, some are legal
            assert str(error).isprintable()  # noqa: PT017 - of many, some are legal
    assert 100 < read < 900


@pytest.mark.parametrize("content", ["{}", "[]", "null", "1", '"x"', "", " ", "[{}]", '{"schema_version": null}'])
def test_json_that_is_no_report(held, content):
    with pytest.raises(ReportError, match="has no schema_version|Expecting value|which is no text"):
        held(content.encode(), Path("a.json"))


@pytest.mark.parametrize("version", [f"{v}" for v in READABLE_VERSIONS])
def test_every_version_that_can_be_read(held, version):
    document = hostile_documents.changed(COMPLETE, ("schema_version",), version)
    assert held(json.dumps(document).encode(), Path("a.json")).source.checks == ("lingering",)


@pytest.mark.parametrize(
    "version", ["0.9", "1.0", "1.5", "2.0", "01.4", "1.4 ", "1.4.0", "v1.4", "1,4", "\u0661.4", ""]
)
@pytest.mark.parametrize("path", [("schema_version",), ("checks", 0, "schema_version")])
def test_versions_ancient_and_future(held, version, path):
    document = hostile_documents.changed(COMPLETE, path, version)
    with pytest.raises(ReportError, match="expected a result of schema version 1.1 or 1.2 .*; run the check again"):
        held(json.dumps(document).encode(), Path("a.json"))


@pytest.mark.parametrize("path", hostile_files.REASONS)
def test_places_from_which_no_report_can_be_read(tmp_path, path):
    hostile_files.build(tmp_path)
    with pytest.raises(ReportError, match=f"cannot be read: .*({hostile_files.REASONS[path]})") as caught:
        read_report(tmp_path / path)
    assert str(caught.value).isprintable()


def test_devices(tmp_path, monkeypatch):
    with pytest.raises(ReportError, match="/dev/null: expected a result that tlaudit wrote as JSON: "):
        read_report(Path("/dev/null"))
    monkeypatch.setattr(documents, "_MOST_BYTES", 3 << 20)
    with pytest.raises(ReportError, match="/dev/zero: cannot be read: it holds more than 3 MiB"):
        read_report(Path("/dev/zero"))


def test_a_report_that_nobody_may_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(reading.os, "open", refuse)
    with pytest.raises(ReportError, match="a.json: cannot be read: Permission denied"):
        read_report(tmp_path / "a.json")


def test_a_pipe_is_read_to_its_end_however_slowly_it_is_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PATIENCE", 30.0)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)

    def fill():
        with pipe.open("wb", buffering=0) as file:
            for start in range(0, len(CONTENT), 700):
                file.write(CONTENT[start : start + 700])
                time.sleep(0.001)

    writer = threading.Thread(target=fill)
    writer.start()
    report = read_report(pipe)
    writer.join()
    assert report.source.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_pipe_that_was_filled_before_it_is_read():
    """As a shell makes of ``<(…)``."""
    there, here = os.pipe()
    os.write(here, CONTENT)
    os.close(here)
    try:
        assert read_report(Path(f"/dev/fd/{there}")).source.sha256 == hashlib.sha256(CONTENT).hexdigest()
    finally:
        os.close(there)


def test_a_report_that_is_replaced_while_it_is_read_is_the_old_one(tmp_path, monkeypatch):
    path, new = tmp_path / "a.json", tmp_path / "new.json"
    path.write_bytes(CONTENT)
    new.write_bytes(b"{}")
    read = os.read

    def in_between(handle, size):
        if new.exists():
            new.replace(path)
        return read(handle, 100)

    monkeypatch.setattr(reading.os, "read", in_between)
    assert read_report(path).source.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert path.read_bytes() == b"{}"


@pytest.mark.parametrize("name", hostile_files.NAMES)
def test_names_of_reports(tmp_path, name):
    path = tmp_path / f"{hostile_files.NAMES[name]}.json"
    path.write_text(flips(0.01).to_json())
    policy = a_policy(tmp_path, {"max": 0.05})
    given = path if name != "a leading dash" else f"./{path.name}"
    assert command("gate", given, "--policy", policy).code == 0
    path.write_text("{")
    refused(3, command("gate", given, "--policy", policy), "expected a result that tlaudit wrote as JSON")
    refused(3, command("compare", f"x={given}", f"y={given}"), "expected a result that tlaudit wrote as JSON")


READERS = {
    "gate": (3, ("gate", "{}")),
    "gate --against": (3, ("gate", "good.json", "--against", "{}")),
    "gate --explain": (3, ("gate", "{}", "--explain", "lingering.fraction")),
    "compare": (3, ("compare", "{}", "good.json")),
    "compare, second": (3, ("compare", "a=good.json", "b={}")),
}
"""Commands that read a report, each with its exit code."""


@pytest.mark.parametrize("reader", READERS)
def test_commands_refuse_in_one_line(tmp_path, reader):
    code, words = READERS[reader]
    (tmp_path / "good.json").write_text(lingering().to_json())
    hostile_files.build(tmp_path)
    for path in hostile_files.REASONS:
        if "\0" not in path:
            refused(code, command(*(word.format(path) for word in words)), hostile_files.REASONS[path])
    (tmp_path / "bad.json").write_bytes(CONTENT[:-5])
    refused(code, command(*(word.format("bad.json") for word in words)), "^tlaudit: bad.json: expected a result")


def test_the_same_report_twice(tmp_path):
    (tmp_path / "a.json").write_text(flips(0.01).to_json())
    (tmp_path / "link.json").symlink_to("a.json")
    os.link("a.json", "hard.json")
    (tmp_path / "copy.json").write_bytes((tmp_path / "a.json").read_bytes())
    for other in ("a.json", "link.json", "hard.json", "copy.json"):
        refused(2, command("gate", "a.json", other), r"tlaudit distraction is in a.json and in|twice in a.json")
        refused(2, command("compare", "a.json", other), "are the same report|two candidates")
    refused(2, command("gate", "a.json", "--against", "link.json"), "both judged and named by --against")


def test_a_lingering_result_that_is_none_is_wrong_usage(held):
    with pytest.raises(ReportError):
        held(b"{", Path("l.json"))
    with pytest.raises(UsageError, match=r"^l.json: expected a result that tlaudit wrote"):
        read_result(Path("l.json"), "lingering")


EXTREMES = [0, -0.0, 5e-324, 1e-300, 1e300, 1.7e308, -1.7e308, 2**63, -(10**298), 0.1 + 0.2]


def extreme(name, value, width):
    """A report whose number is of any size, with an interval around it or without one."""
    made = json.loads(lingering(name, 0.5, width=width).to_json())
    first = made["measurements"][0]
    first["value"] = value
    if width is not None:
        first["interval"] |= {"low": min(value, -1.7e308), "high": max(value, 1.7e308)}
    return CheckResult.model_validate_json(json.dumps(made))


@pytest.mark.parametrize("width", [None, 0.1], ids=["no interval", "an interval"])
@pytest.mark.parametrize("first", EXTREMES, ids=range(len(EXTREMES)))
def test_numbers_of_any_size_are_compared_and_judged(tmp_path, first, width):
    """Also where their difference is beyond all numbers, which then is absent with a reason."""
    policy = a_policy(tmp_path, {"metric": "lingering.fraction", "max": 1e308, "max_increase": 0.1})
    before = extreme("before", first, width)
    for value in EXTREMES:
        now = extreme("now", value, width)
        rows = compare({"now": now, "before": before}, reference="before").tables["changes"].rows
        (row,) = (row for row in rows if row["measurement"] == "lingering.fraction")
        finite = math.isfinite(value - first)
        assert (row["change"] is not None) == finite
        assert finite or row["absent"] == "the difference is beyond all numbers"
        ruling = gate(now, policy=policy, against=before, today=TODAY).rulings[0]
        assert ruling.outcome == (
            "violated" if value > 1e308 or (finite and value - first > 0.1) else "no answer" if not finite else "passed"
        )
