"""SARIF 2.1.0: what is violated or has no answer, located where the rule stands in the policy.

After "Static Analysis Results Interchange Format (SARIF) Version 2.1.0 Plus Errata 01" (OASIS, 2023). Rules that are
met, and those that were skipped, are listed among the rules and have no result.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tlaudit.reports import verdict_told, wording

if TYPE_CHECKING:
    from tlaudit.results import Finding
    from tlaudit.verdicts import Ruling, Verdict

SUFFIX = ".sarif"
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULE_LEVELS = {"error": "error", "warn": "warning"}
_FINDING_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def render(verdict: Verdict, rows: int) -> str:  # noqa: ARG001 - a log leaves nothing out
    """Write the verdict as a log of one run; `rows` is not needed, all results are written."""
    rules: dict[str, dict[str, Any]] = {}
    for ruling in verdict.rulings:
        rules.setdefault(ruling.rule, _rule(ruling))
    places = {id_: place for place, id_ in enumerate(rules)}
    driver = {"name": "tlaudit", "semanticVersion": version("tlaudit"), "rules": list(rules.values())}
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(verdict)],
        "artifacts": _artifacts(verdict),
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(verdict, ruling, places[ruling.rule])
            for ruling in verdict.rulings
            if ruling.outcome not in {"passed", "skipped"}
        ],
        "properties": {
            "verdict": verdict.outcome,
            "summary": verdict.summary,
            "judgedOn": verdict.judged_on,
            "policySha256": verdict.policy.sha256,
            "checkpointSha256": list(verdict_told.checkpoints(verdict)),
        },
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, allow_nan=False, indent=2, ensure_ascii=False) + "\n"


def _rule(ruling: Ruling) -> dict[str, Any]:
    about = [ruling.meaning or "No report has a measurement of this name."]
    if "*" in ruling.pattern:
        # It stands for many measurements, and each result tells its own.
        about = [f"A rule for every measurement of such a name: {verdict_told.demand(ruling)}."]
    elif ruling.better is not None:
        about.append(f"Unit: {ruling.unit or 'none'}; {wording.direction(ruling.better)}.")
    explain = f"`tlaudit gate --explain {shlex.quote(ruling.rule)}` says what the rule demands and where it stands."
    return {
        "id": ruling.rule,
        "shortDescription": {"text": wording.visible(verdict_told.demand(ruling))},
        "fullDescription": {"text": wording.visible(" ".join(about))},
        "help": {"text": wording.visible(explain)},
        "defaultConfiguration": {"level": _RULE_LEVELS[ruling.severity]},
        "properties": {"metric": ruling.pattern},
    }


def _result(verdict: Verdict, ruling: Ruling, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": ruling.rule,
        "ruleIndex": rule,
        "level": _level(ruling),
        "message": {"text": _message(ruling)},
        "locations": [{"physicalLocation": _location(verdict, ruling)}],
        # The hosts of code tell alerts apart by this one; the rulings of a pattern all stand at one line.
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(ruling)},
        "properties": {
            "metric": ruling.metric,
            "outcome": ruling.outcome,
            "value": ruling.value,
            "low": ruling.low,
            "high": ruling.high,
            "n": ruling.n,
            "previous": ruling.previous,
            "unit": ruling.unit,
            "limit": {condition.kind: condition.limit for condition in ruling.conditions},
        },
    }
    if ruling.outcome == "waived":
        justification = wording.visible(ruling.waiver or ruling.message)
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": justification}]
    return result


def _level(ruling: Ruling) -> str:
    """A waived rule is only noted: not every reader of SARIF heeds a suppression."""
    if ruling.outcome == "waived":
        return "note"
    return "error" if ruling.blocks else "warning"


def _message(ruling: Ruling) -> str:
    text = wording.visible(verdict_told.sentence(ruling))
    if ruling.outcome == "no answer" and not text.lower().startswith("no answer"):
        return f"no answer: {text}"
    return text


def _fingerprint(ruling: Ruling) -> str:
    """The same for the same rule and measurement, wherever the rule stands and whatever was measured."""
    return hashlib.sha256(f"{ruling.rule}\0{ruling.metric}".encode()).hexdigest()[:16] + ":1"


def _location(verdict: Verdict, ruling: Ruling) -> dict[str, Any]:
    """In the policy; in the report that it is about where the policy is the one that comes with tlaudit."""
    if verdict.policy.path is not None:
        return {"artifactLocation": _file(verdict.policy.path), "region": {"startLine": ruling.line or 1}}
    family = ruling.metric.partition(".")[0]
    report = next((one for one in verdict.reports if family in one.checks), verdict.reports[0])
    return {"artifactLocation": _file(report.path), "region": {"startLine": 1}}


def _file(path: str) -> dict[str, str]:
    """Where a file is, as a URI: from the root of the sources where the path is relative and stays below it."""
    path = path.replace("\\", "/")
    if re.match(r"[A-Za-z]:/", path):
        return {"uri": f"file:///{path[:2]}{quote(path[2:])}"}
    if path.startswith("//"):
        return {"uri": f"file:{quote(path)}"}
    if path.startswith("/"):
        return {"uri": f"file://{quote(path)}"}
    path = posixpath.normpath(path)
    return {"uri": quote(path)} if path.startswith("..") else {"uri": quote(path), "uriBaseId": "%SRCROOT%"}


def _artifacts(verdict: Verdict) -> list[dict[str, Any]]:
    """The files that the verdict rests on, each with its hash."""
    files = [(report.path, report.sha256) for report in verdict.reports]
    if verdict.policy.path is not None:
        files.insert(0, (verdict.policy.path, verdict.policy.sha256))
    if verdict.previous is not None:
        files.append((verdict.previous.path, verdict.previous.sha256))
    located = {_file(path)["uri"]: (path, digest) for path, digest in files}
    return [{"location": _file(path), "hashes": {"sha-256": digest}} for path, digest in located.values()]


def _invocation(verdict: Verdict) -> dict[str, Any]:
    """The gate did its work whatever it says; `exitCode` is what the pipeline heeds."""
    return {
        "executionSuccessful": True,
        "exitCode": verdict.exit_code,
        "exitCodeDescription": wording.visible(f"{verdict_told.WORDS[verdict.outcome]}: {verdict.summary}"),
        "toolExecutionNotifications": [_notification(finding) for finding in verdict.findings],
    }


def _notification(finding: Finding) -> dict[str, Any]:
    return {
        "descriptor": {"id": finding.code},
        "level": _FINDING_LEVELS[finding.severity],
        "message": {"text": wording.visible(finding.message)},
    }
