"""What is compared: reports, each with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.comparisons import Candidate
from tlaudit.documents import read_report, report_of
from tlaudit.errors import UsageError
from tlaudit.reading import is_file
from tlaudit.records import writable
from tlaudit.results import AuditReport, CheckResult

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tlaudit.results import ModelRecord
    from tlaudit.verdicts import ReportSource

Given = str | Path | AuditReport | CheckResult


@dataclass(frozen=True)
class Audited:
    """One candidate.

    Attributes:
        name: What it is called, other than all others.
        source: Its report.
        results: Of its checks, failed ones included, by name.
    """

    name: str
    source: ReportSource
    results: dict[str, CheckResult]

    @property
    def record(self) -> Candidate:
        """What the comparison says of it."""
        return Candidate(
            name=self.name, source=self.source, architecture=self.architecture, target_images=self.target_images
        )

    @property
    def architecture(self) -> str:
        """Of the audited network."""
        model = _network(self.results.values())
        return model.architecture if model else "not known"

    @property
    def target_images(self) -> int | None:
        """Images it was finetuned on, those that a limit left out included; None where no check looked at them."""
        for result in self.results.values():
            target = result.provenance.data.get("target")
            if target is not None:
                return max(target.images, target.available - len(target.skipped))
        return None


def gather(reports: Mapping[str, Given] | Sequence[Given]) -> tuple[Audited, ...]:
    """Read reports and give each a name.

    Args:
        reports: By name; or without names, which are then those of the files, as far as they differ.

    Returns:
        One for each, in their order.

    Raises:
        UsageError: If there are fewer than two, a name is empty, or two are the same report.
        ReportError: If a file is no report.
    """
    given = reports.items() if isinstance(reports, Mapping) else zip(_names(reports), reports, strict=True)
    named = [(writable(name), report) for name, report in given]
    if len(named) < 2:
        raise UsageError(f"a comparison needs at least two reports, got {len(named)}")
    if not all(name.strip() for name, _ in named):
        raise UsageError("a candidate needs a name that is not empty (NAME=FILE)")
    _refuse_namesakes([name for name, _ in named])
    found = tuple(_audited(name, given) for name, given in named)
    _refuse_twice(found)
    return found


def named_files(arguments: Sequence[str]) -> dict[str, Path]:
    """Understand ``FILE`` and ``NAME=FILE``.

    Args:
        arguments: As they were written. One that names a file as a whole is a file, whatever it holds.

    Raises:
        UsageError: If a name is empty, or given twice.
    """
    pairs: list[tuple[str | None, Path]] = []
    for argument in arguments:
        name, found, path = argument.partition("=")
        if not found or is_file(Path(argument)):
            pairs.append((None, Path(argument)))
        elif not name.strip() or not path:
            raise UsageError(f"{argument}: expected FILE or NAME=FILE")
        else:
            pairs.append((writable(name), Path(path)))
    given = [name for name, _ in pairs if name is not None]
    _refuse_namesakes(given)
    plain = iter(_told_apart([path for name, path in pairs if name is None], given))
    return {name if name is not None else next(plain): path for name, path in pairs}


def _names(reports: Sequence[Given]) -> list[str]:
    """File names as far as they differ; those of networks for records that lie in no file."""
    paths = [Path(one) for one in reports if isinstance(one, str | Path)]
    files = _told_apart(paths, ())
    records = _numbered([_spoken(one) for one in reports if isinstance(one, AuditReport | CheckResult)], files)
    of_files, of_records = iter(files), iter(records)
    return [next(of_files) if isinstance(one, str | Path) else next(of_records) for one in reports]


def _told_apart(paths: Sequence[Path], taken: Collection[str]) -> list[str]:
    """The stem of each file, with as many folders before it as tell it from the others.

    What differs in its suffix alone, or not at all, is told apart by a number: no folder would do that.
    """
    parts = [tuple(map(writable, _stem_and_folders(path))) for path in paths]
    depths = dict.fromkeys(parts, 1)
    while True:
        names = {own: "/".join(own[-depth:]) for own, depth in depths.items()}
        counts = Counter([*names.values(), *taken])
        grown = {own: min(depth + (counts[names[own]] > 1), len(own)) for own, depth in depths.items()}
        if grown == depths:
            return _numbered((names[own] for own in parts), taken)
        depths = grown


def _stem_and_folders(path: Path) -> tuple[str, ...]:
    """The parts of a path from below the root on, the last without its suffix."""
    full = path.absolute().with_suffix("")
    return full.parts[1:] if full.anchor else full.parts


def _numbered(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """Names that are there already get a number."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found or own in taken:
            number += 1
            own = f"{name} ({number})"
        found.append(own)
    return found


def _spoken(record: AuditReport | CheckResult) -> str:
    results = record.checks if isinstance(record, AuditReport) else (record,)
    model = _network(results)
    return Path(model.spec).stem if model and model.spec else results[0].check


def _network(results: Iterable[CheckResult]) -> ModelRecord | None:
    """The audited network: the finetuned one, or of a check that has none the first."""
    for result in results:
        models = result.provenance.models
        model = models.get("finetuned") or next(iter(models.values()), None)
        if model is not None:
            return model
    return None


def _audited(name: str, given: Given) -> Audited:
    report = read_report(Path(given)) if isinstance(given, str | Path) else report_of(given)
    return Audited(name, report.source, {result.check: result for result in report.results})


def _refuse_namesakes(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"two candidates are called {twice[0]!r}; give each a name of its own (NAME=FILE)")


def _refuse_twice(found: Sequence[Audited]) -> None:
    """Raise where one report was given twice: as one file, or as two of the same content."""
    seen: dict[str, Audited] = {}
    for one in found:
        other = seen.setdefault(one.source.sha256, one)
        if other is not one:
            raise UsageError(
                f"{other.source.path} ({other.name}) and {one.source.path} ({one.name}) are the same report: give each "
                "report once"
            )
