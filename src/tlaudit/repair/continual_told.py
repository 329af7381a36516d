"""A sequence of tasks in numbers: what is known of each task after each one, forgetting, forward transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tlaudit.checks.base import provenance
from tlaudit.checks.measured import Recorder
from tlaudit.exhibits import Heatmap, Lines
from tlaudit.metrics.continual import quantities
from tlaudit.results import CheckResult, Column, Finding, Table, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from tlaudit.checks.base import Stopwatch
    from tlaudit.records import Cell
    from tlaudit.repair.ground import Ground
    from tlaudit.results import DataRecord, Interval, Measurement

FORGOTTEN = 0.01
"""A task forgotten by more than this, with its whole interval, is a concern (our choice)."""

BEFORE = "before"
SUMMARY_ABSENT = "a mean over few tasks; the interval of each task stands in its own row"
NO_SOURCE = "no source images were given (--source-data)"

COLUMNS = columns(
    ("method", "text", "How the tasks were learnt."),
    ("after", "text", "Last task learnt; `before` is the source network."),
    ("task", "text", "Task whose held-out images were asked about."),
    ("accuracy", "share", "Held-out images got right by the backbone under the task's own head, once learnt."),
    ("low", "share", "Lower bound of its interval."),
    ("high", "share", "Upper bound of the same."),
    ("probe", "share", "Held-out images got right by a linear probe fitted to the backbone's features."),
    ("n", "images", "Held-out images of the task."),
    ("absent", "text", "Why cells of this row are empty."),
)


@dataclass(frozen=True)
class Sequence:
    """What one method's way through the tasks left behind.

    Attributes:
        method: Its name.
        own: By last task learnt and task asked, which held-out images the task's own head gets right, ``(N,)`` bool.
        probes: The same of linear probes; an empty name is the source network.
        source: By last task learnt, which source images are got right under the source's head; maybe none.
        findings: What the reader has to know of how the networks came about.
    """

    method: str
    own: dict[tuple[str, str], Tensor]
    probes: dict[tuple[str, str], Tensor]
    source: dict[str, Tensor]
    findings: tuple[Finding, ...] = ()


def told(
    grounds: Mapping[str, Ground], sequences: list[Sequence], diverged: list[str], watch: Stopwatch
) -> CheckResult:
    """Put a sequence into a result.

    Args:
        grounds: Of all tasks by name, in order.
        sequences: One for each method.
        diverged: Why there is none of a method.
        watch: Started with the run.
    """
    tasks, ground = list(grounds), next(iter(grounds.values()))
    judge = ground.settings.repair.judge
    recorder = Recorder(
        quantities(tasks, [one.method for one in sequences]), ground.seed, judge.bootstrap, judge.confidence
    )
    measurements = [found for sequence in sequences for found in _measured(sequence, tasks, recorder)]
    by_name = {measurement.name: measurement for measurement in measurements}
    records: dict[str, DataRecord] = {}
    for name, one in grounds.items():
        assert one.val is not None  # a task has such images
        records |= {f"{name}.training": one.training.record, f"{name}.validation": one.val.record}
    resolved: dict[str, Cell] = {"tasks": ", ".join(tasks), "methods": ", ".join(one.method for one in sequences)}
    resolved |= {f"training.{key}": value for key, value in ground.settings.repair.training.model_dump().items()}
    found = provenance(ground.subject, records, resolved)
    findings = [finding for one in sequences for finding in one.findings]
    findings += [Finding(code="repair.diverged", severity="error", message=reason) for reason in diverged]
    if ground.settings.repair.keep == "best":
        message = (
            "The held-out images also chose the epoch that was kept (--keep best), so that accuracies under own heads "
            "are slightly better than other images would show; --keep last leaves them out of it."
        )
        findings.append(Finding(code="repair.validation_chose", severity="info", message=message))
    return CheckResult(
        check="continual",
        verdict="concern" if diverged else _verdict(by_name, tasks, sequences),
        summary=_summary(by_name, tasks, sequences),
        headline=tuple(
            f"continual.{one.method}.{name}"
            for one in sequences
            for name in ("average_accuracy", "forgetting", "forward_transfer", "source_top1")
        ),
        measurements=tuple(measurements),
        tables={"accuracies": _table(sequences, tasks, recorder)} | _matrices(sequences, tasks),
        charts=(*(_heatmap(one.method) for one in sequences), _lines(sequences)),
        findings=tuple(dict.fromkeys((*ground.subject.findings, *findings))),
        provenance=found.model_copy(update={"models": {"source": found.models["source"]}}),
        run=watch.stop(ground.execution),
    )


def _measured(one: Sequence, tasks: list[str], recorder: Recorder) -> Iterator[Measurement]:
    stem, last = f"continual.{one.method}", tasks[-1]
    accuracies, forgettings, transfers = [], [], []
    for position, task in enumerate(tasks):
        final = one.own[last, task]
        accuracies.append(recorder.share(f"{stem}.accuracy.{task}", int(final.sum()), len(final), if_none="no image"))
        name = f"{stem}.forgetting.{task}"
        if task == last:
            yield recorder.absent(name, "it was learnt last, and nothing came after it")
        else:
            # The best of the accuracies before the last task (Chaudhry et al. 2018).
            best = max((one.own[after, task] for after in tasks[position:-1]), key=lambda right: int(right.sum()))
            forgettings.append(recorder.mean(name, best.double() - final.double(), if_none="no image"))
        name = f"{stem}.forward_transfer.{task}"
        if position == 0:
            yield recorder.absent(name, "it was learnt first, and nothing came before it")
        else:
            gained = one.probes[tasks[position - 1], task].double() - one.probes["", task].double()
            transfers.append(recorder.mean(name, gained, if_none="no image"))
    yield from (*accuracies, *forgettings, *transfers)
    for name, parts in (("average_accuracy", accuracies), ("forgetting", forgettings), ("forward_transfer", transfers)):
        values = [part.value for part in parts if part.value is not None]
        yield recorder.exact(f"{stem}.{name}", sum(values) / len(values), len(values), why=SUMMARY_ABSENT)
    right, before = one.source[last], one.source[""]
    yield recorder.share(f"{stem}.source_top1", int(right.sum()), len(right), if_none=NO_SOURCE)
    yield recorder.mean(f"{stem}.source_top1_change", right.double() - before.double(), if_none=NO_SOURCE)


def _table(sequences: list[Sequence], tasks: list[str], recorder: Recorder) -> Table:
    rows = [row for one in sequences for row in _rows(one, tasks, recorder)]
    return Table(
        title="What is known of each task after each one",
        columns=COLUMNS,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=("method", "after", "task", "accuracy", "low", "high", "probe"),
    )


def _rows(one: Sequence, tasks: list[str], recorder: Recorder) -> Iterator[dict[str, Cell]]:
    for after in ("", *tasks):
        for task in tasks:
            right, probed = one.own.get((after, task)), one.probes[after, task]
            interval: Interval | None = None
            if right is not None:
                # Only the interval is wanted; the name is that of any share.
                name = f"continual.{one.method}.accuracy.{task}"
                interval = recorder.share(name, int(right.sum()), len(right), if_none="no image").interval
            yield {
                "method": one.method,
                "after": after or BEFORE,
                "task": task,
                "accuracy": float(right.double().mean()) if right is not None else None,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "probe": float(probed.double().mean()),
                "n": len(probed),
                "absent": None if right is not None else "the task had not been learnt, so that it has no head",
            }


def _matrices(sequences: list[Sequence], tasks: list[str]) -> dict[str, Table]:
    """The accuracy matrix of each method: own heads where there are any, linear probes before."""
    columns = (
        *COLUMNS[1:3],
        Column(name="accuracy", unit="share", meaning="Held-out images of the task got right."),
        Column(name="by", unit="text", meaning="own head | linear probe, where the task has no head yet"),
    )
    found = {}
    for one in sequences:
        rows: list[dict[str, Cell]] = []
        for after in ("", *tasks):
            for task in tasks:
                right = one.own.get((after, task))
                shown = one.probes[after, task] if right is None else right
                by = "linear probe" if right is None else "own head"
                rows.append(
                    {"after": after or BEFORE, "task": task, "accuracy": float(shown.double().mean()), "by": by}
                )
        found[f"matrix.{one.method}"] = Table(
            title=f"Accuracy matrix of {one.method}",
            columns=columns,
            rows=tuple(rows),
            worst=tuple(range(len(rows))),
            brief=("after", "task", "accuracy", "by"),
        )
    return found


def _heatmap(method: str) -> Heatmap:
    return Heatmap(
        title=f"Accuracy of every task after every task, {method}",
        reading=(
            "A row is the network after a task, a column the task that is asked about. On and below the diagonal the "
            "task's own head answers, above it a linear probe, since the task has not been learnt yet. What fades "
            "downward is forgotten."
        ),
        table=f"matrix.{method}",
        x="task",
        y="after",
        value="accuracy",
    )


def _lines(sequences: list[Sequence]) -> Lines:
    several = len(sequences) > 1
    return Lines(
        title="Accuracy as tasks are learnt",
        reading="One line a task, under its own head, from the moment it was learnt; falling lines are forgetting.",
        table="accuracies",
        x="after",
        y="accuracy",
        group="task",
        name="method" if several else None,
        low="low",
        high="high",
    )


def _verdict(
    by_name: dict[str, Measurement], tasks: list[str], sequences: list[Sequence]
) -> Literal["concern", "clear", "open"]:
    """A concern where some task is forgotten, with its whole interval, by more than a hundredth."""
    found = [by_name[f"continual.{one.method}.forgetting.{task}"] for one in sequences for task in tasks[:-1]]
    if any(one.interval is not None and one.interval.low > FORGOTTEN for one in found):
        return "concern"
    return "open" if any(one.interval is None for one in found) else "clear"


def _summary(by_name: dict[str, Measurement], tasks: list[str], sequences: list[Sequence]) -> str:
    parts = []
    for one in sequences:
        values = {
            name: by_name[f"continual.{one.method}.{name}"].value
            for name in ("average_accuracy", "forgetting", "forward_transfer")
        }
        parts.append(
            f"{one.method}: {100 * (values['average_accuracy'] or 0):.1f} % of all {len(tasks)} tasks at the end, "
            f"forgetting {100 * (values['forgetting'] or 0):.1f} points, forward transfer "
            f"{100 * (values['forward_transfer'] or 0):+.1f} points"
        )
    return f"After {' → '.join(tasks)}. {'; '.join(parts)}."
