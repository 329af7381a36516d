"""Options of `tlaudit audit`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tlaudit.options.base import Options, listed

CheckName = Literal["lingering", "distraction", "erosion", "stress"]


class AuditOptions(Options):
    """Which checks an audit is made of."""

    checks: Annotated[tuple[CheckName, ...], Field(min_length=1), BeforeValidator(listed)] | None = Field(
        default=None,
        description="lingering, distraction, erosion, stress; default the first three, and stress where there is a "
        "section [stress].",
    )
