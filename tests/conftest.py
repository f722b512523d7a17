"""Fixtures that several test files share."""

from __future__ import annotations

import pytest
import torch

from tests.oracles import CASES, Case


def pytest_configure() -> None:
    """One thread a process: tensors here are small, and tests run several processes at a time."""
    torch.set_num_threads(1)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Every process of the project beside its oracle."""
    return CASES[request.param]
