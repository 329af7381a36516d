"""What an audit says as a whole: its verdict, and a sentence or two for whoever decides on the release."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlaudit.records import Judgement
    from tlaudit.results import CheckResult

_FIRST = {
    "concern": "There is something to act on: {concern}",
    "open": "Nothing to act on was found, but not all is known",
    "clear": "Nothing to act on was found",
}


def verdict(results: Sequence[CheckResult]) -> Judgement:
    """A concern if any check has one; else open if any is, one that failed among them; else clear."""
    verdicts = {result.verdict for result in results}
    return "concern" if "concern" in verdicts else "open" if "open" in verdicts else "clear"


def summary(results: Sequence[CheckResult]) -> str:
    """Say in two sentences what the checks found, and which of them could not tell."""
    groups = {kind: _names(results, kind) for kind in ("concern", "open", "clear", "failed")}
    first = _FIRST[verdict(results)].format(concern=groups["concern"])
    rest = "; ".join(_rest(groups))
    return f"{first}. {rest[:1].upper()}{rest[1:]}." if rest else f"{first}."


def _rest(groups: dict[str, str]) -> Iterator[str]:
    if groups["clear"]:
        yield f"{groups['clear']} found nothing wrong"
    if groups["open"]:
        yield f"{groups['open']} could not tell"
    if groups["failed"]:
        yield f"{groups['failed']} could not be made"


def _names(results: Sequence[CheckResult], kind: str) -> str:
    found = [one.check for one in results if ("failed" if one.failure is not None else one.verdict) == kind]
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
