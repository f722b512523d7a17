"""Coefficients of embedded Runge-Kutta pairs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tableau:
    """An explicit embedded pair whose last stage, at the new point, is the next step's first.

    Args:
        order: of the solution that is carried on.
        a, b, c: stages, weights and nodes.
        error: weights of the error estimates over all stages and the new point; DOP853 has a second
            row, and the two combine as in Hairer, Norsett & Wanner (1993), section II.10.
        memory: exponent beta of the last step's error in the proportional-integral controller of the step size
            (section IV.2, with the values of the book's own codes).
    """

    order: int
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    error: np.ndarray
    memory: float


@functools.cache
def _dopri5() -> Tableau:
    from scipy.integrate import RK45

    return Tableau(5, RK45.A, RK45.B, RK45.C, np.stack([RK45.E]), 0.04)


@functools.cache
def _dop853() -> Tableau:
    from scipy.integrate import DOP853

    return Tableau(8, DOP853.A, DOP853.B, DOP853.C, np.stack([DOP853.E5, DOP853.E3]), 0.0)


@functools.cache
def _bosh3() -> Tableau:
    from scipy.integrate import RK23

    return Tableau(3, RK23.A, RK23.B, RK23.C, np.stack([RK23.E]), 0.04)


class _Tableaus(Mapping[str, Tableau]):
    """By name; read from scipy, whose import takes a third of a second, when they are first used."""

    _READERS = {"dopri5": _dopri5, "dop853": _dop853, "bosh3": _bosh3}

    def __getitem__(self, name: str) -> Tableau:
        return self._READERS[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._READERS

    def __iter__(self) -> Iterator[str]:
        return iter(self._READERS)

    def __len__(self) -> int:
        return len(self._READERS)


TABLEAUS: Mapping[str, Tableau] = _Tableaus()
"""Dormand & Prince's pairs of order 5(4) and 8(5,3), by name."""
