"""Streams of any encoding, closed, full, or read by somebody who goes away: the exit code is that of the verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gated import a_check, a_policy, an_audit, flips, number
from tlaudit.reports import VERDICT_FORMATS
from tlaudit.verdicts import Verdict


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def report(tmp_path):
    """An audit in which a seventh of the answers flip."""
    path = tmp_path / "audit.json"
    lingering = a_check("lingering", number("lingering.fraction", 0.5))
    path.write_text(an_audit(flips(0.134), lingering).to_json(), encoding="utf-8")
    return path


def shell(command, **variables):
    """What a shell makes of it; `TLAUDIT` is the program."""
    environment = {**os.environ, **variables}
    command = command.replace("TLAUDIT", f"{sys.executable} -m tlaudit")
    return subprocess.run(["bash", "-c", command], check=False, capture_output=True, env=environment)


FOREIGN = "Grund: größer – „ж“ \u2265 \U0001f642"


@pytest.fixture
def foreign(report, tmp_path):
    """A verdict, refused, whose words are of no narrow encoding."""
    text = report.read_text().replace("counted in full", FOREIGN)
    report.write_text(text.replace("c.pth", f"c{FOREIGN}.pth"), encoding="utf-8")
    a_policy(tmp_path, {"max": 0.05, "id": "rule größer – „ж“"})
    return report


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_documents_are_utf8_whatever_stdout_is(foreign, encoding):
    for name in set(VERDICT_FORMATS) - {"table"}:
        ran = shell(f"TLAUDIT gate {foreign.name} -q -f {name}", PYTHONIOENCODING=encoding)
        assert (ran.returncode, ran.stderr) == (1, b"")
        assert "größer – „ж“" in ran.stdout.decode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_people_are_shown_what_their_encoding_can_hold(foreign, encoding):
    ran = shell(f"TLAUDIT gate {foreign.name}", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (1, b"")
    assert "\\u0436" in ran.stdout.decode(encoding)
    ran = shell(f"TLAUDIT gate {foreign.name} -o v.json", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert "\\u0436" in ran.stderr.decode(encoding)
    ran = shell("TLAUDIT gate --explain distraction.flip_rate", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "\\u0436" in ran.stdout.decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize("name", VERDICT_FORMATS)
@pytest.mark.parametrize(("limit", "code"), [(0.2, 0), (0.05, 1)])
def test_a_reader_that_goes_away_changes_nothing(report, tmp_path, name, limit, code):
    a_policy(tmp_path, {"max": limit})
    command = f"TLAUDIT gate {report.name} -q -f {name} --report v.html | true; exit ${{PIPESTATUS[0]}}"
    ran = shell(command, GITHUB_STEP_SUMMARY="summary.md")
    assert (ran.returncode, ran.stderr) == (code, b"")
    assert (tmp_path / "v.html").exists()
    assert (tmp_path / "summary.md").exists()


@pytest.mark.slow
def test_nor_does_one_who_reads_no_notes(report, tmp_path):
    a_policy(tmp_path, {"max": 0.05})
    ran = shell(f"TLAUDIT gate {report.name} -o v.json --report v.html 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert (ran.returncode, ran.stderr) == (1, b"")
    assert {"v.json", "v.html"} <= {path.name for path in tmp_path.iterdir()}
    assert shell("TLAUDIT gate none.json 2>&1 | true; exit ${PIPESTATUS[0]}").returncode == 3
    assert shell("TLAUDIT gate --policy none.toml 2>&1 | true; exit ${PIPESTATUS[0]}").returncode == 2


@pytest.mark.slow
def test_without_a_place_for_notes_the_exit_code_is_as_ever(report, tmp_path):
    a_policy(tmp_path, {"max": 0.05})
    assert "refused" in shell(f"TLAUDIT gate {report.name} 2>&-").stdout.decode().lower()
    for more, code in (("", 1), ("-o v.json --report v.html", 1), ("--first-release -v", 1), ("none.json", 3)):
        assert shell(f"TLAUDIT gate {report.name} {more} 2>&-").returncode == code
    assert shell(f"TLAUDIT gate {report.name} --policy none.toml 2>&-").returncode == 2
    assert Verdict.model_validate_json((tmp_path / "v.json").read_text()).outcome == "fail"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
@pytest.mark.parametrize("name", ["table", "json"])
def test_a_full_disk_behind_stdout_is_said_in_a_line(report, tmp_path, name):
    a_policy(tmp_path, {"max": 0.2})
    ran = shell(f"TLAUDIT gate {report.name} -q -f {name} --report v.html > /dev/full", TMPDIR=str(tmp_path))
    assert ran.returncode == 3
    assert ran.stderr == b"tlaudit: stdout: cannot be written: No space left on device\n"
    assert (tmp_path / "v.html").exists()
    assert not list(tmp_path.glob("tlaudit-crash*"))
