"""What a policy makes of reports: the records of `tlaudit gate`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tlaudit.records import Direction, Document, Record, Sentence, Text
from tlaudit.results import Finding

ConditionKind = Literal[
    "min",
    "max",
    "max_increase",
    "max_decrease",
    "max_relative_increase",
    "max_relative_decrease",
]
Outcome = Literal["passed", "violated", "no answer", "skipped", "waived"]
"""Of a rule. *no answer*: there is no number to judge; *skipped*: there is none, and the rule says that it need not be
there; *waived*: violated, and the waiver is still good."""
Blame = Literal["error", "warn"]


class Condition(Record):
    """One threshold of a rule, held against one number."""

    kind: ConditionKind
    limit: float
    value: float | None = Field(description="What is held against the limit: the number, or its change.")
    outcome: Literal["met", "violated", "no answer"]
    message: Sentence = Field(description="What was compared with what, or why nothing could be.")


class Ruling(Record):
    """One rule applied to one measurement."""

    rule: Text = Field(description="Stable id of the rule.")
    pattern: Text = Field(description="The rule's metric as it is written.")
    metric: Text = Field(description="Name of the measurement; the pattern where it fits none.")
    meaning: Sentence | None = Field(description="Of the measurement.")
    unit: Text | None
    better: Direction | None
    severity: Blame
    use: Literal["value", "lower", "upper"]
    outcome: Outcome
    blocks: bool = Field(description="Whether the verdict is not a pass because of it.")
    value: int | float | None = Field(description="The measurement's value, whatever is judged of it.")
    low: float | None = None
    high: float | None = None
    n: int | None = None
    previous: int | float | None = Field(default=None, description="The value in the report it is compared with.")
    conditions: tuple[Condition, ...]
    message: Sentence = Field(description="The ruling in a sentence.")
    waiver: Sentence | None = Field(default=None, description="Reason and last day of the rule's waiver.")
    line: int | None = Field(default=None, ge=1, description="Line of the policy file at which the rule begins.")

    @model_validator(mode="after")
    def _blocks_for_a_reason(self) -> Self:
        if self.blocks and self.outcome not in {"violated", "no answer"}:
            raise ValueError(f"{self.rule}: a rule that is {self.outcome} blocks nothing")
        return self


class PolicySource(Record):
    """Where the rules come from."""

    path: Text | None = Field(description="The file; None for the policy that comes with tlaudit.")
    sha256: str
    rules: int = Field(ge=1)


class ReportSource(Record):
    """A report that was judged, or compared with."""

    path: Text
    sha256: str
    checks: tuple[str, ...]
    checkpoint: str | None = Field(description="SHA-256 of the audited checkpoint.")
    network: Text = Field(description="The audited network, as it was named.")
    version: str | None = Field(description="Of tlaudit, when it was written.")


class Verdict(Document):
    """What `tlaudit gate` says. The exit code depends on `outcome` alone."""

    document: Literal["verdict"] = "verdict"
    outcome: Literal["pass", "fail", "no answer"]
    summary: Sentence
    judged_on: str = Field(description="Day on which waivers were looked at, ISO 8601.")
    policy: PolicySource
    reports: tuple[ReportSource, ...] = Field(min_length=1)
    previous: ReportSource | None = None
    rulings: tuple[Ruling, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 3 for no answer."""
        return {"pass": 0, "fail": 1, "no answer": 3}[self.outcome]

    @model_validator(mode="after")
    def _outcome_follows(self) -> Self:
        """A violated rule makes it fail; else one without an answer makes it none; else it passes."""
        blocking = {ruling.outcome for ruling in self.rulings if ruling.blocks}
        expected = "fail" if "violated" in blocking else "no answer" if blocking else "pass"
        if self.outcome != expected:
            raise ValueError(f"the rulings make the verdict {expected!r}, it says {self.outcome!r}")
        return self
