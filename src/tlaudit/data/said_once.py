"""What several passes notice about the same images is said once on stderr."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTICING = ("tlaudit.data.classes", "tlaudit.data.account", "tlaudit.data.kinds")
"""Loggers of what is noticed about images, whichever check looks at them."""


class _Once(logging.Filter):
    """Lets each message through the first time; of images, once for each folder they lie in."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, object]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        said = (record.getMessage(), getattr(record, "about", None))
        new = said not in self._said
        self._said.add(said)
        return new


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """Until this ends, let warnings about images through once each."""
    once = _Once()
    loggers = [logging.getLogger(name) for name in NOTICING]
    for logger in loggers:
        logger.addFilter(once)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(once)
