"""The digits with a network, a training and a sampler small enough for tests."""

from ml_collections import ConfigDict

from configs.shared.digits import digits


def get_config() -> ConfigDict:
    config = digits(steps=6)
    config.device = "cpu"

    model = config.model
    model.nf = 8
    model.ch_mult = (1,)
    model.num_heads = 1
    model.num_groups = 4
    model.dropout = 0.1

    training = config.training
    training.n_iters = 6
    training.batch_size = 8
    training.log_freq = 2
    training.eval_freq = 3
    training.snapshot_freq = 6
    training.snapshot_freq_for_preemption = 2
    training.snapshot_sampling = False
    config.optim.warmup = 2

    sampling = config.sampling
    sampling.num_steps = 3
    sampling.num_samples = 6
    sampling.batch_size = 4
    sampling.grid_size = 4

    evaluation = config.eval
    evaluation.num_samples = 70
    evaluation.batch_size = 60
    evaluation.bpd_num_images = 6
    evaluation.bpd_rtol = evaluation.bpd_atol = 0.05
    return config
