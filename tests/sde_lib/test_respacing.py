"""Respacings: what they keep (guided-diffusion's lists are compared in the fixture's test), what they
refuse."""

from __future__ import annotations

import pytest

from sde_lib.respacing import kept_levels


def test_sections_are_spread_from_their_first_to_their_last_level() -> None:
    """10 levels in 3 sections of 4, 3 and 3: ends of each, and the middle where three are asked."""
    assert kept_levels(10, "2,3,1") == [0, 3, 4, 5, 6, 7]


def test_strides_start_at_the_first_level() -> None:
    assert kept_levels(10, "ddim5") == [0, 2, 4, 6, 8]
    assert kept_levels(10, "ddim4") == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("respacing", "message"),
    [
        ("ddim6", "no stride keeps exactly 6 of 10 levels; the nearest that divide are ddim4 and ddim5"),
        ("11", "takes 11 levels from a section of 10"),
        ("2,4,1", "takes 4 levels from a section of 3"),
        ("fast", "is none of 'N', 'a,b,c' and 'ddimN'"),
        ("0", "positive whole numbers"),
        ("ddim", "positive whole numbers"),
        ("5,,5", "positive whole numbers"),
    ],
)
def test_respacings_that_do_not_divide_are_refused(respacing: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept_levels(10, respacing)
