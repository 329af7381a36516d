"""The rules that a release has to keep: `[policy]` of a configuration file, as data."""

from __future__ import annotations

import re
from datetime import date
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlaudit import metrics
from tlaudit.options.base import Options, Positive

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    if set(metric) & set("?[]") or not metric.isprintable():
        raise ValueError("expected the name of a measurement, in which * is the only wildcard")
    if not metrics.known(metric):
        near = metrics.nearest(metric)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(metrics.METRICS)[:3])} …"
        raise ValueError(f"no measurement is called {metric!r}; {hint}")
    return metric


def _one(metric: str) -> str:
    """Refuse a pattern where one number is asked for."""
    if "*" in metric:
        raise ValueError("expected the name of one measurement, without *")
    return _known(metric)


def _plain(text: str) -> str:
    """Refuse what cannot stand in a line."""
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
        for (first, one), (second, other) in combinations(enumerate(self.rules, start=1), 2):
            if one.name == other.name:
                yield f"both have the id {one.name!r}; give one of them another id", first, second
            # Of two names, or a name and a pattern, the one that the other covers.
            covered = [
                narrow.metric
                for narrow, wide in ((one, other), (other, one))
                if fnmatchcase(narrow.metric, wide.metric)
            ]
            for least, most in ((one, other), (other, one)) if covered else ():
                low, high = least.min, most.max
                if low is not None and high is not None and low > high and _never_above(least.use, most.use):
                    which = (least.use, most.use) if least.use != most.use else ("", "")
                    bounds = [f" of the {use} bound" if use else "" for use in which]
                    words = f"min {written(low)}{bounds[0]} is above max {written(high)}{bounds[1]}"
                    yield f"contradictory thresholds of {covered[0]}: {words}", first, second


def _never_above(one: str, other: str) -> bool:
    """Whether what one `use` judges is surely not above what the other does.

    An interval's lower bound is not above its upper one. Of the value that is not sure: an interval of resamples may
    lie beside it.
    """
    return one == other or (one, other) == ("lower", "upper")
