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
    config.plugins = (
        ""  # files or modules to import first, separated by commas: own predictors, SDEs, networks
    )
    config.init_from = ""  # published weights to start from: a file, a diffusers folder or its id on the hub
    config.init_from_ema = True  # the averaged weights, where the file has both
    config.resume_from = ""  # a training checkpoint to go on with: weights, averages, optimizer, step

    config.data = data = ConfigDict()
    data.dataset = "CIFAR10"
    data.root = "data"  # where the files of data sets are
    data.category = ""  # of LSUN: bedroom, church_outdoor, ...
    data.tfrecords_path = ""  # score_sde's; TFRecords are not read: unpack them under data.root
    data.image_size = 32  # or (height, width)
    data.num_channels = 3
    data.levels = 256  # values of a pixel; 0: continuous data
    data.centered = True  # [-1, 1], else [0, 1]
    data.uniform_dequantization = False
    data.random_flip = True
    data.num_draws = 2000  # size of each split of the data set "exact"
    data.low_res_size = _unset(int)  # of the small images of training.task superres
    data.shape = ()  # shape of a sample that is no image, such as (2,)

    config.model = model = ConfigDict()
    model.name = "ddpm"
    model.output = _unset(str)  # eps | x0 | score | v | previous
    model.variance = _unset(str)  # learned | learned_range: the network's further channels; unset: fixed
    model.out_channels = _unset(int)  # of the network; the data's, and as many again for learned variances
    model.preconditioning = _unset(str)  # edm: the network becomes EDM's denoiser
    model.sigma_data = _unset(float)  # EDM's standard deviation of the data
    model.rescale_timesteps = False  # a chain's indices in units of 1000 levels, as ADM has it
    model.ema_rate = 0.9999
    model.ema_warmup = True
    model.ema_rates = ()  # of further averages, kept beside the first
    model.used_ema_rate = _unset(float)  # which of them samples and evaluations take; unset: ema_rate's
    model.num_scales = 1000  # levels of the chain that the process is, or is the limit of
    model.beta_min = 0.1
    model.beta_max = 20.0
    model.beta_schedule = "linear"  # linear | cosine
    model.betas = _unset(tuple)  # a chain's betas in full, instead of a schedule
    model.sigma_min = 0.01
    model.sigma_max = 50.0
    model.nf = 128
    model.ch_mult = (1, 2, 2, 2)
    model.num_res_blocks = 2
    model.attn_resolutions = (16,)
    model.dropout = 0.1
    model.num_classes = 0  # 0: unconditional
    # what follows is the network's own default where it is unset
    model.conditional = _unset(bool)  # told the time
    model.scale_by_sigma = _unset(bool)  # its score is divided by sigma
    model.nonlinearity = _unset(str)
    model.normalization = _unset(str)
    model.resamp_with_conv = _unset(bool)
    model.attention_after_every_up_block = _unset(bool)  # ddpm as diffusers has it
    # NCSN++
    model.embedding_type = _unset(str)  # fourier | positional
    model.fourier_scale = _unset(float)
    model.fir = _unset(bool)  # filter where the size changes
    model.fir_kernel = _unset(tuple)
    model.skip_rescale = _unset(bool)
    model.resblock_type = _unset(str)  # biggan | ddpm
    model.progressive = _unset(str)  # none | output_skip | residual
    model.progressive_input = _unset(str)  # none | input_skip | residual
    model.progressive_combine = _unset(str)  # sum | cat
    model.init_scale = _unset(float)
    # NCSNv2
    model.sigma_spacing = _unset(str)  # geometric | uniform
    # stated in files of score_sde: only the values that its networks have anyway
    model.attention_type = _unset(str)  # ddpm
    model.conv_size = _unset(int)  # 3
    model.interpolation = _unset(str)  # bilinear
    model.sigma_begin = _unset(float)  # another spelling of sigma_max
    # ADM U-Net
    model.num_heads = _unset(int)
    model.num_heads_upsample = _unset(int)
    model.num_head_channels = _unset(int)
    model.num_groups = _unset(int)
    model.use_scale_shift_norm = _unset(bool)
    model.use_new_attention_order = _unset(bool)
    model.resblock_updown = _unset(bool)
    model.upsample = _unset(str)  # nearest | transposed
    model.use_checkpoint = _unset(bool)  # store less for the backward pass, compute more
    model.pool = _unset(str)  # of the encoder: adaptive | attention | spatial | spatial_v2
    model.freeu_backbone = _unset(tuple)
    model.freeu_skip = _unset(tuple)
    # exact scores
    model.mean = 0.0
    model.std = 0.5
    model.means = ((0.0,),)
    model.stds = 0.1

    config.training = training = ConfigDict()
    training.sde = "vpsde"  # vpsde | subvpsde | vesde | ddpm | smld, or a plugin's
    training.continuous = True
    training.loss = _unset(str)  # another spelling of training.sde, in a file of score_sde
    training.continuouse = _unset(bool)  # another spelling of training.continuous, likewise
    training.task = "diffusion"  # diffusion | classifier | superres
    training.label_dropout = 0.0  # share of labels withheld, for classifier-free guidance: 0.1, say
    training.objective = _unset(str)  # denoising | simple | mse | rescaled_mse | hybrid | kl | rescaled_kl
    training.variance = (
        "small"  # small | large: of the chain's steps in a kl objective without learned variances
    )
    training.vlb_weight = 0.001  # of the whole bound in the hybrid objective
    training.n_iters = 1_300_001
    training.batch_size = 128
    training.microbatch = 0  # so many images at a time, gradients added up; 0: all
    training.precision = "float32"  # float32 | bfloat16 | float16 (its loss scaled)
    training.loss_scale = 20.0  # float16: binary logarithm of the first scale
    training.loss_scale_growth = 1e-3  # float16: added to it by each step that does not overflow
    training.reduce_mean = True
    training.likelihood_weighting = False
    training.weighting = "eps"
    training.times = (
        "uniform"  # uniform | stratified | log_normal | importance (chains: by the losses' squares)
    )
    training.P_mean = _unset(float)  # log_normal times: mean and standard deviation of ln(sigma/alpha)
    training.P_std = _unset(float)
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
    optim.amsgrad = False
    optim.weight_decay = 0.0
    optim.warmup = 5000
    optim.schedule = "constant"  # constant | cosine | linear: falls to 0 at training.n_iters
    optim.grad_clip = 1.0

    config.sampling = sampling = ConfigDict()
    sampling.method = "pc"  # pc | ode
    sampling.chain = _unset(
        str
    )  # levels | interpolated: of a network trained on a chain; unset: score_sde's way
    sampling.predictor = "euler_maruyama"
    sampling.corrector = "none"
    sampling.num_steps = _unset(int)  # model.num_scales
    sampling.grid = (
        "uniform"  # a rule of sde_lib.grids, or optimised: found by --mode tune --config.tune.grid
    )
    sampling.n_steps_each = 1
    sampling.corrector_first = True
    sampling.noise_removal = True
    sampling.probability_flow = False
    sampling.snr = 0.16
    sampling.norm = _unset(str)  # langevin: sample | batch
    sampling.eta = _unset(float)  # ddim
    sampling.variance = _unset(str)  # ancestral_sampling: auto | small | large | learned
    sampling.respacing = _unset(str)  # of a chain, instead of num_steps and grid: N | a,b,c | ddimN
    sampling.clip_denoised = False  # predicted data, to their range
    sampling.dynamic_threshold = _unset(float)  # likewise, by this quantile of each sample
    sampling.denoised_fn = ""  # name of a registered transform of predicted data
    sampling.base_samples = ""  # superres: an .npz or a folder of small images; empty: test images made small
    sampling.rho = _unset(float)  # karras grid
    sampling.log_density = _unset(tuple)  # density grid, as a pilot finds it
    sampling.listed_times = _unset(tuple)  # explicit grid
    sampling.sections = _unset(tuple)  # respaced grid
    sampling.spacing = _unset(str)  # respaced grid: linspace | leading | trailing
    # Solvers: docs/predictors.md has the settings of each.
    sampling.order = _unset(int)
    sampling.solver_order = _unset(int)
    sampling.form = _unset(str)  # x0 | eps | v
    sampling.corrected = _unset(bool)
    sampling.variable = _unset(str)  # log | ratio
    sampling.bh = _unset(str)  # bh1 | bh2
    sampling.shares = _unset(tuple)  # bespoke: a row for each step, as samplers.bespoke finds them
    sampling.explicit = _unset(int)
    sampling.implicit = _unset(int)
    sampling.tau = _unset(float)
    sampling.tau_low = _unset(float)
    sampling.tau_high = _unset(float)
    sampling.lower_order_final = _unset(bool)
    sampling.stages = _unset(int)
    sampling.churn = _unset(float)
    sampling.churn_low = _unset(float)
    sampling.churn_high = _unset(float)
    sampling.churn_noise = _unset(float)
    sampling.restart_low = _unset(float)
    sampling.restart_high = _unset(float)
    sampling.repeats = _unset(int)
    sampling.inner = _unset(int)
    sampling.relative = _unset(float)
    sampling.absolute = _unset(float)
    sampling.first_step = _unset(float)
    sampling.safety = _unset(float)
    sampling.exponent = _unset(float)
    sampling.most_steps = _unset(int)
    sampling.t_end = _unset(float)  # smallest time at which samplers evaluate the model
    sampling.rtol = 1e-5
    sampling.atol = 1e-5
    sampling.ode_method = "dopri5"
    sampling.num_samples = 64
    sampling.batch_size = 64
    sampling.seed = _unset(int)  # of the samples; config.seed unless set
    sampling.grid_size = 64  # samples in the picture
    sampling.trajectory = 0  # frames of the sampling trajectory to write, 0: none

    config.guidance = guidance = ConfigDict()
    # none | classifier | classifier_free, or a registered log-probability or loss: docs/guidance.md
    guidance.name = "none"
    guidance.scale = 1.0  # 1: p(x | y); more pushes on
    guidance.interval = _unset(tuple)  # (low, high] of sigma/alpha within which to guide
    guidance.rescale = _unset(float)  # classifier_free: share of the way back to the conditional spread
    guidance.classifier = _unset(str)  # a classifier's work directory or checkpoint; exact: a mixture's own
    guidance.classifier_config = _unset(str)  # its configuration file, of published weights
    guidance.shift = _unset(str)  # classifier: score | mean (of the ancestral step, as ADM's)
    guidance.labels = _unset(tuple)  # classes that samples are asked for, in turn; unset: all

    config.convert = convert = ConfigDict()
    convert.to = "ours"  # ours | safetensors | score_sde | diffusers
    convert.path = ""  # default: in the work directory

    config.reconstruct = reconstruct = ConfigDict()
    reconstruct.input = ""  # a folder of images, an .npz, test or train
    reconstruct.output = ""  # default: in the work directory
    reconstruct.num_images = 0  # the first so many; 0: all
    reconstruct.batch_size = 64
    reconstruct.method = "ddim"  # ddim: reverse_ddim and back | ode: the probability flow
    reconstruct.num_steps = _unset(int)  # sampling.num_steps, on sampling.grid
    reconstruct.noise_removal = False  # close with an estimate of clean data, as DIRE's code does
    reconstruct.resize = False  # image files of another size: cut to the data's proportions and resize
    reconstruct.convert = False  # image files of other channels: grey to colour and back, no transparency
    reconstruct.label = _unset(int)  # class of every image, for a network that is told it

    config.control = control = ConfigDict()
    # inpaint | colorize | superres | deblur | compressed_sensing | mri | sdedit | interpolate, or an operator's name
    control.task = "inpaint"
    control.method = _unset(str)  # docs/control.md has the methods, and the default of each task
    control.input = "test"  # a folder of images, an .npz, test or train
    control.output = ""  # default: in the work directory
    control.num_images = 8  # the first so many; 0: all
    control.samples = 1  # results of each image
    control.resize = False  # as for reconstruct
    control.convert = False
    control.label = _unset(int)
    control.noise_std = 0.0  # of the measurement, in the network's range
    # of tasks: what is unset is the operator's own default, or half of the image
    control.mask = _unset(str)  # inpaint: half | box | random | an image file, white where pixels are known
    control.unknown = _unset(str)  # mask half: lower | upper | left | right
    control.height = _unset(int)  # mask box
    control.width = _unset(int)
    control.top = _unset(int)
    control.left = _unset(int)
    control.fraction = _unset(float)  # mask random: of pixels that are known
    control.factor = _unset(int)  # superres
    control.std = _unset(float)  # deblur, in pixels
    control.boundary = _unset(str)  # deblur: circular | reflect
    control.tolerance = _unset(float)  # deblur: smallest relative singular value that counts as measured
    control.measurements = _unset(int)  # compressed_sensing
    control.kind = _unset(str)  # compressed_sensing: orthonormal | gaussian
    control.lines = _unset(int)  # mri: measured rows of frequencies
    control.centre = _unset(int)  # mri: of them, the lowest
    control.strength = _unset(float)  # sdedit: share of the way to pure noise, in (0, 1]
    control.frames = _unset(int)  # interpolate, both ends included
    # of methods
    control.jump_length = _unset(int)  # repaint
    control.resamplings = _unset(int)
    control.weight = _unset(str)  # dps: residual | likelihood
    control.zeta = _unset(float)
    control.num_steps = _unset(int)  # dps: over which zeta is meant
    control.data_std = _unset(float)  # pseudo_inverse
    control.iterations = _unset(int)  # moment_matching

    config.tune = tune = ConfigDict()
    # of the sampling section: "field=a,b,c", ranges "first:last:count" and "first:last:count:log"; several
    # fields, separated by spaces or semicolons, in every combination
    tune.sweep = "snr=0.02,0.05,0.08,0.1,0.13,0.16,0.2,0.25,0.3"
    tune.repeats = 5  # sets of samples, each of seeds of its own, the same for every value
    tune.num_samples = 1000  # of each set
    tune.metric = _unset(str)  # by which values are ranked; unset: the first that the data allow
    tune.features = "pixels"  # in which distances are taken: pixels | pca
    tune.confidence = 0.95
    tune.processes = 1
    tune.folder = "tune"  # in the work directory
    tune.rows = 6  # of the picture: the same samples under every value
    tune.grid = False  # find an optimised grid for the sampler and store it with the checkpoint, instead
    tune.pilot_samples = 64  # for which the grid is made

    config.eval = evaluation = ConfigDict()
    evaluation.enable_loss = False
    evaluation.enable_bpd = False
    evaluation.enable_sampling = False
    evaluation.batch_size = 1024
    evaluation.num_samples = 50_000
    evaluation.bpd_method = "ode"  # ode | vlb | both
    evaluation.bpd_variance = "auto"  # vlb: auto | small | large | learned
    evaluation.bpd_clip = True  # vlb: predicted data clipped to their range
    evaluation.bpd_respacing = _unset(str)  # vlb: of the chain's levels, as sampling.respacing
    evaluation.enable_accuracy = False  # of a classifier, by noise level
    evaluation.enable_restoration = False  # superres: enlarged test images against the test images
    evaluation.accuracy_levels = 10
    evaluation.bpd_dataset = "test"  # train | test
    evaluation.dataset = _unset(str)  # the same, another spelling
    evaluation.bpd_levels = 1000  # vlb of a continuous process: of the chain that it is cut into
    evaluation.bpd_bound_of = "levels"  # vlb: levels | density, of dequantised data as ode's
    evaluation.bpd_divergence = "rademacher"  # rademacher | gaussian | hutch++ | exact
    evaluation.bpd_rank = 4  # hutch++
    evaluation.bpd_repeats = 1  # draws of dequantisation noise and probes
    evaluation.bpd_importance_weighted = False  # log of the repeats' mean weight; needs the exact trace
    evaluation.bpd_quick = (
        False  # stop when the standard error in bits/dim (nats of continuous data) is bpd_target
    )
    evaluation.bpd_target = 0.01
    evaluation.bpd_latents = False  # keep the states at T
    evaluation.bpd_dequantisation = "uniform"  # uniform | variational: learned on the training split
    evaluation.dequantisation_steps = 400
    evaluation.dequantisation_batch_size = 64
    evaluation.dequantisation_lr = 3e-3
    evaluation.dequantisation_width = 32
    evaluation.bpd_num_images = 0  # 0: all
    evaluation.bpd_rtol = 1e-5
    evaluation.bpd_atol = 1e-5
    evaluation.bpd_probes = 1
    evaluation.bpd_solver = "dopri5"  # dopri5 | dop853 | a method of scipy's solve_ivp such as RK45
    evaluation.bpd_max_steps = 10_000  # after which an image is given up
    evaluation.bpd_truncation = "state"  # state | noised: see likelihood.ode
    evaluation.t_min = _unset(float)  # time at which likelihoods are read
    evaluation.checkpoints = ()  # steps; empty: the latest
    evaluation.begin_ckpt = 0  # or a range of snapshots; 0: none
    evaluation.end_ckpt = 0
    return config
