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
        ({"lingering": "clear"}, "clear", "Lingering found nothing wrong."),
        (
            {"lingering": "concern", "distraction": "concern", "erosion": "clear", "stress": "open"},
            "concern",
            "2 of 3 checks found something to act on: lingering and distraction. Erosion found nothing wrong. Stress, "
            "which is about the source network, could not tell.",
        ),
        (
            {"lingering": "open", "distraction": "failed", "erosion": "clear"},
            "open",
            "1 of 3 checks found nothing wrong: erosion. Lingering could not tell; distraction could not be made.",
        ),
        (
            dict.fromkeys(("lingering", "distraction", "erosion"), "concern"),
            "concern",
            "3 of 3 checks found something to act on: lingering, distraction and erosion.",
        ),
        (
            {"lingering": "failed", "distraction": "failed", "erosion": "failed"},
            "open",
            "No check could be made: nothing is known of this network.",
        ),
        ({"erosion": "failed"}, "open", "No check could be made: nothing is known of this network."),
        ({"erosion": "concern"}, "concern", "Erosion found something to act on."),
    ],
)
def test_says_what_was_found_and_what_is_not_known(kinds, judged, said):
    assert verdict(results(**kinds)) == judged
    assert summary(results(**kinds)) == said


@pytest.mark.parametrize("stress", ["concern", "open", "clear"])
@pytest.mark.parametrize("erosion", ["concern", "open", "clear"])
def test_stress_decides_only_where_it_is_alone(stress, erosion):
    assert verdict(results(erosion=erosion, stress=stress)) == erosion
    assert verdict(results(stress=stress)) == stress
    assert "about the source network" in summary(results(erosion=erosion, stress=stress))


def test_a_failed_check_is_never_clear():
    assert verdict(results(erosion="clear", stress="failed")) == "open"
