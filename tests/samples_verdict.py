"""Sample verdicts and audits, built once for all formats."""

from __future__ import annotations

from typing import Any

from samples import HOSTILE_NAMES, a_distraction, a_model, a_result
from tlaudit.results import AuditReport, CheckResult, Finding, Measurement
from tlaudit.verdicts import Condition, PolicySource, ReportSource, Ruling, Verdict

HOSTILE_TEXTS = (
    *HOSTILE_NAMES,
    "\x1b[2K\x1b[32mPass\x1b[0m \x07\x00",
    "no characters: \ufffe and \uffff",
    "| a | b |\n|---|---|\n# heading\n- item\n1. item",
    "[text](https://example.org) ![x](y) `code` **bold** ~~gone~~ www.example.org @someone $x$",
    "]]> <!-- --> <![CDATA[ </testcase></testsuite>",
    "--- = * + 1. 2)",
)
"""Texts that try to be something else in one of the formats: markup, links, cells, colours, the end of an element."""


def a_source(path: str = "reports/audit.json", **changes: Any) -> ReportSource:
    facts = {
        "path": path,
        "sha256": "a" * 64,
        "checks": ("distraction", "erosion"),
        "checkpoint": "c" * 64,
        "network": "models/cats-vs-dogs.pth",
        "version": "0.1.0",
    }
    return ReportSource(**(facts | changes))


def a_policy(path: str | None = "ci/tlaudit.toml", rules: int = 3) -> PolicySource:
    return PolicySource(path=path, sha256="b" * 64, rules=rules)


def a_condition(kind: str, limit: float, value: float | None, outcome: str) -> Condition:
    return Condition(kind=kind, limit=limit, value=value, outcome=outcome, message=f"{value} against {kind} {limit}.")


def a_ruling(**changes: Any) -> Ruling:
    """A rule that is met."""
    facts: dict[str, Any] = {
        "rule": "distraction.flip_rate",
        "pattern": "distraction.flip_rate",
        "metric": "distraction.flip_rate",
        "meaning": "Share of right answers that an overlay turns wrong.",
        "unit": "share",
        "better": "lower",
        "severity": "error",
        "use": "value",
        "outcome": "passed",
        "blocks": False,
        "value": 0.031,
        "low": 0.02,
        "high": 0.045,
        "n": 900,
        "conditions": (a_condition("max", 0.05, 0.031, "met"),),
        "message": "distraction.flip_rate is 3.1 % (n 900), within the 5 % allowed.",
        "line": 4,
    }
    return Ruling(**(facts | changes))


def violated(**changes: Any) -> Ruling:
    facts: dict[str, Any] = {
        "outcome": "violated",
        "blocks": True,
        "value": 0.134,
        "low": 0.112,
        "high": 0.158,
        "previous": 0.1,
        "conditions": (
            a_condition("max", 0.05, 0.134, "violated"),
            a_condition("max_increase", 0.01, 0.034, "violated"),
        ),
        "message": "distraction.flip_rate is 13.4 % (n 900), above the 5 % allowed.",
    }
    return a_ruling(**(facts | changes))


def warned(**changes: Any) -> Ruling:
    facts: dict[str, Any] = {
        "rule": "lingering.fraction:warn",
        "pattern": "lingering.fraction",
        "metric": "lingering.fraction",
        "severity": "warn",
        "blocks": False,
        "message": "lingering.fraction is 13.4 % (n 900), above the 5 % allowed.",
        "line": 9,
    }
    return violated(**(facts | changes))


def unanswered(**changes: Any) -> Ruling:
    facts: dict[str, Any] = {
        "rule": "erosion.rank_ratio.min",
        "pattern": "erosion.rank_ratio.min",
        "metric": "erosion.rank_ratio.min",
        "meaning": None,
        "unit": None,
        "better": None,
        "outcome": "no answer",
        "blocks": True,
        "value": None,
        "low": None,
        "high": None,
        "n": None,
        "conditions": (a_condition("min", 0.5, None, "no answer"),),
        "message": "no report measures erosion.rank_ratio.min.",
        "line": 14,
    }
    return a_ruling(**(facts | changes))


def skipped(**changes: Any) -> Ruling:
    facts: dict[str, Any] = {
        "rule": "target.accuracy",
        "pattern": "target.accuracy",
        "metric": "target.accuracy",
        "outcome": "skipped",
        "blocks": False,
        "conditions": (a_condition("min", 0.9, None, "no answer"),),
        "message": "target.accuracy was not measured: no validation images.",
        "line": 19,
    }
    return unanswered(**(facts | changes))


def waived(**changes: Any) -> Ruling:
    facts: dict[str, Any] = {
        "rule": "erosion.cka.*",
        "pattern": "erosion.cka.*",
        "metric": "erosion.cka.layer4",
        "meaning": "Similarity of the stage's features to the source's.",
        "unit": "ratio",
        "better": "higher",
        "outcome": "waived",
        "blocks": False,
        "value": 0.412,
        "low": None,
        "high": None,
        "n": 640,
        "previous": None,
        "use": "lower",
        "conditions": (a_condition("min", 0.5, 0.412, "violated"),),
        "message": "erosion.cka.layer4 is 0.412 (n 640), below the 0.5 demanded.",
        "waiver": "waived until 2027-03-31: retraining is under way.",
        "line": 24,
    }
    return violated(**(facts | changes))


def of_pattern(*stages: str) -> tuple[Ruling, ...]:
    """One rule with a pattern that fits several measurements, all of them met."""
    kept: dict[str, Any] = {"outcome": "passed", "value": 0.9, "waiver": None, "message": "the stage is kept."}
    met = (a_condition("min", 0.5, 0.9, "met"),)
    return tuple(waived(**kept, conditions=met, metric=f"erosion.cka.{stage}") for stage in stages)


def a_verdict(*rulings: Ruling, **changes: Any) -> Verdict:
    """The verdict that these rulings make."""
    blocking = {ruling.outcome for ruling in rulings if ruling.blocks}
    facts: dict[str, Any] = {
        "outcome": "fail" if "violated" in blocking else "no answer" if blocking else "pass",
        "summary": f"{len(rulings)} rules were held against 1 report.",
        "judged_on": "2026-11-21",
        "policy": a_policy(rules=len({ruling.rule for ruling in rulings}) or 1),
        "reports": (a_source(),),
        "rulings": rulings,
    }
    return Verdict(**(facts | changes))


def a_hostile_verdict() -> Verdict:
    """All that comes from files tries to be something else."""
    rulings = tuple(
        outcome(
            rule=f"rule {number}: {text}",
            pattern=f"pattern {text}",
            metric=f"metric {text}",
            message=f"Message {text}",
            waiver=f"Waiver {text}",
            line=number + 1,
        )
        for number, text in enumerate(HOSTILE_TEXTS)
        for outcome in (violated, unanswered, waived)
    )
    return a_verdict(
        *rulings,
        summary=f"Summary {HOSTILE_TEXTS[3]} {HOSTILE_TEXTS[8]}",
        policy=a_policy(path=f"policies/\ud800 {HOSTILE_TEXTS[0]} {HOSTILE_TEXTS[8]}.toml"),
        reports=tuple(a_source(f"{number}/{text}.json", network=text) for number, text in enumerate(HOSTILE_TEXTS)),
        findings=tuple(
            Finding(code="report.odd", severity="warning", message=f"Finding {text}") for text in HOSTILE_TEXTS
        ),
    )


VERDICTS: dict[str, Verdict] = {
    "passing": a_verdict(a_ruling(), *of_pattern("layer1", "layer2")),
    "failing": a_verdict(
        skipped(),
        *of_pattern("layer1", "layer2"),
        waived(),
        warned(),
        unanswered(),
        violated(),
        findings=(
            Finding(code="report.versions", severity="warning", message="The reports are of different versions."),
        ),
        previous=a_source("previous.json", checkpoint=None, version=None),
    ),
    "no answer": a_verdict(
        a_ruling(), unanswered(), unanswered(rule="x", metric="erosion.cka.*", pattern="erosion.cka.*")
    ),
    "waived": a_verdict(a_ruling(), waived()),
    "warned": a_verdict(a_ruling(), warned(), unanswered(blocks=False, severity="warn")),
    "skipped": a_verdict(
        skipped(), findings=(Finding(code="policy.idle", severity="warning", message="Nothing was judged."),)
    ),
    "default policy": a_verdict(
        violated(line=None), unanswered(line=None), policy=a_policy(path=None), reports=(a_source(), a_source("b.json"))
    ),
    "hostile": a_hostile_verdict(),
}
"""One of each kind."""


def a_failed_check(reason: str = "no GPU memory was left.") -> CheckResult:
    """A check of an audit that could not be made."""
    rank = Measurement(
        name="erosion.rank_ratio.min", meaning="Least rank kept.", unit="ratio", better="higher", absent=reason, n=0
    )
    return a_result().model_copy(
        update={
            "check": "erosion",
            "verdict": "open",
            "summary": "The check could not be made.",
            "failure": reason,
            "headline": ("erosion.rank_ratio.min",),
            "measurements": (rank,),
            "tables": {},
            "charts": (),
            "findings": (),
        }
    )


def an_audit(*checks: CheckResult, **changes: Any) -> AuditReport:
    facts: dict[str, Any] = {
        "subject": "models/cats-vs-dogs.pth",
        "verdict": "concern",
        "summary": "2 checks have a concern.",
        "checks": checks or (a_result(), a_distraction()),
        "run": a_result().run,
    }
    return AuditReport(**(facts | changes))


def a_hostile_audit() -> AuditReport:
    hostile = " ".join(HOSTILE_TEXTS)
    model = a_model().model_copy(update={"spec": hostile, "notes": HOSTILE_TEXTS})
    provenance = a_result().provenance.model_copy(update={"models": {"finetuned": model}})
    findings = tuple(Finding(code="class.odd", severity="error", message=f"Finding {t}") for t in HOSTILE_TEXTS)
    lingering = a_result().model_copy(
        update={"summary": f"Summary {hostile}", "findings": findings, "provenance": provenance}
    )
    return an_audit(
        lingering,
        a_distraction(),
        a_failed_check(f"Reason {hostile}"),
        subject=hostile,
        summary=f"Summary {hostile}",
        left_out={"stress": f"Left out {hostile}"},
    )


AUDITS: dict[str, AuditReport] = {
    "concern": an_audit(left_out={"stress": "not asked for"}),
    "clear": an_audit(
        a_result().model_copy(update={"verdict": "clear", "summary": "No class lingers."}),
        verdict="clear",
        summary="1 check, nothing to act on.",
    ),
    "failed check": an_audit(a_result(), a_failed_check()),
    "only failed": an_audit(a_failed_check(), verdict="open", summary="Nothing could be measured."),
    "hostile": a_hostile_audit(),
}
"""One of each kind."""
