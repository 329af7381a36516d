"""What an audit says as a whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tlaudit.auditing.wording import summary, verdict


def results(**kinds):
    """Results by check: a verdict, or ``failed``."""
    return [
        SimpleNamespace(
            check=check, verdict="open" if kind == "failed" else kind, failure="no" if kind == "failed" else None
        )
        for check, kind in kinds.items()
    ]


@pytest.mark.parametrize(
    ("kinds", "judged", "said"),
    [
        ({"lingering": "clear"}, "clear", "Nothing to act on was found. Lingering found nothing wrong."),
        (
            {"lingering": "concern", "distraction": "concern", "erosion": "clear", "stress": "open"},
            "concern",
            "There is something to act on: lingering and distraction. Erosion found nothing wrong; stress could not "
            "tell.",
        ),
        (
            {"lingering": "open", "distraction": "failed", "erosion": "clear"},
            "open",
            "Nothing to act on was found, but not all is known. Erosion found nothing wrong; lingering could not tell; "
            "distraction could not be made.",
        ),
        (
            {"lingering": "failed", "distraction": "failed", "erosion": "failed"},
            "open",
            "Nothing to act on was found, but not all is known. Lingering, distraction and erosion could not be made.",
        ),
        ({"erosion": "concern"}, "concern", "There is something to act on: erosion."),
    ],
)
def test_says_what_was_found_and_what_is_not_known(kinds, judged, said):
    assert verdict(results(**kinds)) == judged
    assert summary(results(**kinds)) == said
