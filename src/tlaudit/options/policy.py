"""The rules that a release has to keep: `[policy]` of a configuration file, as data."""

from __future__ import annotations

import re
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlaudit import metrics
from tlaudit.options.base import Options, Positive
from tlaudit.quoting import briefly

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_SHOWN = 80
"""Characters of a name in a message."""
_LONGEST = 1000
"""Characters of a line of text; what nobody reads is no name and no reason."""
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Margin = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Threshold = Literal["min", "max", "max_increase", "max_decrease", "max_relative_increase", "max_relative_decrease"]
LIMITS: tuple[Threshold, ...] = ("min", "max")
CHANGES: tuple[Threshold, ...] = ("max_increase", "max_decrease", "max_relative_increase", "max_relative_decrease")


def written(limit: float) -> str:
    """A limit as somebody wrote it, with no digit cut."""
    short = f"{limit:g}"
    return short if float(short) == limit else repr(limit)


def _known(metric: str) -> str:
    """Refuse what no measurement can be called."""
    if len(metric) > _LONGEST:
        raise ValueError(f"expected the name of a measurement, got {len(metric)} characters")
    if set(metric) & set("?[]") or not metric.isprintable():
        raise ValueError("expected the name of a measurement, in which * is the only wildcard")
    if not metrics.known(metric):
        near = metrics.nearest(metric)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(metrics.METRICS)[:3])} …"
        raise ValueError(f"no measurement is called {briefly(metric, _MOST_SHOWN)}; {hint}")
    return metric


def _one(metric: str) -> str:
    """Refuse a pattern where one number is asked for."""
    if "*" in metric:
        raise ValueError("expected the name of one measurement, without *")
    return _known(metric)


def _plain(text: str) -> str:
    """Refuse what cannot stand in a line."""
    if len(text) > _LONGEST:
        raise ValueError(f"expected a line of text of at most {_LONGEST} characters, got {len(text)}")
    if not text.strip() or not text.isprintable():
        raise ValueError("expected a line of text")
    return text.strip()


def _day(value: object) -> object:
    """A date of TOML, or one in words as ISO 8601 has it; no time of day, no number."""
    if type(value) is date:
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("there is no such day in the calendar") from None
    raise ValueError("expected a date such as 2027-03-31")


Line = Annotated[str, AfterValidator(_plain)]


class Waiver(Options):
    """For how long a rule may be violated, and why."""

    until: Annotated[date, BeforeValidator(_day)] = Field(description="The last day, in UTC.")
    reason: Line


class Rule(Options):
    """What one measurement, or all that a pattern fits, has to keep to."""

    metric: Annotated[str, AfterValidator(_known)] = Field(
        description="Name of a measurement; * stands for any part of it, as in erosion.cka.*"
    )
    id: Line | None = Field(default=None, description="Stable name of the rule; default made of metric, severity, use.")
    min: Limit | None = Field(default=None, description="The number must not be below.")
    max: Limit | None = Field(default=None, description="The number must not be above.")
    max_increase: Margin | None = Field(default=None, description="Rise since the previous report, in the same unit.")
    max_decrease: Margin | None = Field(default=None, description="Fall since the previous report, in the same unit.")
    max_relative_increase: Margin | None = Field(default=None, description="Rise / size of the previous number.")
    max_relative_decrease: Margin | None = Field(default=None, description="Fall / size of the previous number.")
    severity: Literal["error", "warn"] = Field(default="error", description="Whether a violation refuses the release.")
    on_missing: Literal["fail", "warn", "skip"] = Field(
        default="fail", description="Without a number: no answer (exit code 3), a warning, or the rule is skipped."
    )
    if_any: Annotated[str, AfterValidator(_one)] | None = Field(
        default=None, description="A count; where it is 0 there is nothing to measure, and no number is missed."
    )
    min_samples: Positive | None = Field(default=None, description="A number that rests on fewer is not judged.")
    use: Literal["value", "lower", "upper"] = Field(
        default="value", description="Judge the number, or a bound of its interval."
    )
    waive: Waiver | None = Field(default=None, description="Until when it may be violated, and why.")

    @property
    def name(self) -> str:
        """The id; where none is given one that does not depend on the order of the rules."""
        parts = [
            self.metric,
            *(["warn"] if self.severity == "warn" else []),
            *([self.use] if self.use != "value" else []),
        ]
        return self.id or ":".join(parts)

    @property
    def thresholds(self) -> dict[Threshold, float]:
        """What it demands, by the kind of threshold."""
        return {kind: limit for kind in (*LIMITS, *CHANGES) if (limit := getattr(self, kind)) is not None}

    @model_validator(mode="after")
    def _demands_something_possible(self) -> Self:
        if not self.thresholds:
            raise ValueError(f"the rule demands nothing; give one of {', '.join((*LIMITS, *CHANGES))}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"contradictory thresholds: min {written(self.min)} is above max {written(self.max)}")
        return self


class _Bound(NamedTuple):
    """A threshold, and which rule it is of, counted from 1."""

    metric: str
    use: str
    limit: float
    number: int


class PolicyOptions(Options):
    """The rules of a policy; each is known by its own id."""

    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if not self.rules:
            raise ValueError("rules is empty; leave [policy] out for the policy that comes with tlaudit")
        for message, first, second in self._clashes():
            # The numbers are told apart from the sentence, for whoever knows the lines.
            context = {"message": f"rules {first} and {second}: {message}", "numbers": (first, second)}
            raise PydanticCustomError("rules_clash", "{message}", context)
        return self

    def _clashes(self) -> Iterator[tuple[str, int, int]]:
        """What stands between two rules, with their numbers counted from 1."""
        seen: dict[str, int] = {}
        for number, rule in enumerate(self.rules, start=1):
            first = seen.setdefault(rule.name, number)
            if first != number:
                name = briefly(rule.name, _MOST_SHOWN)
                yield f"both have the id {name}; give one of them another id", first, number
        yield from self._contradictions()

    def _contradictions(self) -> Iterator[tuple[str, int, int]]:
        """Thresholds of two rules that no number meets; of the rules of one metric the strictest are looked at."""
        floors = self._strictest("min")
        ceilings = sorted(self._strictest("max"), key=lambda one: one.limit)
        for least in floors:
            for most in ceilings:
                if most.limit >= least.limit:
                    break
                if least.number == most.number or not _never_above(least.use, most.use):
                    continue
                # Of two names, or a name and a pattern, the one that the other covers.
                one, other = sorted((least, most), key=lambda bound: bound.number)
                pairs = ((one.metric, other.metric), (other.metric, one.metric))
                covered = next((narrow for narrow, wide in pairs if fnmatchcase(narrow, wide)), None)
                if covered is not None:
                    which = (least.use, most.use) if least.use != most.use else ("", "")
                    bounds = [f" of the {use} bound" if use else "" for use in which]
                    words = f"min {written(least.limit)}{bounds[0]} is above max {written(most.limit)}{bounds[1]}"
                    yield f"contradictory thresholds of {covered}: {words}", one.number, other.number

    def _strictest(self, kind: Literal["min", "max"]) -> list[_Bound]:
        """Of each metric, and each use of it, the rule with the highest `min` or the lowest `max`."""
        found: dict[tuple[str, str], _Bound] = {}
        for number, rule in enumerate(self.rules, start=1):
            limit = rule.thresholds.get(kind)
            if limit is None:
                continue
            kept = found.get((rule.metric, rule.use))
            if kept is None or (limit > kept.limit if kind == "min" else limit < kept.limit):
                found[rule.metric, rule.use] = _Bound(rule.metric, rule.use, limit, number)
        return list(found.values())


def _never_above(one: str, other: str) -> bool:
    """Whether what one `use` judges is surely not above what the other does.

    An interval's lower bound is not above its upper one. Of the value that is not sure: an interval of resamples may
    lie beside it.
    """
    return one == other or (one, other) == ("lower", "upper")
