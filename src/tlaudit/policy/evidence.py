"""What reports say about one checkpoint, taken together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tlaudit import metrics
from tlaudit.errors import ReportError, UsageError
from tlaudit.policy.conditions import Known
from tlaudit.policy.expected import check_of, expected
from tlaudit.policy.rules import fits
from tlaudit.policy.subjects import REPAIR, SHORT, alone, naming, one_subject, subjects
from tlaudit.policy.wording import listed
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tlaudit.documents import Report
    from tlaudit.results import CheckResult
    from tlaudit.verdicts import ReportSource


@dataclass(frozen=True)
class Evidence:
    """The results of all reports, which are about one checkpoint.

    Attributes:
        sources: The reports.
        results: By check, each once.
        left_out: Checks that an audit left out, and why.
        others: Of a repair the networks beside the one that is judged; their numbers count for nothing here.
        findings: What the reader has to know of the reports.
    """

    sources: tuple[ReportSource, ...]
    results: Mapping[str, CheckResult]
    left_out: Mapping[str, str]
    others: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    def names(self, pattern: str) -> list[str]:
        """Names that a pattern means: of what is there, and of what ought to be and was taken out."""
        if "*" not in pattern:
            return [pattern]
        owed = (name for result in self.results.values() for name in expected(result))
        names = (name for name in (*self.measured, *owed) if fits(pattern, name) and not self._other(name))
        return list(dict.fromkeys(names))

    def __getitem__(self, name: str) -> Known:
        """Give the measurement of that name, or the pattern's; else say why there is none."""
        found = None if self._other(name) else self.measured.get(name)
        if found is not None:
            return Known(self.results[found][name])
        if self._other(name):
            return Known(None, "it is of another network of the repair than the one that is judged")
        check = check_of(name)
        if check in self.results:
            failure = self.results[check].failure
            if failure is not None:
                return Known(None, f"tlaudit {check} could not be made: {failure}")
            near = metrics.nearest(name, self.measured) if "*" not in name else None
            hint = f"; did you mean {near}?" if near in self.measured else ""
            return Known(None, f"the report of tlaudit {check} does not hold it{hint}")
        if check in self.left_out:
            return Known(None, f"the audit left out {check}: {self.left_out[check]}")
        return Known(None, f"no report of tlaudit {check} was given" if check else "no report holds such a number")

    @cached_property
    def measured(self) -> dict[str, str]:
        """The check that a measurement is of, by its name."""
        return {one.name: check for check, result in self.results.items() for one in result.measurements}

    def _other(self, name: str) -> bool:
        """Whether a number of a repair is of a network that is not the one judged."""
        return any(name.startswith(f"{REPAIR}.{role}.") for role in self.others)


def gather(reports: Sequence[Report], checkpoint: str | None = None, named: str = "the checkpoint") -> Evidence:
    """Take reports together.

    Args:
        reports: At least one.
        checkpoint: SHA-256 of the file that is going to be released; None for whatever the reports are about.
        named: What that file is called.

    Returns:
        What they say.

    Raises:
        UsageError: If a check is in two of them, or they are about different networks.
        ReportError: If they are about another network than the checkpoint, one says of no network, or two checks hold a
            measurement of one name.
    """
    pairs = [(report, result) for report in reports for result in report.results]
    for report, result in pairs:
        if not subjects(result):
            raise ReportError(f"{report.source.path}: names no network that it is about; run the check again")
    # Whoever gives reports of two networks has each check twice as well, and wants to know the first of it first.
    subject, several = one_subject(pairs, checkpoint, named)
    results = _each_once(pairs)
    roles = {one.role for _, result in pairs for one in subjects(result) if one.role}
    kept = {one.role for _, result in pairs for one in subjects(result) if one.sha256 == subject}
    known = subject is not None and not subject.startswith("?")
    sources = [
        report.source.model_copy(update=naming(report, subject) if known else {"checkpoint": None})
        for report in reports
    ]
    left_out = {check: why for report in reports for check, why in report.left_out.items() if check not in results}
    return Evidence(
        sources=tuple(sources),
        results=results,
        left_out=left_out,
        others=frozenset(roles - kept) if subject is not None else frozenset(),
        findings=tuple(_findings(reports, known=known, several=several)),
    )


def _each_once(pairs: Sequence[tuple[Report, CheckResult]]) -> dict[str, CheckResult]:
    """The results by check; neither a check nor a measurement may be in two of them."""
    results: dict[str, tuple[Report, CheckResult]] = {}
    holders: dict[str, tuple[Report, CheckResult]] = {}
    for report, result in pairs:
        if result.check in results:
            first = results[result.check][0].source.path
            both = f"twice in {first}" if first == report.source.path else f"in {first} and in {report.source.path}"
            raise UsageError(f"tlaudit {result.check} is {both}; give each check once")
        results[result.check] = report, result
        for one in result.measurements:
            if one.name in holders:
                told = [
                    f"{where.source.path} (tlaudit {what.check})"
                    for where, what in (holders[one.name], results[result.check])
                ]
                raise ReportError(f"{_and(told)} both hold {one.name}, which one check measures; run the checks again")
            holders[one.name] = report, result
    return {check: result for check, (_, result) in results.items()}


def _findings(reports: Sequence[Report], *, known: bool, several: int) -> Iterator[Finding]:
    if several > 1:
        yield _warning(
            "gate.several_networks",
            f"The report is about {several} networks, and all their numbers were judged; name one with --checkpoint.",
        )
    elif not known:
        yield _warning("gate.no_hash", "The reports do not say which file the network came from.")
    results = [result for report in reports for result in report.results]
    for result in results:
        if result.failure is not None:
            yield _warning("gate.check_failed", f"tlaudit {result.check} could not be made: {result.failure}")
    # The source of a test of one network alone may be the network that is audited.
    models = [result.provenance.models.get("source") for result in results if not alone(result)]
    hashes = {model.sha256 for model in models if model is not None}
    if len(hashes) > 1:
        names = listed(_hash(one) for one in sorted(hashes, key=str))
        yield _warning("gate.sources", f"The reports were made with different source networks: {names}.")
    versions = {result.provenance.versions.get("tlaudit", "an unknown version") for result in results}
    if len(versions) > 1:
        yield _warning("gate.versions", f"The reports were written by different versions of tlaudit: {_and(versions)}.")


def _hash(sha256: str | None) -> str:
    return f"sha256 {sha256[:SHORT]}" if sha256 else "no hash"


def _and(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity="warning", message=message)
