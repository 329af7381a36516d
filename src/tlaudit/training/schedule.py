"""How the learning rate rises and falls."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Give the learning rate of a step: it rises in equal steps, then falls as half a cosine towards 0.

    Args:
        step: Counted from 0.
        steps: How many there are in all.
        peak: Highest rate, reached with the first step after the warm-up.
        warmup: Share of the steps in which it rises, in [0, 1).

    Returns:
        The rate, in (0, peak].

    Example:
        >>> [round(learning_rate(step, 4, peak=1.0, warmup=0.25), 4) for step in range(4)]
        [0.5, 1.0, 0.75, 0.25]
    """
    rising = int(warmup * steps)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
