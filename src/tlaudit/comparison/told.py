"""A comparison from its candidates to the document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.comparison.agreement import left_out, refuse_incomparable, remarked, shared_checks
from tlaudit.comparison.axes import ACCURACY, front_axes, ranking_metric
from tlaudit.comparison.board import Board
from tlaudit.comparison.candidates import gather
from tlaudit.comparison.charts import classes_chart, front_chart, size_chart
from tlaudit.comparison.classes import LINGERING, class_board, classes_table
from tlaudit.comparison.front import pareto
from tlaudit.comparison.ranking import rank
from tlaudit.comparison.tables import changes_table, front_table, ranking_table, sizes_table
from tlaudit.comparisons import Comparison
from tlaudit.errors import UsageError
from tlaudit.records import writable
from tlaudit.results import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlaudit.comparison.candidates import Given
    from tlaudit.comparison.classes import ClassBoard
    from tlaudit.comparison.front import Standing
    from tlaudit.comparison.ranking import Place
    from tlaudit.exhibits import Chart
    from tlaudit.results import Table

INTERVALS = (
    "Intervals of changes are made of those of both reports as if these were independent (MOVER, Zou & Donner 2008). "
    "Candidates judged on the same images mostly rise and fall together, and then the intervals are too wide, which is "
    "the safe side; paired numbers are in no report. Each pair is judged for itself: of many pairs some are told apart "
    "by accident."
)


def compare(
    reports: Mapping[str, Given] | Sequence[Given],
    *,
    by: str | None = None,
    axes: Sequence[str] | None = None,
    reference: str | None = None,
) -> Comparison:
    """Put many audits side by side: a ranking, changes with intervals, the Pareto front.

    Args:
        reports: Files that `tlaudit audit` or a single check wrote as JSON, or their records, by name or without; each
            is one candidate.
        by: Name of the measurement that the ranking goes by.
        axes: Names of the two measurements of the Pareto front.
        reference: Name of the candidate that changes are relative to; the first where left out.

    Returns:
        The tables ``ranking``, ``changes``, ``front`` and, where there is something to tell, ``other_changes``,
        ``sizes`` and ``classes``, charts over them, and findings.

    Raises:
        UsageError: If there are fewer than two reports, one is given twice, two cannot be compared (with all reasons),
            or there is no such measurement or reference.
        ReportError: If a file is no report, no check was made of all candidates, or nobody has the measurement.
    """
    audited = gather(reports)
    names = [one.name for one in audited]
    base = names[0] if reference is None else writable(reference)
    if base not in names:
        raise UsageError(f"--reference: there is no candidate {base!r}; there are {', '.join(names)}")
    checks = shared_checks(audited)
    refuse_incomparable(audited, checks)
    board = Board(audited, checks)
    by = ranking_metric(board, by)
    two = front_axes(board, by, axes)
    places, front = rank(board, by), pareto(board, two)
    tables, charts = _tables(board, places, front, two, by, base)
    findings = [
        *left_out(audited),
        *_absent(board),
        Finding(code="comparison.intervals", severity="info", message=INTERVALS),
    ]
    if LINGERING in checks:
        classes = class_board(audited)
        _add_classes(classes, [place.name for place in places], tables, charts)
        findings.append(Finding(code="comparison.classes", severity="info", message=classes.summary()))
    return Comparison(
        summary=_summary(board, places, front, two, by),
        candidates=tuple(one.record for one in audited),
        reference=base,
        ranked_by=by,
        axes=two,
        tables=tables,
        charts=tuple(charts),
        findings=(*findings, *remarked(audited, checks, base)),
    )


def _tables(
    board: Board, places: list[Place], front: Mapping[str, Standing], axes: tuple[str, str], by: str, base: str
) -> tuple[dict[str, Table], list[Chart]]:
    order = [place.name for place in places]
    first = dict.fromkeys((by, *axes, *board.headline, ACCURACY))
    shown = tuple(metric for metric in first if metric in board.names and board.somewhere(metric))
    others = [metric for metric in board.names if metric not in shown and board.somewhere(metric)]
    tables = {
        "ranking": ranking_table(board, places, shown, by, front),
        "changes": changes_table(board, order, base, shown, brief=True),
        "front": front_table(board, order, axes, front),
    }
    if others:
        tables["other_changes"] = changes_table(board, order, base, others, brief=False)
    charts: list[Chart] = []
    if any(standing.on_front is not None for standing in front.values()):
        charts.append(front_chart(axes, (board.any(axes[0]).better, board.any(axes[1]).better)))
    metrics = tuple(dict.fromkeys((by, *axes)))
    sizes = sizes_table(board, metrics)
    if sizes is not None:
        tables["sizes"] = sizes
        charts += [size_chart(sizes, metric, board.any(metric).better) for metric in metrics]
    return tables, charts


def _add_classes(board: ClassBoard, order: list[str], tables: dict[str, Table], charts: list[Chart]) -> None:
    table = classes_table(board, order)
    if table is not None:
        tables["classes"] = table
        charts.append(classes_chart())


def _absent(board: Board) -> list[Finding]:
    """Tell what no candidate has, and why."""
    reasons: dict[str, list[str]] = {}
    for metric in board.names:
        if not board.somewhere(metric):
            told = dict.fromkeys(reason for one in board.audited if (reason := board.reason(one.name, metric)))
            reasons.setdefault("; ".join(told), []).append(metric)
    return [
        Finding(code="comparison.absent", severity="info", message=f"No candidate has {', '.join(metrics)}: {reason}.")
        for reason, metrics in reasons.items()
    ]


def _summary(board: Board, places: list[Place], front: Mapping[str, Standing], axes: tuple[str, str], by: str) -> str:
    """Who is best, whether that can be told, and who is on the front."""
    best = [place for place in places if place.rank == 1]
    what = board.any(by)
    value = _number(board.value(best[0].name, by), what.unit)
    names = _listed([place.name for place in best])
    text = f"{names} {'is' if len(best) == 1 else 'are'} best by {by} ({value}, {what.better} is better)"
    ranked = [place for place in places if place.rank is not None]
    alike = _not_told_apart(best)
    if len(ranked) == 1:
        text += "; no other has a value."
    elif alike:
        text += f", but {alike}."
    elif len(best) < len(ranked):
        text += ", told apart from all others."
    else:
        text += "; all are equal."
    on_front = [name for name, standing in front.items() if standing.on_front]
    if on_front:
        return f"{text} On the Pareto front of {axes[0]} and {axes[1]}: {_listed(on_front)}."
    return f"{text} Nobody has both {axes[0]} and {axes[1]}: there is no Pareto front."


def _not_told_apart(best: Sequence[Place]) -> str:
    """From whom each of the best is not told apart, those of equal value aside; empty if from nobody."""
    equal = {place.name for place in best}
    found: dict[tuple[str, ...], list[str]] = {}
    for place in best:
        found.setdefault(tuple(name for name in place.alike if name not in equal), []).append(place.name)
    if len(found) == 1:
        others = next(iter(found))
        return f"not told apart from {_listed(others)}" if others else ""
    return "; ".join(
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} not told apart from {_listed(others)}"
        for others, names in found.items()
        if others
    )


def _number(value: float | None, unit: str) -> str:
    """As the tables say it."""
    if value is None:
        return "absent"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row; of many the first."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
