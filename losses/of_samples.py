"""The losses of the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """The loss of each sample and the time at which it was taken, both (B,).

    The mean of ``values`` is an unbiased estimate of the objective. ``weights`` (B,) are the importance weights of the
    times, which are contained in ``values``; None: all are one. ``constant`` (B,) is what is in ``values`` and depends
    on no time; None: nothing.
    """

    values: Tensor
    t: Tensor
    weights: Tensor | None = None
    constant: Tensor | None = None

    @property
    def unweighted(self) -> Tensor:
        """The loss at its time, without the weights, (B,)."""
        values = self.values if self.constant is None else self.values - self.constant
        return values if self.weights is None else values / self.weights

    @property
    def parts(self) -> list[Tensor]:
        """Its tensors, in their order."""
        held = (getattr(self, part.name) for part in fields(self))
        return [part for part in held if part is not None]

    def mapped(self, f: Callable[..., Tensor], *others: Losses) -> Losses:
        """``f`` of each of its parts, and of that of the others, which have the same."""
        return Losses(
            *(
                None
                if getattr(self, part.name) is None
                else f(*(getattr(one, part.name) for one in (self, *others)))
                for part in fields(self)
            )  # type: ignore[arg-type]
        )
