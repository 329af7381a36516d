"""What repairs come to: the result of `tlaudit repair`, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tlaudit.checks.base import provenance
from tlaudit.checks.measured import Recorder
from tlaudit.metrics.repair import BEFORE, PLAIN, SOURCE, quantities
from tlaudit.repair.judgement import Sample, compare, kept, measured, versus_plain
from tlaudit.repair.told_tables import FRONT, changes_table, pareto_table, training_table, versus_table
from tlaudit.repair.vocabulary import (
    ACCURACY_CHART,
    LOSS_CHART,
    pareto_chart,
    spoken,
)
from tlaudit.results import CheckResult, Finding
from tlaudit.training.steps import TASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlaudit.checks.base import Stopwatch, Subject
    from tlaudit.exhibits import Chart
    from tlaudit.options.repair import RepairOptions
    from tlaudit.records import Cell
    from tlaudit.repair.judgement import Change, Facts, Glance, Judgement
    from tlaudit.results import Measurement, Table
    from tlaudit.training.loop import Epoch

CHECK = "repair"
FELL = -0.01
"""A fall of target accuracy that is surely larger than this is a concern (ours)."""
SMALL = -0.05
"""Only where it surely fell no further than this, nothing of the kind was found (ours)."""
MANY_DEAD = 0.1
"""Share of composites with a map before or after, not both, above which the reader is warned (ours)."""
_FEW = 2
"""Methods that the summary tells one by one; of more it tells which stand out."""


@dataclass(frozen=True)
class Outcome:
    """What came of one method.

    Attributes:
        method: Its name.
        judgement: Of its network; None where nothing came of it.
        history: Epochs of its training; none for a method that does not train.
        kept: Number of the epoch whose network was judged, counted from 0; None without a training.
        findings: What the reader has to know of it.
        variants: Further networks it tried, by name, as they are at a glance.
        diverged: What was said where its training diverged, or None.
        file: Checkpoint that holds its network; None where none was written.
        sha256: Of that file, or of the weights where there is none.
    """

    method: str
    judgement: Judgement | None
    history: tuple[Epoch, ...] = ()
    kept: int | None = None
    findings: tuple[Finding, ...] = ()
    variants: tuple[tuple[str, Glance], ...] = ()
    diverged: str | None = None
    file: str | None = None
    sha256: str | None = None


def told(
    subject: Subject,
    options: RepairOptions,
    facts: Facts,
    before: tuple[str, Judgement],
    outcomes: Sequence[Outcome],
    watch: Stopwatch,
) -> CheckResult:
    """Put together what is told of repairs.

    Args:
        subject: Networks and images, as provenance names them.
        options: Of the repair, as they were resolved.
        facts: What the networks share that were judged.
        before: What the network before the repair is called, and what it does.
        outcomes: What came of each method, each named once.
        watch: Started when the run began.

    Returns:
        Measurements ``repair.<before or method>.<axis>``, ``repair.<method>.<axis>_change``,
        ``repair.<before or method>.source_kept`` and, of the methods beside a network of `PLAIN`,
        ``repair.<method>.<axis>_versus_plain``; the tables ``before_after``, ``pareto``, where there is anything to
        tell ``versus_plain`` and ``training``; charts, findings, provenance. In ``pareto``, ``on_front`` is said of
        networks that have each of target accuracy, source top-1 and distraction that the network before has, and is
        empty for the others.

    Raises:
        DataError: If an image could be read for one network and not for another.
    """
    methods = [outcome.method for outcome in outcomes]
    after = {outcome.method: outcome.judgement for outcome in outcomes if outcome.judgement is not None}
    named = quantities(methods, versus_plain=PLAIN in after)
    recorder = Recorder(named, subject.seed, options.judge.bootstrap, options.judge.confidence)
    changes = {method: compare(before[1], judged, method, recorder) for method, judged in after.items()}
    versus = {
        method: versus_plain(after, changes, method, recorder) for method in after if PLAIN in after and method != PLAIN
    }
    found = {m.name: m for m in _measurements(facts, before[1], outcomes, changes, versus, recorder)}
    tables = {"before_after": changes_table(changes), "pareto": pareto_table(facts, before[1], outcomes, recorder)}
    if len(outcomes) > 1:
        # Networks side by side come first where there are several; of one, what changed does.
        tables = dict(reversed(tables.items()))
    if versus:
        tables["versus_plain"] = versus_table(versus)
    if any(outcome.history for outcome in outcomes):
        tables["training"] = training_table([(one.method, one.history, one.kept) for one in outcomes])
    return CheckResult(
        check=CHECK,
        verdict=_verdict(found, _judged(outcomes)),
        summary=" ".join(_summary(found, outcomes, before[0], tables["pareto"])),
        headline=tuple(_headline(methods, found)),
        measurements=tuple(found.values()),
        tables=tables,
        charts=tuple(_charts(tables)),
        findings=(*subject.findings, *_findings(subject, options, before[1], outcomes)),
        provenance=provenance(subject, facts.records, _resolved(options, methods) | dict(facts.definitions)),
        run=watch.stop(subject.execution),
    )


def _measurements(
    facts: Facts,
    before: Judgement,
    outcomes: Sequence[Outcome],
    changes: Mapping[str, Sequence[Change]],
    versus: Mapping[str, Sequence[Change]],
    recorder: Recorder,
) -> Iterator[Measurement]:
    """All of them: of the source network, before, and of each method after, the change, and against plain."""
    own = facts.source
    if isinstance(own, str):
        yield recorder.absent(SOURCE, own)
    else:
        right = own.of(own.known).values
        yield recorder.share(SOURCE, int(right.sum()), len(right), if_none="no source image was read")
    yield from measured(before, BEFORE, recorder).values()
    yield kept(before, facts, BEFORE, recorder)
    for outcome in outcomes:
        if outcome.judgement is None:
            reason = outcome.diverged or "no network came of it"
            prefix = f"repair.{outcome.method}."
            yield from (recorder.absent(name, reason) for name in recorder.quantities if name.startswith(prefix))
            continue
        for change in changes[outcome.method]:
            yield change.after
            yield change.change
        yield kept(outcome.judgement, facts, outcome.method, recorder)
        yield from (one.change for one in versus.get(outcome.method, ()))


def _headline(methods: Sequence[str], found: Mapping[str, Measurement]) -> Iterator[str]:
    """For one method its axes; for several the two that pull against each other."""
    axes, named = ["target_accuracy", "source_kept"], [BEFORE, *methods]
    if len(methods) == 1:
        axes = ["target_accuracy", "target_accuracy_change", "source_top1", "source_kept", "lingering_count"]
        axes, named = [*axes, "distraction", "distraction_change", "flip_rate_change"], [*methods]
    for method in named:
        yield from (name for axis in axes if found[name := f"repair.{method}.{axis}"].absent is None)


def _judged(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that the verdict is about: not plain finetuning, where it is only what others are set against."""
    others = [outcome for outcome in outcomes if outcome.method != PLAIN]
    return others or list(outcomes)


def _verdict(found: Mapping[str, Measurement], judged: Sequence[Outcome]) -> Literal["concern", "clear", "open"]:
    """A concern if a training diverged, or target accuracy surely fell by more than a point.

    Clear if it surely fell by no more than five points with any method: what a repair is for, the tables show.
    """
    if any(outcome.diverged for outcome in judged) or _fallen(found, judged):
        return "concern"
    intervals = [found[f"repair.{one.method}.target_accuracy_change"].interval for one in judged]
    return "clear" if all(one is not None and one.low >= SMALL for one in intervals) else "open"


def _fallen(found: Mapping[str, Measurement], outcomes: Sequence[Outcome]) -> list[str]:
    """Methods after which target accuracy surely fell by more than a point."""
    intervals = {one.method: found[f"repair.{one.method}.target_accuracy_change"].interval for one in outcomes}
    return [method for method, interval in intervals.items() if interval is not None and interval.high < FELL]


def _summary(
    found: Mapping[str, Measurement], outcomes: Sequence[Outcome], before: str, pareto: Table
) -> Iterator[str]:
    """What before is; few methods one by one, of many those on the front; then what makes it a concern."""
    # A name of one word says which network it is, a longer one what it is.
    yield f"Before is the {before}." if " " in before else f"Before is the {before} network."
    if len(outcomes) <= _FEW:
        yield from (_in_words(found, outcome) for outcome in outcomes)
    else:
        front = [str(row["name"]) for row in pareto.rows if row["on_front"] == "yes"]
        axes = [spoken(axis) for axis in FRONT if pareto.rows[0][axis] is not None]
        yield (
            f"On the front of {' and '.join(axes)}: {', '.join(front)}."
            if front
            else "Nothing is known to compare them by."
        )
        lost = [outcome.method for outcome in outcomes if outcome.judgement is None]
        if lost:
            yield f"Nothing came of {', '.join(lost)}."
    diverged = [outcome.method for outcome in outcomes if outcome.diverged and outcome.judgement is not None]
    if diverged:
        yield f"The training diverged with {', '.join(diverged)}."
    fallen = _fallen(found, outcomes)
    if fallen:
        yield f"Target accuracy surely fell by more than a point after {', '.join(fallen)}."
    plain = [outcome for outcome in outcomes if outcome.method == PLAIN]
    if len(outcomes) > 1 and (PLAIN in fallen or any(outcome.diverged for outcome in plain)):
        yield f"The verdict is about the methods other than {PLAIN}."


def _in_words(found: Mapping[str, Measurement], outcome: Outcome) -> str:
    """What became of the three numbers that networks are compared by."""
    if outcome.judgement is None:
        return f"{outcome.method}: nothing came of it."
    pieces = []
    for axis in FRONT:
        one, other = found[f"repair.{BEFORE}.{axis}"], found[f"repair.{outcome.method}.{axis}"]
        if one.value is None or other.value is None:
            continue
        if one.unit == "share":
            piece = f"{spoken(axis)} {100 * one.value:.1f} → {100 * other.value:.1f} %"
        else:
            piece = f"{spoken(axis)} {one.value:.3f} → {other.value:.3f}"
        share = found[f"repair.{outcome.method}.source_kept"].value if axis == "source_top1" else None
        pieces.append(piece if share is None else f"{piece} ({100 * share:.0f} % kept)")
    return f"{outcome.method}: {', '.join(pieces) or 'nothing of it is known before and after'}."


def _charts(tables: Mapping[str, Table]) -> Iterator[Chart]:
    """Networks against each other, by what is known of them, and the losses."""
    rows = tables["pareto"].rows

    def known(*columns: str) -> bool:
        return any(all(row[column] is not None for column in columns) for row in rows)

    kept_and_cured = ("source_kept", "distraction")
    if known(*kept_and_cured):
        shaded = known(*kept_and_cured, "target_accuracy")
        swept = any(row["name"] != row["method"] and row["distraction"] is None for row in rows)
        yield pareto_chart(shaded=shaded, swept=swept)
    elif known(ACCURACY_CHART.x, ACCURACY_CHART.y):
        yield ACCURACY_CHART
    if "training" in tables and any(row.get(TASK) is not None for row in tables["training"].rows):
        yield LOSS_CHART


def _findings(
    subject: Subject, options: RepairOptions, before: Judgement, outcomes: Sequence[Outcome]
) -> Iterator[Finding]:
    """What the reader has to know beside the numbers."""
    trained = [outcome for outcome in outcomes if outcome.history]
    if trained:
        message = (
            "Each method was trained once, from one seed. Intervals say how far other images could have given other "
            "numbers, not how far another seed could; repeat with other values of --seed before relying on it."
        )
        yield Finding(code="repair.one_seed", severity="info", message=message)
    if trained and options.keep == "best" and subject.val is not None:
        message = (
            "The validation images also chose the epoch that was kept (--keep best), so that the target accuracy after "
            "a repair is slightly better than other images would show; --keep last leaves them out of it."
        )
        yield Finding(code="repair.validation_chose", severity="info", message=message)
    for outcome in outcomes:
        if outcome.diverged:
            what = "nothing was judged" if outcome.judgement is None else "the last good network was judged"
            message = f"{outcome.method}: {outcome.diverged}; {what}."
            yield Finding(code="repair.diverged", severity="error", message=message)
        if outcome.judgement is not None:
            yield from _about_maps(outcome.method, before, outcome.judgement)
        yield from outcome.findings


def _about_maps(method: str, before: Judgement, after: Judgement) -> Iterator[Finding]:
    """Whether before and after are about other composites, because maps are dead."""
    one, other = before.samples["distraction"], after.samples["distraction"]
    if not isinstance(one, Sample) or not isinstance(other, Sample) or len(one.values) != len(other.values):
        return
    apart = int((one.known != other.known).sum())
    if apart > MANY_DEAD * len(one.values):
        message = (
            f"{method}: in {apart} of {len(one.values)} composites the map says something before the repair or after "
            "it, not both. The change of distraction is over the others; the values before and after are each over "
            "all they have, so that their difference is not the change."
        )
        yield Finding(code="repair.dead_maps", severity="warning", message=message)


def _resolved(options: RepairOptions, methods: Sequence[str]) -> dict[str, Cell]:
    """The options as they were used: the common ones, and those of the methods that ran."""
    found: dict[str, Cell] = {"methods": ", ".join(methods)}
    own = {method.replace("-", "_") for method in methods}
    for key, value in options.model_dump(mode="json", exclude={"methods"}).items():
        if not isinstance(value, dict):
            found[key] = _cell(value)
        elif key in {"training", "judge"} | own:
            found |= {f"{key}.{name}": _cell(one) for name, one in value.items()}
    return found


def _cell(value: object) -> Cell:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, bool | int | float) or value is None else str(value)
