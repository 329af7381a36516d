"""An audit in plain words, for people who release networks and do not train them.

What a check asks, and what its numbers say; what can be done about it is told by `tlaudit.reports.next_steps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tlaudit.reports import wording

if TYPE_CHECKING:
    from tlaudit.results import CheckResult, Measurement


class Phrase(NamedTuple):
    """What a number says, going on from it.

    Attributes:
        text: What comes after the number.
        scale: *points* and *percent*: the number is told times 100, as so many points or so many percent; *plain*: as
            in every other format.
        negative: What comes instead after the size of a number below 0.
        none: What comes instead after a number of 0 or less that means the same as 0.
        more: What comes instead after a ratio above 1.
    """

    text: str
    scale: Literal["plain", "percent", "points"] = "plain"
    negative: str = ""
    none: str = ""
    more: str = ""

    def told(self, of: Measurement) -> tuple[str, str, str]:
        """Give the number as it is told, its interval, and what goes on from them."""
        value, bounds = of.value or 0, of.interval
        turned = bool(self.negative) and value < 0
        text = self.negative if turned else self.none if self.none and value <= 0 else self.text
        if self.more and value > 1:
            text = self.more
        ends = () if bounds is None else (-bounds.high, -bounds.low) if turned else (bounds.low, bounds.high)
        if self.negative and bounds is not None and bounds.low < 0 < bounds.high:
            text = f"{text}; it may be none, or the other way round"
        interval = " to ".join(self._number(end, of.unit) for end in ends) or "–"
        if self.scale == "plain" and not turned:
            interval = wording.interval(of)
        return self._number(-value if turned else value, of.unit), interval, text

    def _number(self, value: float, unit: str) -> str:
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
    """

    question: str
    finding: str
    why: str
    numbers: dict[str, Phrase]


CHECKS: dict[str, Plain] = {
    "lingering": Plain(
        question="Does it still recognise things your data never showed?",
        finding="It still recognises things your data never showed.",
        why="What it still knows from before can answer for it when such a thing turns up in a picture.",
        numbers={
            "lingering.fraction": Phrase("of the things your data never showed are still recognised"),
            "control.lingering_fraction": Phrase("are recognised by a network that never saw them: an accident"),
            "lingering.pooled_retention": Phrase(
                "of the original network's confidence in them is left",
                "percent",
                more="of the original network's confidence in them: none of it was lost",
            ),
        },
    ),
    "distraction": Plain(
        question="Do such things get between it and the right answer?",
        finding="Such things get between it and the right answer.",
        why="Pictures of your own task were shown with such a thing behind them, and on plain grey.",
        numbers={
            "distraction.excess_over_baseline": Phrase(
                "more attention to such things than a network that never saw them pays",
                negative="less attention to such things than a network that never saw them pays",
            ),
            "distraction.excess_over_null": Phrase(
                "more attention to such things than by chance", negative="less attention to such things than by chance"
            ),
            "distraction.flip_rate": Phrase("are right on grey and wrong with such a thing behind them"),
            "distraction.grey_accuracy": Phrase("are right on grey"),
            "distraction.composite_accuracy": Phrase("are right with such a thing behind them"),
        },
    ),
    "erosion": Plain(
        question="Did finetuning destroy features?",
        finding="Finetuning destroyed features.",
        why="What finetuning destroys is missing in later tasks, and for pictures a little unlike your data.",
        numbers={
            "erosion.source_accuracy_drop": Phrase(
                "points of the original task's accuracy are lost",
                "points",
                negative="points of the original task's accuracy are gained",
            ),
            "erosion.rank_ratio.min": Phrase(
                "of the variety of its features is left at the worst stage",
                "percent",
                more="of the variety of its features at the worst stage: none of it was lost",
            ),
            "erosion.cka.min": Phrase(
                "likeness to the original features at the worst stage; 1 is as they were",
                none="no likeness to the original features at the worst stage: 0 or less is none",
            ),
        },
    ),
    "stress": Plain(
        question="How easily would a shortcut in the data destroy what the source network knows?",
        finding="A shortcut in the data would destroy much of what the source network knows.",
        why="Copies of the source network were trained on pictures with a mark that gives the answer away. It says "
        "nothing of the finetuned network itself.",
        numbers={
            "stress.max_drop": Phrase(
                "points of accuracy on clean pictures are lost at worst",
                "points",
                negative="points of accuracy on clean pictures are gained at worst",
            ),
            "stress.threshold_ratio": Phrase("of the training pictures with the mark are enough to lose too much"),
            "stress.clean_accuracy.before": Phrase("of clean pictures were right before"),
        },
    ),
}
"""In the order of an audit. The numbers stand in the order in which they are shown."""

VALIDATION = "target.accuracy"
SCRATCH = "baseline.target_accuracy"

BANNERS = {
    "concern": ("Concern", "There is something to act on before it is released."),
    "failed": ("A check failed", "Nothing to act on was found, but not everything could be looked at."),
    "nothing": ("No answer", "No check could be made: nothing is known of this network."),
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

LOST_RANK, LOST_ACCURACY = 0.5, 0.05
"""What `erosion` calls a concern: a share of the rank that is left, and of accuracy that is lost."""


def question(check: str) -> str:
    """What a check answers; its name where it is none of an audit's."""
    return CHECKS[check].question if check in CHECKS else check.replace("_", " ").capitalize()


def leading(result: CheckResult) -> list[str]:
    """Names of the measurements that tell most, the one on which the verdict rests first."""
    names = list(CHECKS[result.check].numbers) if result.check in CHECKS else []
    names = [*dict.fromkeys([*names, *result.headline])]
    if result.check != "erosion":
        return names
    known = {m.name: m for m in result.measurements}
    rank, drop = known.get("erosion.rank_ratio.min"), known.get("erosion.source_accuracy_drop")
    lost = drop is not None and drop.interval is not None and drop.interval.low > LOST_ACCURACY
    low = rank is not None and rank.value is not None and rank.value < LOST_RANK
    unsure = any(finding.code == "erosion.few_images" for finding in result.findings)
    first = "erosion.source_accuracy_drop"
    if result.verdict == "concern":
        first = "erosion.rank_ratio.min" if low and not (unsure and lost) else first if lost else "erosion.cka.min"
    return sorted(names, key=lambda name: name != first)
