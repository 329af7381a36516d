"""Naive float64 loops that the measures are compared with: slow, obvious, and written without them."""

from __future__ import annotations

import math


def prevalence(scores: list[list[float]], k: int) -> list[int]:
    counts = [0] * len(scores[0])
    for row in scores:
        for index in sorted(range(len(row)), key=lambda c: -row[c])[:k]:
            counts[index] += 1
    return counts


def class_mean(values: list[float], labels: list[int], wanted: int) -> float:
    chosen = [value for value, label in zip(values, labels, strict=True) if label == wanted]
    return math.fsum(chosen) / len(chosen) if chosen else math.nan


def wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(value - top) for value in row]
    return [weight / math.fsum(weights) for weight in weights]
