"""Handwritten digits, 8x8, a small U-Net and its sampler, for any number of training steps."""

from math import ceil

from ml_collections import ConfigDict

from configs.base import get_config as default


def digits(steps: int) -> ConfigDict:
    """The configuration of a training of so many steps, in float32."""
    config = default()
    data = config.data
    data.dataset = "digits"
    data.image_size = 8
    data.num_channels = 1
    data.levels = 17
    data.uniform_dequantization = True
    data.random_flip = False

    model = config.model
    model.name = "adm"
    model.output = "v"
    model.nf = 32
    model.ch_mult = (1, 2)
    model.num_res_blocks = 1
    model.attn_resolutions = ()  # the middle block, at 4x4, attends
    model.num_heads = 4
    model.num_groups = 8
    model.use_scale_shift_norm = True
    model.dropout = 0.0
    model.ema_rate = 0.995

    training = config.training
    training.n_iters = steps
    training.batch_size = 128
    training.times = "stratified"
    training.snapshot_freq = steps
    training.snapshot_freq_for_preemption = ceil(steps / 3)
    training.eval_freq = ceil(steps / 10)

    optim = config.optim
    optim.optimizer = "AdamW"
    optim.lr = 3e-3
    optim.beta2 = 0.99
    optim.weight_decay = 1e-2
    optim.warmup = ceil(steps / 20)
    optim.schedule = "cosine"

    sampling = config.sampling
    sampling.predictor = "unipc"
    sampling.corrector = "none"
    sampling.num_steps = 20
    sampling.grid = "log_snr"
    sampling.num_samples = 100
    sampling.batch_size = 500
    sampling.grid_size = 100

    evaluation = config.eval
    evaluation.enable_loss = True
    evaluation.enable_bpd = True
    evaluation.enable_sampling = True
    evaluation.num_samples = 1000
    evaluation.batch_size = 360
    evaluation.bpd_rtol = 1e-4
    evaluation.bpd_atol = 1e-4
    return config
