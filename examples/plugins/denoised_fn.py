"""A transform of predicted data: shrinkage towards the mean of each sample."""

from typing import Annotated

from models import register_denoised_fn
from sde_lib import Range


@register_denoised_fn
def shrunk(x0, keep: Annotated[float, Range(least=0, most=1)] = 0.9):
    """mean + keep (x0 - mean), the mean over each sample's elements.

    Args:
        keep: share of the deviations that stays.
    """
    mean = x0.flatten(1).mean(1).reshape(-1, *[1] * (x0.ndim - 1))
    return mean + keep * (x0 - mean)
