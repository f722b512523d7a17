"""Likelihood training (Kingma et al. 2021; Zheng et al. 2023) in place of a denoising loss."""

from ml_collections import ConfigDict


def as_vdm(config: ConfigDict) -> ConfigDict:
    """The same data, network and optimisation, trained by the variational bound, with its ends and times learned."""
    config.training.sde = "vdm"
    config.training.objective = "elbo"
    config.training.times = "least_variance"
    config.model.ends = "learned"
    config.model.output = "v"
    return config
