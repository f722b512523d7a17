"""Flow matching on straight paths (Lipman et al. 2023) in place of a diffusion."""

from ml_collections import ConfigDict


def as_flow(config: ConfigDict) -> ConfigDict:
    """The same data, network and optimisation, trained to give the velocity at logit-normal times."""
    config.training.sde = "flow"
    config.training.objective = "simple"
    config.training.times = "logit_normal"
    config.model.output = "velocity"
    config.sampling.predictor = "auto"
    config.sampling.grid = "uniform"
    return config
