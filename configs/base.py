"""Every field of a configuration and its default, once.

``None`` means "not set": the component's own default holds, and setting a field that no chosen component
takes is an error. Field names are score_sde's where it has them.
"""

from ml_collections import ConfigDict, config_dict


def _unset(kind: type) -> config_dict.FieldReference:
    return config_dict.placeholder(kind)


def get_config() -> ConfigDict:
    """The defaults: a continuous VP model of 32x32 colour images."""
    config = ConfigDict()
    config.seed = 42
    config.device = "auto"  # auto | cpu | cuda | cuda:N
    config.plugins = ""  # files or modules to import first, separated by commas: own predictors, SDEs, networks
    config.init_from = ""  # published weights to start from

    config.data = data = ConfigDict()
    data.dataset = "CIFAR10"
    data.root = "data"
    data.image_size = 32  # or (height, width)
    data.num_channels = 3
    data.levels = 256  # values of a pixel; 0: continuous data
    data.centered = True  # [-1, 1], else [0, 1]
    data.uniform_dequantization = False
    data.random_flip = True
    data.shape = ()  # shape of a sample that is no image, such as (2,)

    config.model = model = ConfigDict()
    model.name = "ddpm"
    model.output = _unset(str)  # eps | x0 | score | v
    model.ema_rate = 0.9999
    model.ema_warmup = True
    model.num_scales = 1000  # levels of the chain that the process is, or is the limit of
    model.beta_min = 0.1
    model.beta_max = 20.0
    model.beta_schedule = "linear"
    model.sigma_min = 0.01
    model.sigma_max = 50.0
    model.nf = 128
    model.ch_mult = (1, 2, 2, 2)
    model.num_res_blocks = 2
    model.attn_resolutions = (16,)
    model.resamp_with_conv = True
    model.conditional = True
    model.dropout = 0.1
    model.num_classes = 0  # 0: unconditional
    model.scale_by_sigma = False
    model.nonlinearity = "swish"
    model.normalization = "GroupNorm"
    # ADM U-Net
    model.num_heads = 1
    model.num_groups = 32
    model.use_scale_shift_norm = False
    # exact scores
    model.mean = 0.0
    model.std = 0.5
    model.means = ((0.0,),)
    model.stds = 0.1

    config.training = training = ConfigDict()
    training.sde = "vpsde"  # vpsde | subvpsde | vesde | ddpm | smld, or a plugin's
    training.continuous = True
    training.n_iters = 1_300_001
    training.batch_size = 128
    training.reduce_mean = True
    training.likelihood_weighting = False
    training.weighting = "eps"
    training.times = "uniform"  # uniform | stratified
    training.log_freq = 50
    training.eval_freq = 100
    training.snapshot_freq = 50_000
    training.snapshot_freq_for_preemption = 10_000
    training.snapshot_sampling = True
    training.max_nonfinite = 3  # consecutive non-finite losses after which training stops

    config.optim = optim = ConfigDict()
    optim.optimizer = "Adam"
    optim.lr = 2e-4
    optim.beta1 = 0.9
    optim.beta2 = 0.999
    optim.eps = 1e-8
    optim.weight_decay = 0.0
    optim.warmup = 5000
    optim.schedule = "constant"  # constant | cosine
    optim.grad_clip = 1.0

    config.sampling = sampling = ConfigDict()
    sampling.method = "pc"  # pc | ode
    sampling.predictor = "euler_maruyama"
    sampling.corrector = "none"
    sampling.num_steps = 1000
    sampling.grid = "uniform"
    sampling.n_steps_each = 1
    sampling.corrector_first = True
    sampling.noise_removal = True
    sampling.probability_flow = False
    sampling.snr = 0.16
    sampling.norm = _unset(str)  # langevin: sample | batch
    sampling.eta = _unset(float)  # ddim
    sampling.rho = _unset(float)  # karras grid
    sampling.t_end = _unset(float)  # smallest time at which samplers evaluate the model
    sampling.rtol = 1e-5
    sampling.atol = 1e-5
    sampling.ode_method = "dopri5"
    sampling.num_samples = 64
    sampling.batch_size = 64
    sampling.grid_size = 64  # samples in the picture
    sampling.trajectory = 0  # frames of the sampling trajectory to write, 0: none

    config.eval = evaluation = ConfigDict()
    evaluation.enable_loss = False
    evaluation.enable_bpd = False
    evaluation.enable_sampling = False
    evaluation.batch_size = 1024
    evaluation.num_samples = 50_000
    evaluation.bpd_dataset = "test"  # train | test
    evaluation.dataset = _unset(str)  # the same, another spelling
    evaluation.bpd_divergence = "rademacher"  # rademacher | gaussian | exact
    evaluation.bpd_repeats = 1
    evaluation.bpd_num_images = 0  # 0: all
    evaluation.bpd_rtol = 1e-5
    evaluation.bpd_atol = 1e-5
    evaluation.bpd_probes = 1
    evaluation.bpd_solver = "dopri5"  # dopri5 | dop853 | a method of scipy's solve_ivp such as RK45
    evaluation.bpd_truncation = "state"  # state | noised: see likelihood.ode
    evaluation.t_min = _unset(float)  # time at which likelihoods are read
    evaluation.checkpoints = ()  # steps; empty: the latest
    evaluation.begin_ckpt = 0  # or a range of snapshots; 0: none
    evaluation.end_ckpt = 0
    return config
