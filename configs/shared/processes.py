"""Processes, with the sampler that score_sde uses for each."""

from ml_collections import ConfigDict


def vp(config: ConfigDict, *, continuous: bool) -> None:
    config.training.sde = "vpsde"
    config.training.continuous = continuous
    config.training.reduce_mean = True
    config.data.centered = True
    config.sampling.predictor = "euler_maruyama" if continuous else "ancestral_sampling"


def subvp(config: ConfigDict) -> None:
    vp(config, continuous=True)
    config.training.sde = "subvpsde"


def ve(config: ConfigDict, *, continuous: bool) -> None:
    config.training.sde = "vesde"
    config.training.continuous = continuous
    config.model.ema_rate = 0.999
    config.sampling.predictor = "reverse_diffusion"
    config.sampling.corrector = "langevin"
