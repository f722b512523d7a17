"""Numbers in messages."""

import pytest

from run_lib.statistics import Interval
from sde_lib.words import digits


@pytest.mark.parametrize(
    ("value", "count", "text"),
    [(0.01234, 2, "0.012"), (5.12, 2, "5.1"), (99.6, 2, "100"), (1234.5678, 3, "1235"), (-1234.5, 2, "-1234"),
     (12_345_678.0, 4, "1.235e+07"), (1.2e-5, 3, "1.2e-05"), (float("inf"), 2, "inf"), (float("nan"), 2, "nan")],
)  # fmt: skip
def test_digits_before_the_point_are_all_there(value: float, count: int, text: str) -> None:
    assert digits(value, count) == text


def test_a_wide_interval_is_read_without_powers_of_ten() -> None:
    assert str(Interval(250.9123, 104.2)) == "250.9 +- 104"
