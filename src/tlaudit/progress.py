"""What shows how far the work is: a protocol, so that nobody below the command line knows a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Progress(Protocol):
    """Shows how far a loop is; called with the loop's items, gives them back one by one."""

    def __call__(
        self,
        items: Iterable[T],
        *,
        total: int,
        label: str,
        size: Callable[[T], int] | None = None,
        note: Callable[[T], str] | None = None,
    ) -> Iterable[T]:
        """Give the items and show `label` beside them.

        Args:
            items: What is looped over, such as batches.
            total: How much there is in all.
            label: What is being done.
            size: How much of the total an item is; without it each is one.
            note: What is to be said of the item that was last given, such as its losses.
        """


def silent(
    items: Iterable[T],
    *,
    total: int,  # noqa: ARG001 - the protocol's names, here and below
    label: str,  # noqa: ARG001
    size: Callable[[T], int] | None = None,  # noqa: ARG001
    note: Callable[[T], str] | None = None,  # noqa: ARG001
) -> Iterable[T]:
    """Show nothing."""
    return items
