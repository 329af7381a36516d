"""What can be done about an audit: advice that an audit's user can follow, and the commands that do it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.results import CheckResult, Measurement

TRAIN_FOLDER, REPORT = "TRAIN_FOLDER", "REPORT.json"
"""Stand in a command for what the record does not tell."""
ENOUGH = 60
"""Fewer images cannot show that at most 0.05 of all are lost: the checks' rule of three."""
SPREAD = 0.05
"""The loss of accuracy that `erosion` judges by."""


class Advice(NamedTuple):
    """What can be done next: a sentence or two, and the commands that do it."""

    text: str
    commands: tuple[str, ...]


class Recorded(NamedTuple):
    """What the command of an audit says about the next ones.

    Attributes:
        again: Whether it is a command at all; Python that calls the package has none.
        config: The configuration file it names, or None.
        report: The JSON document it wrote, or None.
    """

    again: bool
    config: str | None
    report: str | None

    @classmethod
    def of(cls, command: str) -> Recorded:
        """Read a command as it was recorded."""
        try:
            words = shlex.split(command)
        except ValueError:
            words = []
        if words[:2] != ["tlaudit", "audit"]:
            return cls(again=False, config=None, report=None)
        written = _value(words, "--output", "-o")
        return cls(
            again=True,
            config=_value(words, "--config"),
            report=written if written is not None and written.endswith(".json") else None,
        )


def has_gap(command: str) -> bool:
    """Whether a command cannot be run as it stands."""
    return TRAIN_FOLDER in command or REPORT in command


def advice(result: CheckResult, images: str | None, recorded: Recorded) -> Advice | None:
    """What can be done about a result. No promise that it helps.

    Args:
        result: Of one check.
        images: Folder of the training images, if it is known.
        recorded: The audit's command.

    Returns:
        The advice; None where there is nothing to do.
    """
    if result.failure is not None:
        below = "; the command is below" if recorded.again else ""
        return Advice(f"Mend what the failure names, and run the audit again{below}.", ())
    if result.verdict == "open":
        remedies = dict.fromkeys(remedy for _, remedy in _undecided(result))
        return Advice(" ".join(remedies), ()) if remedies else None
    if result.verdict != "concern":
        return None
    if result.check == "stress":
        return Advice(
            "This is about the source network, whatever is finetuned from it. Look through the training pictures for "
            "marks that go with a class: stamps, borders, devices, places. Look at the features after each finetuning, "
            "and let a rule of the policy refuse a network that lost them.",
            (
                _command("erosion", recorded, "-o erosion.json --report erosion.html"),
                _command("gate", recorded, "erosion.json"),
            ),
        )
    if result.check == "erosion":
        text = "Finetune again in a way that holds on to the features, and see what that does to the accuracy."
        return _repaired(text, "ldifs", "kept-features", "kept-features.safetensors", images, recorded)
    if result.check in {"lingering", "distraction"}:
        text = (
            "Finetune again in ways that make it forget such things, or learn not to mind them, and see which of them "
            "does it at what price."
        )
        return _repaired(text, "unlearn,composites", "forgotten", "forgotten.unlearn.safetensors", images, recorded)
    return None


def why_open(result: CheckResult) -> str | None:
    """Why a verdict is open, as far as the record tells; None where it is not."""
    if result.failure is not None or result.verdict != "open":
        return None
    reasons = dict.fromkeys(reason for reason, _ in _undecided(result) if reason)
    return "; ".join(reasons) or None


def _repaired(text: str, methods: str, name: str, checkpoint: str, images: str | None, recorded: Recorded) -> Advice:
    """Train, audit what comes of it, and hold it against this audit; files of one advice are none of another's."""
    folder = shlex.quote(images) if images else TRAIN_FOLDER
    against = shlex.quote(recorded.report) if recorded.report else REPORT
    repair = f"--method {methods} --train-data {folder} -o {name}.safetensors --report {name}-repair.html"
    audit = f"--finetuned {checkpoint} -o {name}.json --report {name}.html"
    commands = (
        _command("repair", recorded, repair),
        _command("audit", recorded, audit),
        _command("gate", recorded, f"{name}.json --against {against}"),
    )
    stand_ins = {TRAIN_FOLDER: "the folder of your training images", REPORT: "the JSON document of this audit"}
    told = [f"{what} stands for {means}" for what, means in stand_ins.items() if any(what in one for one in commands)]
    return Advice(f"{text} {', '.join(told)}." if told else text, commands)


def _command(name: str, recorded: Recorded, rest: str) -> str:
    config = f"--config {shlex.quote(recorded.config)} " if recorded.config is not None else ""
    return f"tlaudit {name} {config}{rest}"


def _value(words: Sequence[str], *flags: str) -> str | None:
    """What a command gives an option, the last time it does."""
    found = None
    for number, word in enumerate(words):
        for flag in flags:
            if word == flag and number + 1 < len(words):
                found = words[number + 1]
            elif word.startswith(f"{flag}="):
                found = word.removeprefix(f"{flag}=")
            elif not flag.startswith("--") and word.startswith(flag) and len(word) > len(flag):
                found = word.removeprefix(flag)
    return found


def _undecided(result: CheckResult) -> Iterator[tuple[str, str]]:
    """Why a verdict is open, and what would settle it."""
    known = {m.name: m for m in result.measurements}
    codes = {finding.code for finding in result.findings}
    baseline = "baseline" in result.provenance.models
    found = {
        "lingering": lambda: _lingering(known, baseline=baseline),
        "distraction": lambda: _distraction(known, codes, baseline=baseline),
        "erosion": lambda: _erosion(known, codes),
        "stress": lambda: _stress(known, codes),
    }
    yield from found[result.check]() if result.check in found else ()


def _lingering(known: dict[str, Measurement], *, baseline: bool) -> Iterator[tuple[str, str]]:
    fraction, control = known.get("lingering.fraction"), known.get("control.lingering_fraction")
    if fraction is not None and fraction.value is None:
        yield fraction.absent or "", "Give source images of more classes: source of [data] in tlaudit.toml."
    elif control is not None and control.value is not None:
        yield (
            "a network that never saw such things seems to recognise about as many of them, so that it may be chance",
            "Source images of more classes (source of [data] in tlaudit.toml) make it sharper.",
        )
    else:
        more = "" if baseline else ", and a from-scratch network to compare with (baseline of [models]),"
        yield "", f"Source images of more classes (source of [data] in tlaudit.toml){more} make it sharper."


def _distraction(known: dict[str, Measurement], codes: set[str], *, baseline: bool) -> Iterator[tuple[str, str]]:
    mean = known.get("distraction.mean")
    if mean is not None and mean.value is None:
        yield mean.absent or "", "See what lingering says: without something to distract there is nothing to test."
        return
    dead = any(code.startswith("distraction.dead_") for code in codes)
    if dead:
        yield (
            "many attribution maps are dead, so that nothing is seen in them",
            "Explain another layer, or with another method: layer and method of [distraction] in tlaudit.toml.",
        )
    if "distraction.few_overlays" in codes:
        yield (
            "too few of your pictures could be pasted",
            "Give more training images (target of [data]), and leave overlays of [distraction] at 20 or more.",
        )
    if not baseline:
        yield (
            "there is no from-scratch network to compare with",
            "Give a from-scratch network to compare with: baseline of [models] in tlaudit.toml.",
        )
    others = {"null": "by chance"} | ({"baseline": "a network that never saw such things pays"} if baseline else {})
    reasons = [reason for other, what in others.items() if (reason := _not_beyond(known, other, what))]
    if reasons or not (dead or "distraction.few_overlays" in codes or not baseline):
        sharper = (
            "More composites (per_class of [distraction] in tlaudit.toml, 2 at the least), and source images of more "
            "classes, make it sharper."
        )
        yield "; ".join(reasons), sharper


def _not_beyond(known: dict[str, Measurement], other: str, what: str) -> str | None:
    """Why the excess over something does not count: a concern needs the interval and the signed-rank test."""
    excess, p = known.get(f"distraction.excess_over_{other}"), known.get(f"distraction.{other}_wilcoxon_p")
    if excess is None:
        return None
    if excess.value is None or excess.interval is None:
        return excess.absent or excess.interval_absent
    if excess.interval.low <= 0:
        return f"it may pay such things no more attention than {what}"
    if p is not None and p.value is None:
        return p.absent
    if p is not None and p.value is not None and p.value >= 1 - excess.interval.confidence:
        return (
            f"the interval says that it pays such things more attention than {what}, and the signed-rank test over "
            f"classes is not sure of it (p = {p.value:.2g})"
        )
    return None


def _erosion(known: dict[str, Measurement], codes: set[str]) -> Iterator[tuple[str, str]]:
    drop, folders = known.get("erosion.source_accuracy_drop"), "source of [data] in tlaudit.toml"
    if drop is not None and drop.value is None:
        yield drop.absent or "", f"Give images in folders of the source's classes: {folders}."
    elif drop is not None and drop.n < ENOUGH:
        yield f"{drop.n} images are too few to tell", f"Give more source images: {folders}."
    elif drop is not None and _spans(drop, SPREAD):
        yield "how much accuracy is lost is not known well enough", f"Give more source images: {folders}."
    if "erosion.few_images" in codes:
        yield (
            "there are too few images to count how varied its features are",
            f"Give more source images: {folders}; at least twice as many as a stage has features.",
        )
    if drop is None or (drop.value is not None and drop.n >= ENOUGH and not _spans(drop, SPREAD)):
        yield "", f"More images, in folders of the source's classes ({folders}), make it sharper."


def _stress(known: dict[str, Measurement], codes: set[str]) -> Iterator[tuple[str, str]]:
    before, learnt = known.get("stress.clean_accuracy.before"), "stress.squares_not_learnt" not in codes
    if not learnt:
        yield (
            "the copies hardly learnt the mark, so that nothing was tested",
            "Train harder: epochs or learning_rate of [stress.training] in tlaudit.toml.",
        )
    few = before is not None and before.value is not None and before.n < ENOUGH
    if few and before is not None:
        yield f"{before.n} test images are too few to tell", "Give more test images: test of [stress] in tlaudit.toml."
    if learnt and not few:
        yield "", "More test images (test of [stress] in tlaudit.toml) make it sharper."


def _spans(one: Measurement, limit: float) -> bool:
    return one.interval is not None and one.interval.low <= limit <= one.interval.high
