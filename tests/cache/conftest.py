"""What tests of the cache share."""

from __future__ import annotations

import pytest

from tlaudit.checks import asking, followed


@pytest.fixture
def asked(monkeypatch):
    """Images that went through a network for a check, a number a batch."""
    found = []
    for module in (asking, followed):
        original = module.class_scores

        def counted(network, pixels, original=original):
            found.append(len(pixels))
            return original(network, pixels)

        monkeypatch.setattr(module, "class_scores", counted)
    return found
