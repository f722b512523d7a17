"""Training and sampling of DiT (Peebles & Xie 2023, table 1 and section 4) and SiT."""

from ml_collections import ConfigDict

from configs.base import get_config as default
from configs.shared.edm import latents

SIZES = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
"""Channels, depth and heads."""


def dit(size: str, *, patch: int = 2, pixels: int = 256) -> ConfigDict:
    """A DiT of latents of class-conditional ImageNet, an eighth of the images' size."""
    config = default()
    latents(config, f"data/imagenet_{pixels}_latents", size=pixels // 8)
    model, training, sampling = config.model, config.training, config.sampling
    model.name = "dit"
    model.nf, model.depth, model.num_heads = SIZES[size]
    model.patch_size = patch
    model.num_classes = 1000
    model.variance = "learned_range"
    model.ema_warmup = False
    training.sde = "ddpm"
    training.label_dropout = 0.1
    training.batch_size = 256
    training.n_iters = 7_000_000
    config.optim.optimizer = "AdamW"
    config.optim.weight_decay = 0.0
    config.optim.lr = 1e-4
    config.optim.warmup = 0
    config.optim.grad_clip = -1.0
    sampling.predictor = "ancestral_sampling"
    sampling.num_steps = 250
    return config


def sit(size: str, *, patch: int = 2, pixels: int = 256) -> ConfigDict:
    """DiT trained as a flow (Ma et al. 2024, section 4), sampled by its SDE with the diffusion sigma_t.

    Time is counted from noise, and unscaled. The published network has DiT's further channels, which nothing reads.
    """
    config = dit(size, patch=patch, pixels=pixels)
    model, training, sampling = config.model, config.training, config.sampling
    training.sde = "flow"
    training.objective = "simple"
    training.times = "uniform"
    model.time_from = "noise"
    model.label_scale = 1.0
    sampling.predictor = "interpolant_sde"
    sampling.diffusion = "sigma"
    return config
