"""Names of what a result holds unless somebody took it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit import metrics
from tlaudit.metrics import continual, erosion, lingering, repair, stress
from tlaudit.policy.rules import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tlaudit.results import CheckResult


def check_of(name: str) -> str:
    """The check that makes a measurement, or all that a pattern means; empty if it may be any."""
    if name in lingering.QUANTITIES or ("*" in name and any(fits(name, known) for known in lingering.QUANTITIES)):
        return "lingering"
    first = name.split(".", maxsplit=1)[0]
    return "" if "*" in first else first


def expected(result: CheckResult) -> list[str]:
    """Names of all measurements that the check makes of what its result says it was made of.

    A result of a check that could not be made says nothing of that; there the names that never change are expected.
    """
    always = [name for name in metrics.METRICS if check_of(name) == result.check]
    families = _FAMILIES.get(result.check)
    named = families(result) if families is not None and result.failure is None else ()
    return list(dict.fromkeys((*always, *named)))


def _of_stages(result: CheckResult) -> Iterable[str]:
    # Networks of different backbones have stages and no measurements of each.
    if not result.provenance.backbone.matched:
        return ()
    rows = result.tables["stages"].rows if "stages" in result.tables else ()
    told = [str(row["stage"]) for row in rows if row.get("network") == "finetuned" and row.get("stage") is not None]
    return erosion.quantities(dict.fromkeys(told or _words(result, "stages")))


def _of_ratios(result: CheckResult) -> Iterable[str]:
    try:
        return stress.quantities([float(word) for word in _words(result, "ratios")])
    except ValueError:
        return ()


def _of_methods(result: CheckResult) -> Iterable[str]:
    rows = result.tables["pareto"].rows if "pareto" in result.tables else ()
    made = {row.get("name") for row in rows}
    return repair.quantities(_words(result, "methods"), versus_plain=repair.PLAIN in made)


def _of_tasks(result: CheckResult) -> Iterable[str]:
    return continual.quantities(_words(result, "tasks"), _words(result, "methods"))


def _words(result: CheckResult, option: str) -> list[str]:
    """What an option lists."""
    told = result.provenance.options.get(option)
    return [word for word in told.split(", ") if word] if isinstance(told, str) else []


_FAMILIES: Mapping[str, Callable[[CheckResult], Iterable[str]]] = {
    "erosion": _of_stages,
    "stress": _of_ratios,
    "repair": _of_methods,
    "continual": _of_tasks,
}
"""By check, names that depend on networks or options."""
