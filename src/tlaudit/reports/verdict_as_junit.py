"""JUnit XML: each ruling is a test case, for pipelines that show test reports.

Violated = failure, no answer = error, skipped and waived = skipped. JUnit knows no warnings: a rule of severity
``warn`` that is violated is a failure of type ``warn``, and one that may be without an answer is skipped with the
reason. Whether the pipeline goes on depends on the exit code, not on this file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tlaudit.reports import verdict_told, wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.verdicts import Ruling, Verdict

SUFFIX = ".xml"


def render(verdict: Verdict, rows: int) -> str:  # noqa: ARG001 - a test report leaves nothing out
    """Write the verdict as one suite of tests; `rows` is not needed, all rulings are written."""
    cases = [_case(verdict, ruling) for ruling in verdict.rulings]
    counts = {"tests": str(len(cases))} | {
        name: str(sum(case.find(tag) is not None for case in cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    root = ET.Element("testsuites", {"name": "tlaudit gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "tlaudit gate", **counts})
    properties = ET.SubElement(suite, "properties")
    for name, text in _properties(verdict):
        ET.SubElement(properties, "property", {"name": wording.visible(name), "value": wording.visible(text)})
    suite.extend(cases)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "verdict", verdict.outcome
    yield "exit code", str(verdict.exit_code)
    yield "summary", f"{verdict_told.WORDS[verdict.outcome]}: {verdict.summary}"
    yield "judged on", verdict.judged_on
    yield "policy", verdict.policy.path or "the policy that comes with tlaudit"
    yield "policy sha256", verdict.policy.sha256
    for checkpoint in verdict_told.checkpoints(verdict):
        yield "checkpoint sha256", checkpoint
    for report in verdict.reports:
        yield "report", report.path
        yield "report sha256", report.sha256
    for finding in verdict.findings:
        yield f"finding {finding.code}", f"{finding.severity}: {finding.message}"


def _case(verdict: Verdict, ruling: Ruling) -> ET.Element:
    attributes = {
        "classname": f"tlaudit.{_family(ruling)}",
        "name": wording.visible(verdict_told.subject(ruling)),
    }
    if verdict.policy.path is not None:
        attributes["file"] = wording.visible(verdict.policy.path)
        attributes["line"] = str(ruling.line or 1)
    case = ET.Element("testcase", attributes)
    outcome = _outcome(ruling)
    if outcome is not None:
        tag, kind = outcome
        message = wording.visible(verdict_told.sentence(ruling))
        ET.SubElement(case, tag, {"message": message, "type": kind}).text = "\n".join(_details(verdict, ruling))
    return case


def _family(ruling: Ruling) -> str:
    """The check that measures it; ``policy`` for a pattern over all of them."""
    family = ruling.metric.partition(".")[0]
    return family if re.fullmatch(r"[A-Za-z_][\w-]*", family) else "policy"


def _outcome(ruling: Ruling) -> tuple[str, str] | None:
    """Element and type; None for a rule that is met."""
    if ruling.outcome == "violated":
        return "failure", ruling.severity
    if ruling.outcome == "no answer" and ruling.blocks:
        return "error", "no answer"
    return None if ruling.outcome == "passed" else ("skipped", ruling.outcome)


def _details(verdict: Verdict, ruling: Ruling) -> Iterator[str]:
    lines = [
        ("rule", verdict_told.demand(ruling)),
        ("value", None if ruling.value is None else verdict_told.value(ruling)),
        ("n", None if ruling.n is None else str(ruling.n)),
        ("meaning", ruling.meaning),
        ("waiver", ruling.waiver),
        ("stands at", verdict_told.where(verdict, ruling)),
        *(("found", one.message) for one in ruling.conditions if one.message not in ruling.message),
    ]
    for name, text in lines:
        if text is not None:
            yield f"{name}: {wording.visible(text)}"
