"""An audit in plain words, for people who release networks and do not train them.

What a check asks, what its numbers say, and what can be done where it finds something.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from tlaudit.results import CheckResult


class Advice(NamedTuple):
    """What can be done next: a sentence or two, and the commands that do it."""

    text: str
    commands: tuple[str, ...]


class Phrase(NamedTuple):
    """What a number says, going on from it.

    Attributes:
        text: What comes after the number.
        scale: *points* and *percent*: the number is told times 100, as so many points or so many percent; *plain*: as
            in every other format.
    """

    text: str
    scale: Literal["plain", "percent", "points"] = "plain"

    def number(self, value: float, unit: str) -> str:
        """The value as the phrase goes on from it."""
        if self.scale == "plain":
            return wording.number(value, unit)
        return f"{100 * value:.1f}{' %' if self.scale == 'percent' else ''}"


class Plain(NamedTuple):
    """A check for somebody who does not know how it works.

    Attributes:
        question: What it answers.
        finding: What it comes to where the verdict is a concern.
        why: Why that matters.
        numbers: What the measurements say that tell most, by name.
        undecided: What would settle it where the verdict is open.
    """

    question: str
    finding: str
    why: str
    numbers: dict[str, Phrase]
    undecided: str


CHECKS: dict[str, Plain] = {
    "lingering": Plain(
        question="Does it still recognise things your data never showed?",
        finding="It still recognises things your data never showed.",
        why="What it still knows from before can answer for it when such a thing turns up in a picture.",
        numbers={
            "lingering.fraction": Phrase("of the things your data never showed are still recognised"),
            "control.lingering_fraction": Phrase("are recognised by a network that never saw them: an accident"),
            "lingering.pooled_retention": Phrase("of the original network's confidence in them is left", "percent"),
        },
        undecided="More source images, and a from-scratch network (--baseline) to compare with, make it sharper.",
    ),
    "distraction": Plain(
        question="Do such things get between it and the right answer?",
        finding="Such things get between it and the right answer.",
        why="Pictures of your own task were shown with such a thing behind them, and on plain grey.",
        numbers={
            "distraction.flip_rate": Phrase("are right on grey and wrong with such a thing behind them"),
            "distraction.grey_accuracy": Phrase("are right on grey"),
            "distraction.composite_accuracy": Phrase("are right with such a thing behind them"),
            "distraction.excess_over_baseline": Phrase("more attention to such things than without knowing them"),
            "distraction.excess_over_null": Phrase("more attention to such things than by chance"),
        },
        undecided="More composites (--per-class), and a from-scratch network (--baseline) to compare with, make it "
        "sharper.",
    ),
    "erosion": Plain(
        question="Did finetuning destroy features?",
        finding="Finetuning destroyed features.",
        why="What finetuning destroys is missing in later tasks, and for pictures a little unlike your data.",
        numbers={
            "erosion.source_accuracy_drop": Phrase("points of the original task's accuracy are lost", "points"),
            "erosion.rank_ratio.min": Phrase("of the variety of its features is left at the worst stage", "percent"),
            "erosion.cka.min": Phrase("likeness to the original features at the worst stage; 1 is as they were"),
        },
        undecided="More images, in folders of the source's classes, make it sharper.",
    ),
    "stress": Plain(
        question="How easily would a shortcut in the data destroy what it knows?",
        finding="A shortcut in the data would destroy much of what it knows.",
        why="Copies of the network were trained on pictures with a mark that gives the answer away.",
        numbers={
            "stress.max_drop": Phrase("points of accuracy on clean pictures are lost at worst", "points"),
            "stress.threshold_ratio": Phrase("of the training pictures with the mark are enough to lose too much"),
            "stress.clean_accuracy.before": Phrase("of clean pictures were right before"),
        },
        undecided="More test images, or a training that learns the mark (--epochs, --learning-rate), make it sharper.",
    ),
}
"""In the order of an audit. The numbers stand in the order in which they are shown."""

VALIDATION = "target.accuracy"
SCRATCH = "baseline.target_accuracy"

BANNERS = {
    "concern": ("Concern", "There is something to act on before it is released."),
    "failed": ("A check failed", "Nothing to act on was found, but not everything could be looked at."),
    "open": ("Open", "What was measured does not settle it."),
    "clear": ("Clear", "Nothing to act on was found."),
}
"""The verdict on an audit in a word and in a sentence."""

FAILED = ("Failed", "The check could not be made.")
"""Instead of a check's verdict where there is none."""

VERDICTS = {
    "pass": ("Pass", "No rule of the policy stands against this network."),
    "fail": ("Refused", "The policy does not let this network through."),
    "no answer": ("No answer", "A rule of the policy could not be judged, so that this is no pass."),
}
"""What a policy says of a network, in a word and in a sentence."""

_GATE = "tlaudit gate audit.json"


def question(check: str) -> str:
    """What a check answers; its name where it is none of an audit's."""
    return CHECKS[check].question if check in CHECKS else check.replace("_", " ").capitalize()


def advice(result: CheckResult, images: str | None) -> Advice | None:
    """What can be done about a result. No promise that it helps.

    Args:
        result: Of one check.
        images: Folder of the training images, if it is known.

    Returns:
        The advice; None where there is nothing to do.
    """
    if result.failure is not None:
        return Advice("Mend what the failure names, and run the audit again; the command is below.", ())
    if result.verdict == "open":
        return Advice(CHECKS[result.check].undecided, ()) if result.check in CHECKS else None
    if result.verdict != "concern" or result.check not in CHECKS:
        return None
    if result.check == "stress":
        return Advice(
            "Look through the training pictures for marks that go with a class: stamps, borders, devices, places. Look "
            "at the features after each finetuning, and let a rule of the policy refuse a network that lost them.",
            ("tlaudit erosion -o erosion.json --report erosion.html", _GATE),
        )
    if result.check == "erosion":
        text = "Finetune again in a way that holds on to the features, and see what that does to the accuracy."
        return Advice(text, (_repair("ldifs", images), *_judge_again("repaired.safetensors")))
    text = (
        "Finetune again in ways that make it forget such things, or learn not to mind them, and see which of them "
        "does it at what price."
    )
    return Advice(text, (_repair("unlearn,composites", images), *_judge_again("repaired.unlearn.safetensors")))


def _repair(methods: str, images: str | None) -> str:
    folder = shlex.quote(images) if images else "FOLDER"
    return f"tlaudit repair --method {methods} --train-data {folder} -o repaired.safetensors --report repair.html"


def _judge_again(checkpoint: str) -> tuple[str, str]:
    return (
        f"tlaudit audit --finetuned {checkpoint} -o repaired.json --report repaired.html",
        "tlaudit gate repaired.json --against audit.json",
    )
