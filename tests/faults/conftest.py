"""What tests of faults share."""

from __future__ import annotations

import pytest

from gated import a_check, an_audit, number


@pytest.fixture
def judging(tmp_path):
    """A command that takes a fraction of a second: a report, and a policy it keeps."""
    check = a_check("lingering", number("lingering.fraction", 0.5, low=0.4, high=0.6))
    (tmp_path / "audit.json").write_text(an_audit(check).to_json(), encoding="utf-8")
    rule = '[[policy.rules]]\nmetric = "lingering.fraction"\nmax = 1.0\nseverity = "error"\n'
    (tmp_path / "policy.toml").write_text(rule, encoding="utf-8")
    return ["gate", tmp_path / "audit.json", "--policy", tmp_path / "policy.toml", "--first-release", "-q"]
