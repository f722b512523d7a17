"""Samplers of the pictures that a training draws at its snapshots, ``training.preview``: what each is set by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sde_lib.registry import Registry
from sde_lib.settings import Range

register_preview: Registry[object] = Registry("preview")
Pictures = Annotated[int, Range(least=1)] | None


@register_preview(name="fast")
@dataclass(frozen=True)
class Fast:
    """A deterministic sampler of one evaluation a step. Where the sampler of ``config.sampling`` takes no more, that.

    Args:
        steps: evaluations of the network for each sample.
        predictor: any that samples; unless set, UniPC, or Euler-Maruyama for a process whose marginals are not
            Gaussian.
        images: samples in the picture; ``sampling.grid_size`` unless set.
    """

    steps: Annotated[int, Range(least=2, most=10**6)] = 20
    predictor: str | None = None
    images: Pictures = None


@register_preview(name="own")
@dataclass(frozen=True)
class Own:
    """The sampler of ``config.sampling``, whatever it costs.

    Args:
        images: samples in the picture; ``sampling.grid_size`` unless set.
    """

    images: Pictures = None
