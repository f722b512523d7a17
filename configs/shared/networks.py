"""Networks of score_sde by their settings; what is not said here is the network's own default."""

from ml_collections import ConfigDict


def ddpm_256(config: ConfigDict) -> None:
    """DDPM for 256 pixels (Ho et al. 2020, appendix B)."""
    config.model.name = "ddpm"
    config.model.ch_mult = (1, 1, 2, 2, 4, 4)
    config.model.num_scales = 1000
    config.optim.lr = 2e-5


def ncsnpp(config: ConfigDict) -> None:
    """NCSN++ for 32 and 64 pixels: filters, a residual pyramid of the input, Fourier features of sigma."""
    config.model.name = "ncsnpp"
    config.model.num_res_blocks = 4


def ncsnpp_256(config: ConfigDict) -> None:
    """NCSN++ for 256 pixels: image pyramids on both sides."""
    config.model.name = "ncsnpp"
    config.model.num_res_blocks = 2
    config.model.ch_mult = (1, 1, 2, 2, 2, 2, 2)
    _image_pyramids(config)


def ncsnpp_1024(config: ConfigDict) -> None:
    config.model.name = "ncsnpp"
    config.model.nf = 16
    config.model.ch_mult = (1, 2, 4, 8, 16, 32, 32, 32)
    config.model.num_res_blocks = 1
    config.model.ema_rate = 0.9999
    _image_pyramids(config)


def _image_pyramids(config: ConfigDict) -> None:
    config.model.progressive = "output_skip"
    config.model.progressive_input = "input_skip"


def ncsnpp_of_index(config: ConfigDict) -> None:
    """NCSN++ told the time, not sigma: for VP, subVP and discrete training."""
    ncsnpp(config)
    config.model.embedding_type = "positional"


def ddpmpp(config: ConfigDict) -> None:
    """DDPM++: NCSN++'s blocks without filters and pyramids."""
    ncsnpp_of_index(config)
    config.model.fir = False
    config.model.progressive_input = "none"


def deep(config: ConfigDict) -> None:
    """Twice the depth, fewer iterations."""
    config.model.num_res_blocks = 8
    config.training.n_iters = 950_001


def ncsn(
    config: ConfigDict, *, num_scales: int, snr: float, n_steps_each: int, ema_rate: float = 0.999
) -> None:
    """NCSN, sampled by annealed Langevin dynamics alone."""
    _refinenet(config, num_scales=num_scales, snr=snr, n_steps_each=n_steps_each)
    config.model.name = "ncsn"
    config.model.ema_rate = ema_rate
    config.optim.lr = 1e-3


def ncsnv2(config: ConfigDict, *, pixels: int, num_scales: int, snr: float, n_steps_each: int) -> None:
    """NCSNv2 for images of up to ``pixels``."""
    _refinenet(config, num_scales=num_scales, snr=snr, n_steps_each=n_steps_each)
    config.model.name = f"ncsnv2_{pixels}"
    config.optim.lr = 1e-4


def _refinenet(config: ConfigDict, *, num_scales: int, snr: float, n_steps_each: int) -> None:
    config.model.num_scales = num_scales
    config.model.normalization = "InstanceNorm++"
    config.sampling.predictor = "none"
    config.sampling.corrector = "ald"
    config.sampling.snr = snr
    config.sampling.n_steps_each = n_steps_each
    config.optim.warmup = 0
    config.optim.grad_clip = -1.0
