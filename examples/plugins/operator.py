"""A linear measurement: every ``step``-th column of an image."""

from typing import Annotated

import torch

from samplers.operators import Mask, register_operator
from sde_lib import Range


@register_operator
def columns(shape, *, step: Annotated[int, Range(least=1)] = 2):
    """Columns 0, step, 2 step, ... are known, the others are not.

    Args:
        step: distance between known columns.
    """
    known = torch.zeros((1, *shape[-2:]), dtype=torch.bool)
    known[..., ::step] = True
    return Mask(known)
