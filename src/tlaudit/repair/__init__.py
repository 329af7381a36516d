"""Repair: one file a method, listed in `METHODS` by name; one loop for all (`tlaudit.training`)."""

from __future__ import annotations

from tlaudit.repair.base import Method
from tlaudit.repair.composites import Composites
from tlaudit.repair.l1 import L1
from tlaudit.repair.l2sp import L2sp
from tlaudit.repair.ldifs import Ldifs
from tlaudit.repair.linear_probe import LinearProbe
from tlaudit.repair.lp_ft import LpFt
from tlaudit.repair.lwf import Lwf
from tlaudit.repair.plain import Plain
from tlaudit.repair.prune import Prune
from tlaudit.repair.unlearn import Unlearn
from tlaudit.repair.wise_ft import WiseFt

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Plain(),
        LinearProbe(),
        LpFt(),
        Ldifs(),
        L2sp(),
        Lwf(),
        WiseFt(),
        Composites(),
        Unlearn(),
        L1(),
        Prune(),
    )
}

__all__ = ["METHODS", "Method"]
