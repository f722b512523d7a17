"""Fixtures of tests that run the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def cifar_checksums(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make torchvision expect other files than those of the real CIFAR-10, and check them as it does."""
    from torchvision.datasets import CIFAR10

    def set_checksums(**attributes: Any) -> None:
        for name, value in attributes.items():
            monkeypatch.setattr(CIFAR10, name, value)

    return set_checksums
