"""Class-conditional digits on the discrete chain, fixed variances (improved-diffusion's baseline)."""

from ml_collections import ConfigDict

from configs.shared.digits import digits


def get_config() -> ConfigDict:
    config = digits(steps=930)
    config.training.sde = "ddpm"
    config.data.uniform_dequantization = False  # the bound is the probability of the levels themselves
    config.model.num_classes = 10
    config.model.beta_schedule = "cosine"
    config.training.objective = "simple"

    sampling = config.sampling
    sampling.predictor = "ancestral_sampling"
    sampling.respacing = "100"
    sampling.grid = "uniform"
    sampling.clip_denoised = True

    config.eval.bpd_method = "vlb"
    config.eval.bpd_respacing = "100"  # of the chain that the samples are of
    return config
