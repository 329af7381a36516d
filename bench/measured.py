"""One measurement, as the runner asks for it: options and rows as JSON has them."""

from __future__ import annotations

import importlib
from typing import Any

from tlaudit.models.runtime import keep_memory

from .options import Options


def rows(name: str, **options: Any) -> list[dict[str, Any]]:
    # As the commands do it; what stands beside them gains as much by it.
    keep_memory()
    measurement = importlib.import_module(f"bench.{name}")
    return [row.as_json() for row in measurement.measure(Options(**options))]
