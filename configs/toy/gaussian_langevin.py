"""A Gaussian in 1024 dimensions under predictor and corrector: ``--mode tune`` shows what snr does."""

from ml_collections import ConfigDict

from configs.shared import toy


def get_config() -> ConfigDict:
    config = toy.plane()
    config.data.shape = (1024,)

    model = config.model
    model.name = "gaussian"
    model.std = 1.0
    model.sigma_max = 10.0
    config.training.sde = "vesde"

    sampling = config.sampling
    sampling.predictor = "reverse_diffusion"
    sampling.corrector = "langevin"
    sampling.num_steps = 60
    sampling.n_steps_each = 3

    tune = config.tune
    tune.sweep = "snr=0.03,0.05,0.08,0.1,0.13,0.16,0.2,0.25,0.3,0.4"
    tune.repeats = 8
    tune.num_samples = 100
    tune.metric = "variance"

    evaluation = config.eval
    evaluation.bpd_divergence = "rademacher"
    evaluation.bpd_num_images = 50
    return config
