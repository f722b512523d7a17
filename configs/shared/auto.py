"""The configurations ``auto``: a folder of images, and a setup chosen from their size and the machine."""

from ml_collections import ConfigDict

from configs.base import get_config as default


def images(size: int) -> ConfigDict:
    """Colour images of some size under ``data.root``. What is ``auto`` is in the table of docs/auto.md."""
    config = default()
    config.data.dataset = "folder"
    config.data.image_size = size

    model, training, optim = config.model, config.training, config.optim
    model.name = "adm"
    model.output = "v"
    model.num_head_channels = 32
    model.use_scale_shift_norm = True
    model.nf = model.ch_mult = model.num_res_blocks = model.attn_resolutions = "auto"
    model.use_checkpoint = model.dropout = "auto"
    training.times = "stratified"
    training.precision = "auto"
    optim.optimizer = "AdamW"
    optim.weight_decay = 0.0
    optim.warmup = "auto"
    with config.ignore_type():  # numbers, in the defaults
        model.ema_rate = optim.lr = "auto"
        training.batch_size = training.microbatch = training.n_iters = "auto"
        training.snapshot_freq = training.snapshot_freq_for_preemption = "auto"

    sampling = config.sampling
    sampling.predictor = "unipc"
    sampling.num_steps = 20
    sampling.grid = "log_snr"
    sampling.batch_size = config.eval.batch_size = 256 * 32**2 // size**2
    evaluation = config.eval
    evaluation.enable_loss = evaluation.enable_sampling = True
    evaluation.num_samples = 1000
    evaluation.metrics = "frechet@pca,precision_recall@pca,neighbours@pca"
    training.preview_images = 64 if size < 128 else 16
    return config
