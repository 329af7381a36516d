"""Whether a result is about these very networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlaudit.models.pair import Pair
    from tlaudit.results import CheckResult


def other_networks(result: CheckResult, pair: Pair) -> Iterator[str]:
    """Name the networks of a result that are not those of a pair, by the hashes of their files."""
    for role, model in (("source", pair.source), ("finetuned", pair.finetuned), ("baseline", pair.baseline)):
        theirs = result.provenance.models.get(role)
        if model is None or (theirs is None and role == "baseline"):
            continue
        if theirs is None or theirs.sha256 is None or theirs.sha256 != model.record.sha256:
            then, now = (r.sha256[:12] if r and r.sha256 else "no hash" for r in (theirs, model.record))
            yield f"another {role} checkpoint (then {then}, now {now})"
