"""An optimiser: stochastic gradient descent with Nesterov's momentum."""

from typing import Annotated

import torch

from run_lib.training.optimisers import register_optimizer
from sde_lib import Range


@register_optimizer
def nesterov(parameters, lr: float, momentum: Annotated[float, Range(above=0, below=1)] = 0.9):
    """v <- momentum v + g, w <- w - lr (g + momentum v) (Nesterov 1983, in Sutskever et al.'s form).

    Args:
        momentum: share of the velocity that a step keeps.
    """
    return torch.optim.SGD(parameters, lr, momentum=momentum, nesterov=True)
