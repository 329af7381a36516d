"""Many audits side by side: who is best, by how much, and who is beaten by nobody. Imports no torch.

A candidate is what one report says of one network; reports of the same network are not put together.
"""

from __future__ import annotations

from tlaudit.comparison.candidates import Audited, gather
from tlaudit.comparison.told import compare

__all__ = ["Audited", "compare", "gather"]
