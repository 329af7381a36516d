"""The charts of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.comparison.classes import MOST
from tlaudit.exhibits import Heatmap, Lines, Scatter

if TYPE_CHECKING:
    from tlaudit.results import Table

_DECADE = 10
_DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


def front_chart(axes: tuple[str, str], better: tuple[str, str]) -> Scatter:
    """One dot a candidate."""
    told = " and ".join(f"{metric} ({_DIRECTIONS[how]})" for metric, how in zip(axes, better, strict=True))
    return Scatter(
        title=f"{axes[1]} against {axes[0]}",
        reading=f"One dot a candidate, one colour an architecture: {told}. On the front are those that no other beats.",
        table="front",
        x=axes[0],
        y=axes[1],
        name="candidate",
        group="architecture",
        labelled=True,
    )


def size_chart(table: Table, metric: str, better: str) -> Lines:
    """A measurement against the size of the training set, one line an architecture."""
    sizes = [size for row in table.rows if isinstance(size := row["target_images"], int)]
    how = f" ({_DIRECTIONS[better]})" if better in _DIRECTIONS else ""
    return Lines(
        title=f"{metric} and the size of the training set",
        reading=f"One point a candidate, one line an architecture: {metric}{how} with its interval, against the number "
        "of images it was finetuned on.",
        table="sizes",
        x="target_images",
        y=metric,
        group="architecture",
        name="candidate",
        low=f"{metric}.low",
        high=f"{metric}.high",
        log_x=min(sizes) > 0 and max(sizes) >= _DECADE * min(sizes),
    )


def classes_chart() -> Heatmap:
    """What is left of each class in each candidate."""
    return Heatmap(
        title="What lingers where",
        reading="How probable a source class is on its own images to the finetuned backbone under the source's head. "
        f"At most {MOST} classes: first those that linger in some candidates only, widest difference first.",
        table="classes",
        x="candidate",
        y="class",
        value="hybrid_probability",
        low=0.0,
        high=1.0,
    )
