"""Training steps of a checkout of score_sde_pytorch by its own functions: ``python THIS_FILE IMAGES`` in its folder.

Prints the number of each step that it has done, for `benchmarks/training.py`. Nothing of this program is imported.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import torch


def main(images: int) -> None:
    """Never returns."""
    sys.path[0] = os.getcwd()  # where the modules of these names are the checkout's
    losses, sde_lib, models = (import_module(name) for name in ("losses", "sde_lib", "models.utils"))
    import_module("models.ddpm")  # registers the network
    config = import_module("configs.vp.ddpm.cifar10").get_config()
    config.device = torch.device("cpu")
    model = models.create_model(config)
    averages = import_module("models.ema").ExponentialMovingAverage
    state = {
        "optimizer": losses.get_optimizer(config, model.parameters()),
        "model": model,
        "ema": averages(model.parameters(), decay=config.model.ema_rate),
        "step": 0,
    }
    sde = sde_lib.VPSDE(config.model.beta_min, config.model.beta_max, config.model.num_scales)
    step = losses.get_step_fn(
        sde, True, losses.optimization_manager(config), config.training.reduce_mean, continuous=False
    )
    pixels = torch.rand(512, 3, 32, 32) * 2 - 1
    while True:
        step(state, pixels[torch.randint(len(pixels), (images,))])
        print(f"{state['step']}/1000000 [", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
