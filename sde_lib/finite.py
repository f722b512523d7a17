"""Values that are not finite: which rows of a batch hold some, and the error that says so."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class NotFiniteError(ValueError):
    """A result is NaN or infinite: there is none.

    Args:
        message: what is not finite, why, and what to do.
        rows: of the batch, in which it is; empty where it is no batch.
    """

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


def finite_rows(x: Tensor) -> Tensor:
    """Whether all values of each sample of ``x`` (B, ...) are finite: (B,), bool, on its device."""
    return x.isfinite().flatten(1).all(1)
