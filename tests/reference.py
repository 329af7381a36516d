"""Naive float64 loops that the measures are compared with: slow, obvious, and written without them."""

from __future__ import annotations

import itertools
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


def percentile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    place = (len(ordered) - 1) * (q / 100)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def top_pixels(values: list[float], region: list[bool], q: float) -> list[bool]:
    threshold = percentile([v for v, counts in zip(values, region, strict=True) if counts], q)
    return [counts and v > threshold for v, counts in zip(values, region, strict=True)]


def overlap(first: list[bool], second: list[bool]) -> float:
    both = sum(a and b for a, b in zip(first, second, strict=True))
    either = sum(a or b for a, b in zip(first, second, strict=True))
    return both / either if either else math.nan


def highest(values: list[float], region: list[bool], count: int) -> list[bool]:
    inside = [index for index, counts in enumerate(region) if counts]
    chosen = sorted(inside, key=lambda index: (-values[index], index))[:count]
    return [index in set(chosen) for index in range(len(values))]


def signed_rank_p(differences: list[float]) -> float:
    """Two-sided, over all ways to sign the ranks; no zeros and no ties."""
    ordered = sorted(differences, key=abs)
    ranks = range(1, len(ordered) + 1)
    middle = sum(ranks) / 2
    found = abs(sum(rank for rank, value in zip(ranks, ordered, strict=True) if value > 0) - middle)
    sums = [sum(chosen) for chosen in itertools.product(*((0, rank) for rank in ranks))]
    return sum(abs(total - middle) >= found for total in sums) / len(sums)


def gram(rows: list[list[float]]) -> list[list[float]]:
    return [[math.fsum(a * b for a, b in zip(one, two, strict=True)) for two in rows] for one in rows]


def hsic1(k: list[list[float]], l: list[list[float]]) -> float:  # noqa: E741
    """The sums of Song et al. 2012 written out: pairs, triples and quadruples of unlike images."""
    n = len(k)
    unlike = [(i, j) for i in range(n) for j in range(n) if i != j]
    trace = math.fsum(k[i][j] * l[j][i] for i, j in unlike)
    totals = math.fsum(k[i][j] for i, j in unlike) * math.fsum(l[i][j] for i, j in unlike)
    chained = math.fsum(k[i][j] * l[j][m] for i, j in unlike for m in range(n) if m != j)
    return (trace + totals / ((n - 1) * (n - 2)) - 2 * chained / (n - 2)) / (n * (n - 3))


def minibatch_cka(minibatches: list[tuple[list[list[float]], list[list[float]]]]) -> float:
    grams = [(gram(first), gram(second)) for first, second in minibatches]
    across, first, second = (
        math.fsum(values) / len(grams)
        for values in zip(*((hsic1(k, l), hsic1(k, k), hsic1(l, l)) for k, l in grams), strict=True)  # noqa: E741
    )
    return across / math.sqrt(first * second)


def covariance(rows: list[list[float]]) -> list[list[float]]:
    means = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    apart = [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]
    columns = list(zip(*apart, strict=True))
    return [[math.fsum(a * b for a, b in zip(i, j, strict=True)) / (len(rows) - 1) for j in columns] for i in columns]


def effective_rank(eigenvalues: list[float]) -> float:
    singular = [math.sqrt(value) for value in eigenvalues]
    shares = [value / math.fsum(singular) for value in singular]
    return math.exp(-math.fsum(share * math.log(share) for share in shares if share > 0))
