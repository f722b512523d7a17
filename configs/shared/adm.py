"""The U-Nets of improved-diffusion and guided-diffusion, by the flags of their README."""

from ml_collections import ConfigDict

from configs.base import get_config as default

LEVELS = {
    32: (1, 2, 2, 2),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}
"""Width of each level in multiples of the first, by image size."""


def guided(size: int, *, channels: int = 256, attention: tuple[int, ...] = (32, 16, 8)) -> ConfigDict:
    """Guided-diffusion: FiLM, blocks that resample, learned variances, 1000 levels, linear schedule."""
    config = _network(size, channels=channels, attention=attention)
    config.model.num_head_channels = 64
    config.model.resblock_updown = True
    config.sampling.num_steps = 250
    return config


def lsun(category: str) -> ConfigDict:
    """Guided-diffusion's models of one LSUN category, 256 pixels; best with all 1000 steps."""
    config = guided(256)
    config.data.dataset = "LSUN"
    config.data.category = category
    config.model.dropout = 0.1
    config.sampling.num_steps = None
    return config


def class_conditional(config: ConfigDict) -> None:
    """ImageNet's 1000 classes."""
    config.model.num_classes = 1000


def upsampler(config: ConfigDict, low_res_size: int = 64) -> None:
    """The network also sees the low-resolution image."""
    config.model.name = "adm_superres"
    config.training.task = "superres"
    config.data.low_res_size = low_res_size
    class_conditional(config)


def classifier(size: int, *, depth: int = 2) -> ConfigDict:
    """Guided-diffusion's classifier of noised images: the encoder half with an attention pool."""
    config = _network(size, channels=128, attention=(32, 16, 8))
    config.model.name = "adm_encoder"
    config.model.variance = None
    config.model.num_head_channels = 64
    config.model.num_res_blocks = depth
    config.model.resblock_updown = True
    config.model.pool = "attention"
    config.training.task = "classifier"
    class_conditional(config)
    training, optim = config.training, config.optim
    training.batch_size = 256
    training.n_iters = 300_000
    optim.lr = 3e-4
    optim.weight_decay = 0.05
    return config


def improved(size: int, *, channels: int = 128, attention: tuple[int, ...] = (16, 8)) -> ConfigDict:
    """Improved-diffusion: FiLM, learned variances, 4000 levels, cosine schedule, indices in units of 1000
    levels."""
    config = _network(size, channels=channels, attention=attention)
    config.data.random_flip = False
    config.model.num_heads = 4
    config.model.num_res_blocks = 3
    config.model.num_scales = 4000
    config.model.beta_schedule = "cosine"
    config.model.rescale_timesteps = True
    return config


def _network(size: int, *, channels: int, attention: tuple[int, ...]) -> ConfigDict:
    config = default()
    config.data.dataset = "imagenet"
    config.data.image_size = size
    model = config.model
    model.name = "adm"
    model.nf = channels
    model.ch_mult = LEVELS[size]
    model.attn_resolutions = attention
    model.dropout = 0.0
    model.use_scale_shift_norm = True
    model.variance = "learned_range"

    config.training.sde = "ddpm"
    optim = config.optim
    optim.optimizer = "AdamW"
    optim.lr = 1e-4
    optim.warmup = 0
    optim.grad_clip = -1.0
    config.sampling.predictor = "ancestral_sampling"
    config.sampling.batch_size = 4
    config.sampling.num_samples = 100
    return config
