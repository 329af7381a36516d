"""A result with line charts and a heat map, built once for figures and browser."""

from __future__ import annotations

from samples import a_result
from tlaudit.exhibits import Heatmap, Level, Lines, Scatter
from tlaudit.results import CheckResult, Column, Table

STAGES = tuple(f"features.{number}" for number in range(13))

CKA = Lines(
    title="Similarity over depth",
    reading="1 is as it was.",
    table="stages",
    x="stage",
    y="cka",
    group="network",
    low="cka_low",
    high="cka_high",
    levels=(Level(axis="y", value=1, label="unchanged"),),
)
SPECTRA = Lines(
    title="Singular values",
    reading="Both axes are logarithmic.",
    table="spectra",
    x="number",
    y="singular_value",
    group="line",
    log_x=True,
    log_y=True,
    levels=(Level(axis="y", value=0.01, label="a hundredth"),),
)
MATRIX = Heatmap(
    title="Every stage with every stage",
    reading="Bright is alike.",
    table="matrix",
    x="finetuned_stage",
    y="source_stage",
    value="cka",
    low=0,
    high=1,
)

PARETO = Scatter(
    title="Networks",
    reading="To the right and down is better.",
    table="networks",
    x="kept",
    y="distraction",
    name="name",
    group="method",
    shade="accuracy",
)

LABELLED = PARETO.model_copy(update={"group": None, "labelled": True, "least_span": 0.1})


def a_table(rows: list[dict[str, object]], **units: str) -> Table:
    """A table over such rows; what has no unit is text."""
    columns = tuple(Column(name=name, unit=units.get(name, "text"), meaning="M.") for name in rows[0])
    return Table(title="T", columns=columns, rows=tuple(rows), brief=tuple(rows[0]))


def stages_table(stages: tuple[str, ...] = STAGES) -> Table:
    """CKA falls from 1 to 0.6; the source has none, the seventh stage is missing, the second has no bounds."""
    rows = []
    for network, start, end in (("source", None, None), ("finetuned", 1.0, 0.6), ("from scratch", 0.2, 0.25)):
        for place, stage in enumerate(stages):
            value = None
            if start is not None and (network, place) != ("finetuned", 6):
                value = start + (end - start) * place / (len(stages) - 1)
            bound = value is not None and place != 1
            low, high = (value - 0.03, value + 0.01) if bound else (None, None)
            rows.append({"stage": stage, "network": network, "cka": value, "cka_low": low, "cka_high": high})
    return a_table(rows, cka="cka", cka_low="cka", cka_high="cka")


def spectra_table(lines: int = 4, values: int = 64) -> Table:
    """Power laws; the last value of each is 0."""
    rows = [
        {"line": f"line {line}", "number": n, "singular_value": n ** -(1 + line / 4) if n < values else 0.0}
        for line in range(lines)
        for n in range(1, values + 1)
    ]
    return a_table(rows, number="number", singular_value="share")


def matrix_table(stages: tuple[str, ...] = STAGES) -> Table:
    """Alike along the diagonal; the third column is empty, one pair has no row."""
    rows = [
        {"source_stage": y, "finetuned_stage": x, "cka": None if i == 2 else 1 - abs(i - j) / len(stages)}
        for j, y in enumerate(stages)
        for i, x in enumerate(stages)
        if (i, j) != (0, 1)
    ]
    return a_table(rows, cka="cka")


def networks_table() -> Table:
    """Five networks of three methods; the fourth has no accuracy, the fifth no distraction."""
    rows = [
        {"name": f"net {n}", "method": method, "kept": n / 5, "distraction": 0.5 - n / 20, "accuracy": 0.9 + n / 100}
        for n, method in enumerate(("before", "plain", "sweep", "sweep", "sweep"))
    ]
    rows[3]["accuracy"] = rows[4]["distraction"] = None
    return a_table(rows, kept="share", distraction="overlap", accuracy="share")


def an_erosion(stages: tuple[str, ...] = STAGES) -> CheckResult:
    """Three charts over three tables."""
    tables = {"stages": stages_table(stages), "spectra": spectra_table(), "matrix": matrix_table(stages)}
    update = {"check": "erosion", "tables": tables, "charts": (CKA, MATRIX, SPECTRA)}
    return CheckResult.model_validate_json(a_result().model_copy(update=update).to_json())


def crowd_table() -> Table:
    """Twelve networks as they come of a comparison: three in one place, others close to them, few far away."""
    places = {
        "before": (0.823, 0.34), "plain": (0.862, 0.166), "linear-probe": (1.0, 0.338), "lp-ft": (0.984, 0.273),
        "ldifs": (1.0, 0.321), "l2sp": (0.984, 0.273), "lwf": (0.992, 0.283), "composites": (0.969, 0.279),
        "unlearn": (0.524, 0.295), "l1": (0.984, 0.273), "prune": (0.795, 0.264), "wise-ft": (0.969, 0.335),
    }  # fmt: skip
    rows = [
        {"name": name, "method": name, "kept": x, "distraction": y, "accuracy": 0.9 + n / 100}
        for n, (name, (x, y)) in enumerate(places.items())
    ]
    return a_table(rows, kept="share", distraction="overlap", accuracy="share")


def a_comparison() -> CheckResult:
    """One chart of which all dots bear their names."""
    update = {"check": "repair", "tables": {"networks": crowd_table()}, "charts": (LABELLED,)}
    return CheckResult.model_validate_json(a_result().model_copy(update=update).to_json())


def a_repair() -> CheckResult:
    """One chart over one table, dots coloured by a number."""
    update = {"check": "repair", "tables": {"networks": networks_table()}, "charts": (PARETO,)}
    return CheckResult.model_validate_json(a_result().model_copy(update=update).to_json())
