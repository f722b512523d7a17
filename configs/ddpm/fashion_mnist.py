"""Fashion-MNIST, 28x28: a small U-Net for eight minutes of training on two cores."""

from ml_collections import ConfigDict

from configs.shared.digits import digits


def get_config() -> ConfigDict:
    config = digits(steps=1_800)
    data = config.data
    data.dataset = "fashion_mnist"
    data.image_size = 28
    data.levels = 256
    data.random_flip = False  # shoes all point to the left: mirrored ones would be samples unlike the data

    config.model.ch_mult = (1, 2, 2)  # 28, 14, 7; the middle block, at 7x7, attends

    training = config.training
    training.batch_size = 64
    training.precision = "auto"  # bfloat16 where the processor has it: a third more images in the same time
    training.n_iters = 1_800
    training.snapshot_freq = 1_800
    training.snapshot_freq_for_preemption = 300
    training.eval_freq = 300

    config.optim.warmup = 100

    sampling = config.sampling
    sampling.predictor = (
        "sa_solver"  # noise at every step: more precise samples than unipc's, and nearer to the data
    )
    sampling.batch_size = 250
    evaluation = config.eval
    evaluation.enable_bpd = False  # of 10,000 images it would take longer than the training
    del evaluation.bpd_rtol, evaluation.bpd_atol
    evaluation.num_samples = 2000
    evaluation.batch_size = 250
    return config
