"""Commands as a user meets them, run in this process: what they said, and that nobody was shown a traceback."""

from __future__ import annotations

import re
from typing import NamedTuple

from typer.testing import CliRunner

from tlaudit.cli import app as application

_runner = CliRunner()


class Ended(NamedTuple):
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        """What was said on stderr, line by line."""
        return self.err.splitlines()


def command(*words):
    """Run ``tlaudit WORDS``; nothing may leave it but an exit code, and no traceback may be shown."""
    outcome = _runner.invoke(application.app, [str(word) for word in words])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    assert "Traceback" not in outcome.output
    return Ended(outcome.exit_code, outcome.stdout, outcome.stderr)


def refused(code, ended, *patterns):
    """Assert that a command ended with a code, and said why in one line that holds all the patterns.

    Warnings before that line are allowed, a crash is not.
    """
    assert ended.code == code, ended.err
    assert ended.lines, "it said nothing"
    assert all(line.startswith("tlaudit: ") for line in ended.lines), ended.err
    said = ended.lines[-1]
    assert not said.startswith("tlaudit: crashed"), said
    for pattern in patterns:
        assert re.search(pattern, said), said
