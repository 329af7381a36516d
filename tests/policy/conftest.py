"""One rule about one report."""

from __future__ import annotations

import pytest

from gated import TODAY, a_policy
from tlaudit.policy import gate


@pytest.fixture
def ruled(tmp_path):
    """The verdict of one rule about one report."""

    def judge(report, rule, **more):
        return gate(report, policy=a_policy(tmp_path, rule), today=TODAY, **more)

    return judge
