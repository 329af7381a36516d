"""What a sequence of tasks measures: unit, direction and a sentence for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.metrics.base import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable


def quantities(tasks: Iterable[str], methods: Iterable[str]) -> dict[str, Quantity]:
    """Name everything that is measured of these tasks, learnt in turn by these methods."""
    found: dict[str, Quantity] = {}
    for method in methods:
        stem, by = f"continual.{method}", f"learnt by {method}"
        found |= {
            f"{stem}.average_accuracy": Quantity(
                "share", "higher", f"Accuracy after the last task, mean over tasks {by}."
            ),
            f"{stem}.forgetting": Quantity(
                "difference", "lower", f"Best accuracy so far less the last, mean over all tasks but the last, {by}."
            ),
            f"{stem}.forward_transfer": Quantity(
                "difference",
                "higher",
                f"What a probe reads of a task just before it is {by}, less of the source's features.",
            ),
            f"{stem}.source_top1": Quantity("share", "higher", f"Source images got right after all tasks {by}."),
            f"{stem}.source_top1_change": Quantity(
                "difference", "higher", "The same less the source network's own, paired."
            ),
        }
        for task in tasks:
            found[f"{stem}.accuracy.{task}"] = Quantity("share", "higher", f"Accuracy on {task} after all tasks {by}.")
            found[f"{stem}.forgetting.{task}"] = Quantity(
                "difference", "lower", f"Best accuracy on {task} less that after all tasks, paired, {by}."
            )
            found[f"{stem}.forward_transfer.{task}"] = Quantity(
                "difference",
                "higher",
                f"What a probe reads of {task} before it is {by}, less of the source's features.",
            )
    return found
