"""The checks: one file each, listed in `CHECKS` by the name of their subcommand."""

from tlaudit.checks.base import Check
from tlaudit.checks.lingering import LingeringCheck

CHECKS: dict[str, type[LingeringCheck]] = {LingeringCheck.name: LingeringCheck}

__all__ = ["CHECKS", "Check"]
