"""Rules and reports in, a verdict out: what `tlaudit gate` does. Imports no torch."""

from __future__ import annotations

from tlaudit.policy.deciding import decide, gate
from tlaudit.policy.evidence import Evidence, gather
from tlaudit.policy.explaining import explain
from tlaudit.policy.judging import judge
from tlaudit.policy.rules import Policy, load

__all__ = ["Evidence", "Policy", "decide", "explain", "gate", "gather", "judge", "load"]
