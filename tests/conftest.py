"""Fixtures that several test files share."""

from __future__ import annotations

import pytest

from tests.oracles import CASES, Case


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Every process of the project beside its oracle."""
    return CASES[request.param]
