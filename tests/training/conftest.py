"""What tests of training share."""

from __future__ import annotations

import pytest

import small_training


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """22 noisy pictures, one class reddish and one bluish."""
    return small_training.draw(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="session")
def data(folder):
    """These pictures, read."""
    return small_training.images_in(folder)
