"""Where the rules come from: a file of the user's, or the policy that comes with the package."""

from __future__ import annotations

import hashlib
import os
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from tlaudit.config import load_policy
from tlaudit.errors import ConfigError, UsageError
from tlaudit.options import PolicyOptions
from tlaudit.toml_lines import lines_of
from tlaudit.verdicts import PolicySource

if TYPE_CHECKING:
    from pathlib import Path

    from tlaudit.options.policy import Rule

DEFAULT = "default.toml"
"""File of this package that holds the policy of those who write none."""


class Policy(NamedTuple):
    """Rules, and where they stand.

    Attributes:
        source: The file.
        rules: In its order.
        lines: Where each begins in the file, counted from 1.
    """

    source: PolicySource
    rules: tuple[Rule, ...]
    lines: tuple[int, ...]

    def place(self, index: int) -> str:
        """Where a rule stands, as ``file:line``."""
        return f"{self.source.path or 'the policy that comes with tlaudit'}:{self.lines[index]}"


def load(policy: Path | None = None, config: Path | None = None, *, found: bool = True) -> Policy:
    """Read the rules.

    Args:
        policy: File with a section ``[policy]`` (``[tool.tlaudit.policy]`` in a ``pyproject.toml``).
        config: Configuration file, whose policy is taken if it has one.
        found: Whether, with neither of them, the configuration file of the current folder is looked at.

    Returns:
        The rules of the file; those that come with the package where none was named and none found.

    Raises:
        UsageError: If both files are named and are not the same.
        ConfigError: If a file cannot be read, anything in it is not as it should be, or `policy` has no rules.
    """
    if policy is not None and config is not None and os.path.realpath(policy) != os.path.realpath(config):
        raise UsageError(f"--policy {policy} and --config {config}: the rules come from one file; give one of them")
    named = policy or config
    written = load_policy(named) if named is not None or found else None
    if written is None and policy is not None:
        raise ConfigError(
            f"{policy}: expected rules, [[policy.rules]] ([[tool.tlaudit.policy.rules]] in pyproject.toml)"
        )
    if written is None:
        return default()
    rules = written.options.rules
    source = PolicySource(path=str(written.path), sha256=written.sha256, rules=len(rules))
    return Policy(source, rules, tuple(written.lines))


def default() -> Policy:
    """The policy that comes with the package (docs/ci.md says why its limits are what they are)."""
    content = resources.files(__package__).joinpath(DEFAULT).read_bytes()
    text = content.decode("utf-8")
    rules = PolicyOptions.model_validate(tomllib.loads(text)["policy"]).rules
    source = PolicySource(path=None, sha256=hashlib.sha256(content).hexdigest(), rules=len(rules))
    return Policy(source, rules, tuple(lines_of(text, ("policy", "rules"))))


def fits(pattern: str, name: str) -> bool:
    """Whether a name is meant by a pattern, in which ``*`` stands for any text and nothing else is special."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *between, last = rest
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    # The leftmost place of each part leaves most room for those behind it, so that nothing has to be tried twice.
    place, end = len(first), len(name) - len(last)
    for part in between:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
