"""Fixtures of tests that run the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

LOOKED_AT = ("test_figures", "test_pictures", "test_every_mode")
"""Tests of what is in a figure, and of whether processes that are started elsewhere draw the same."""


@pytest.fixture(autouse=True, scope="module")
def _layouts_are_not_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """matplotlib draws every label three times to make room for it, which takes half the time of a short sweep."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if request.module.__name__.rpartition(".")[2] in LOOKED_AT:
        yield
        return
    with mock.patch.object(ConstrainedLayoutEngine, "execute", return_value=None):
        yield


@pytest.fixture
def cifar_checksums(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make torchvision expect other files than those of the real CIFAR-10, and check them as it does."""
    from torchvision.datasets import CIFAR10

    def set_checksums(**attributes: Any) -> None:
        for name, value in attributes.items():
            monkeypatch.setattr(CIFAR10, name, value)

    return set_checksums
