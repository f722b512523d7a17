"""EDM's training and sampling (Karras et al. 2022, table 7), and EDM2's (Karras et al. 2024, table 6)."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def ema_rate(batch_size: int, half_life: float) -> float:
    """Of an average that half forgets so many images, the batch being one update."""
    return 0.5 ** (batch_size / half_life)


def cifar10(network: str, *, classes: bool) -> ConfigDict:
    """``edm_ddpmpp`` (their VP) or ``edm_ncsnpp`` (their VE) on CIFAR-10."""
    config = _images(32, network, batch_size=512, images=200e6, lr=1e-3, half_life=0.5e6)
    config.model.num_classes = 10 if classes else 0
    config.model.ch_mult = (2, 2, 2)
    config.model.dropout = 0.13
    _augmented(config, 0.12)
    config.sampling.num_steps = 18
    return config


def baseline(config: ConfigDict, preconditioning: str) -> None:
    """The network of score_sde, in the preconditioning of its process and without augmentation."""
    config.model.ch_mult = (1, 2, 2, 2)
    config.model.dropout = 0.1
    config.model.preconditioning = preconditioning
    config.data.augment = "none"


def faces(network: str, *, dropout: float) -> ConfigDict:
    """FFHQ and AFHQv2, 64 pixels."""
    config = _images(64, network, batch_size=256, images=200e6, lr=2e-4, half_life=0.5e6)
    config.model.ch_mult = (1, 2, 2, 2)
    config.model.dropout = dropout
    _augmented(config, 0.15)
    config.sampling.num_steps = 40
    return config


def imagenet_64() -> ConfigDict:
    """ADM on ImageNet, 64 pixels, sampled with churn."""
    config = _images(64, "edm_adm", batch_size=4096, images=2500e6, lr=1e-4, half_life=50e6)
    config.data.dataset = "imagenet"
    config.model.num_classes = 1000
    config.model.dropout = 0.1
    sampling = config.sampling
    sampling.num_steps = 256
    sampling.churn = 40 / 256
    sampling.churn_low, sampling.churn_high, sampling.churn_noise = 0.05, 50.0, 1.003
    return config


def as_edm(config: ConfigDict) -> ConfigDict:
    """The same data, network and optimisation, trained and sampled as EDM is: Heun's method on Karras's grid."""
    config.training.sde = "edm"
    config.training.times = "log_normal"
    config.training.weighting = "edm"
    config.model.preconditioning = "edm"
    config.model.sigma_data = 0.5
    config.model.sigma_min = 0.002
    config.model.sigma_max = 80.0
    config.model.output = None
    config.sampling.predictor = "heun"
    config.sampling.corrector = "none"
    config.sampling.grid = "karras"
    config.sampling.num_steps = 18
    return config


def as_edm2(config: ConfigDict, *, constant_until: int) -> ConfigDict:
    """The same data, trained as EDM2 is: its network, its uncertainty, and a rate that falls like 1 / sqrt(step).

    Args:
        config: of a small training by ``as_edm``.
        constant_until: the step from which the rate falls.
    """
    model, optim = config.model, config.optim
    model.name = "edm2"
    model.nf = 32
    model.head_channels = 16
    model.ema_stds = (0.05, 0.10)
    config.training.uncertainty = True
    optim.optimizer = "Adam"
    optim.lr = 3e-2  # of normalised weights, it is a rate of rotation
    optim.weight_decay = 0.0  # in Adam's gradient it would drown that of the loss
    optim.schedule = "inverse_sqrt"
    optim.constant_until = constant_until
    return config


def edm2(size: int, channels: int, *, lr: float, mega_images: int, dropout: float = 0.0) -> ConfigDict:
    """EDM2 of ImageNet: pixels at 64, latents of 64 pixels and 4 channels at 512.

    Args:
        size: of the images.
        channels: at the first level.
        lr: the reference learning rate.
        mega_images: length of the training, in 2^20 images.
        dropout: of the blocks.
    """
    config = _denoised(64, "edm2")
    config.model.num_classes = 1000
    config.model.nf = channels
    config.model.dropout = dropout
    config.model.ema_stds = (0.05, 0.10)
    training, optim = config.training, config.optim
    training.batch_size = 2048
    training.n_iters = mega_images * 2**20 // 2048
    training.uncertainty = True
    training.P_mean, training.P_std = (-0.8, 1.6) if size == 64 else (-0.4, 1.0)
    optim.lr = lr
    optim.beta2 = 0.99
    optim.schedule = "inverse_sqrt"
    optim.warmup = 4883  # 10 million images
    optim.constant_until = 35_000 if size == 64 else 70_000
    optim.reference_batch = 2048  # a smaller batch has a lower rate, and as many images of each stage
    config.sampling.num_steps = 32
    if size == 64:
        config.data.dataset = "imagenet"
        config.data.random_flip = False
    else:
        latents(config, "data/imagenet_512_latents", size=64)
    return config


def latents(config: ConfigDict, root: str, *, size: int) -> None:
    """Data are arrays of an autoencoder's latents, 4 x ``size`` x ``size``, of standard deviation 1/2 or 1."""
    data = config.data
    data.dataset = "npy"
    data.root = root
    data.image_size = size
    data.num_channels = 4
    data.levels = 0
    data.random_flip = False


def _images(
    size: int, network: str, *, batch_size: int, images: float, lr: float, half_life: float
) -> ConfigDict:
    config = _denoised(size, network)
    config.training.batch_size = batch_size
    config.training.n_iters = round(images / batch_size)
    config.model.ema_rate = ema_rate(batch_size, half_life)
    config.optim.lr = lr
    config.optim.warmup = round(10e6 / batch_size)
    return config


def _denoised(size: int, network: str) -> ConfigDict:
    config = default()
    config.data.image_size = size
    model, training, sampling = config.model, config.training, config.sampling
    model.name = network
    model.preconditioning = "edm"
    training.sde = "edm"
    training.times = "log_normal"
    training.weighting = "edm"
    config.optim.grad_clip = -1.0
    sampling.predictor = "heun"
    sampling.grid = "karras"
    return config


def _augmented(config: ConfigDict, probability: float) -> None:
    config.data.augment = "edm"
    config.data.augment_p = probability
