"""Options of `tlaudit audit`."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field

from tlaudit.options.base import Options, listed
from tlaudit.quoting import briefly

_MOST_SHOWN = 40
"""Characters of what is no check, and how many of those."""
CheckName = Literal["lingering", "distraction", "erosion", "stress"]


def _named(value: object) -> object:
    """Refuse names that are none, all at once, each with the nearest that is one."""
    value, names = listed(value), get_args(CheckName)
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError(f"expected at least one of {', '.join(names)}")
        strangers = [one for one in value if one not in names]
        if strangers:
            words = [briefly(one, _MOST_SHOWN) for one in strangers[:_MOST_SHOWN]]
            near = [difflib.get_close_matches(one.strip("'"), names, 1) for one in words]
            told = [f"{one}{f' (nearest: {n[0]})' if n else ''}" for one, n in zip(words, near, strict=True)]
            raise ValueError(f"no such check: {', '.join(told)}; there are {', '.join(names)}")
    return value


class AuditOptions(Options):
    """Which checks an audit is made of."""

    checks: Annotated[tuple[CheckName, ...], Field(min_length=1), BeforeValidator(_named)] | None = Field(
        default=None,
        description="lingering, distraction, erosion, stress; default the first three, and stress where there is a "
        "section [stress].",
    )
