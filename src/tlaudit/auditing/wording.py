"""What an audit says as a whole: its verdict, and a sentence or two for whoever decides on the release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.auditing.choice import STRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.records import Judgement
    from tlaudit.results import CheckResult

_SAID = {
    "concern": "found something to act on",
    "clear": "found nothing wrong",
    "open": "could not tell",
    "failed": "could not be made",
}
"""What a check did, by its verdict; in the order in which it is said."""
NOTHING = "No check could be made: nothing is known of this network."


def verdict(results: Sequence[CheckResult]) -> Judgement:
    """A concern if any check of the network has one; else open if any is, or any check failed; else clear.

    What `stress` finds is about the source network, and decides only where there is no other check.
    """
    verdicts = {result.verdict for result in _deciding(results)}
    if "concern" in verdicts:
        return "concern"
    failed = any(result.failure is not None for result in results)
    return "open" if "open" in verdicts or failed else "clear"


def summary(results: Sequence[CheckResult]) -> str:
    """Say what the checks found, and which of them could not tell."""
    if all(result.failure is not None for result in results):
        return NOTHING
    deciding = _deciding(results)
    groups = {kind: [one.check for one in deciding if _kind(one) == kind] for kind in _SAID}
    parts = [f"{_listed(names)} {_SAID[kind]}" for kind, names in groups.items() if names]
    if len(deciding) > 1:
        kind, names = next((kind, names) for kind, names in groups.items() if names)
        parts[0] = f"{len(names)} of {len(deciding)} checks {_SAID[kind]}: {_listed(names)}"
    sentences = [parts[0], "; ".join(parts[1:]), *(_about_stress(one) for one in results if one not in deciding)]
    return " ".join(f"{one[:1].upper()}{one[1:]}." for one in sentences if one)


def _about_stress(result: CheckResult) -> str:
    return f"{result.check}, which is about the source network, {_SAID[_kind(result)]}"


def _deciding(results: Sequence[CheckResult]) -> list[CheckResult]:
    """The checks whose verdicts are about the finetuned network; all where none is."""
    return [one for one in results if one.check != STRESS] or list(results)


def _kind(result: CheckResult) -> str:
    return "failed" if result.failure is not None else result.verdict


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
