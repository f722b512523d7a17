"""The fields of a configuration that are no component's own, and their defaults.

A component's settings are fields too: ``sampling.snr`` of a corrector, ``model.nf`` of a network. They are declared
by the component, with their defaults: ``--mode list`` prints them. A configuration sets them by the section's field,
``config.sampling.snr = 0.1``, or in a block of the component's own,
``config.sampling.langevin = ConfigDict({"snr": 0.1})``. Field names are score_sde's where it has them.
"""

from ml_collections import ConfigDict, config_dict


def _unset(kind: type) -> config_dict.FieldReference:
    return config_dict.placeholder(kind)


def get_config() -> ConfigDict:
    """The defaults: a continuous VP model of 32x32 colour images."""
    config = ConfigDict()
    config.seed = 42
    config.device = "auto"  # auto | cpu | cuda | cuda:N
    config.deterministic = False  # only kernels that give the same bits each time
    config.compile = "off"  # off | on | auto, where that pays: networks, by torch.compile
    config.plugins = ""  # files or modules to import first, separated by commas: components of one's own
    config.init_from = ""  # published weights to start from: a file, a diffusers folder or its id on the hub
    config.init_from_ema = True  # the averaged weights, where the file has both
    config.resume_from = ""  # a training checkpoint to go on with: weights, averages, optimizer, step
    config.resume_anyway = False  # also from a checkpoint that was made with another model, process or data

    config.data = data = ConfigDict()
    data.dataset = "CIFAR10"
    data.root = "data"  # where the files of data sets are
    data.image_size = 32  # or (height, width)
    data.num_channels = 3
    data.levels = 256  # values of a pixel; 0: continuous data
    # data.convert, of data sets of files, reads image files of another form: docs/images.md
    data.centered = True  # [-1, 1], else [0, 1]
    data.uniform_dequantization = False
    data.random_flip = True
    data.augment = "none"  # none | flip | crop | edm, of training samples
    data.num_workers = _unset(
        int
    )  # that read training data; unset: one a processor, at most 8, for image files
    data.max_corrupt = 0  # training samples that may be unreadable; they are named and left out
    data.shape = ()  # shape of a sample that is no image, such as (2,)
    # autoencoder_kl | autoencoder_dc, or a plugin's: the data are latents, of the shape above, and samples are decoded
    data.codec = ""

    config.model = model = ConfigDict()
    model.name = "ddpm"
    # unset: as the process's convention has it
    model.output = _unset(str)  # eps | x0 | score | v | velocity | reversed_velocity | previous
    model.variance = _unset(str)  # learned | learned_range: the network's further channels; unset: fixed
    model.out_channels = _unset(int)  # of the network; the data's, and as many again for learned variances
    model.preconditioning = _unset(str)  # edm: the network becomes EDM's denoiser
    model.rescale_timesteps = False  # a chain's indices in units of 1000 levels, as ADM has it
    model.num_classes = 0  # 0: unconditional
    model.num_scales = 1000  # levels of the chain that the process is, or is the limit of
    model.ema_rate = 0.9999
    model.ema_warmup = True
    model.ema_rates = ()  # of further averages, kept beside the first
    # relative widths, such as (0.05, 0.10), of averages from which --mode ema makes any other: docs/training.md
    model.ema_stds = ()
    model.used_ema_rate = _unset(float)  # which of them samples and evaluations take; unset: ema_rate's

    config.training = training = ConfigDict()
    training.sde = "vpsde"  # vpsde | subvpsde | vesde | edm | flow | vdm | ddpm | smld, or a plugin's
    training.continuous = True
    training.task = "diffusion"  # diffusion | classifier | superres
    training.objective = _unset(str)  # denoising, or hybrid where variances are learned, unless set
    # of the objective denoising: eps | x0 | v | snr | truncated_snr | min_snr | soft_min_snr | p2 | edm | likelihood
    training.weighting = "eps"
    training.likelihood_weighting = False  # score_sde's spelling of weighting='likelihood'
    training.uncertainty = (
        False  # divide squared errors by those expected at each noise level, learned (EDM2)
    )
    training.times = "uniform"  # distribution of the times that a batch is noised to
    training.n_iters = 1_300_001
    training.batch_size = 128
    training.accumulate = 1  # batches whose gradients make one step: it is that of so many times the batch
    training.microbatch = 0  # so many images at a time, gradients added up; 0: all
    training.shard = False  # of several processes each keeps a part of weights, averages and moments (FSDP2)
    training.precision = "float32"  # float32 | tf32 | bfloat16 | float16 (its loss scaled); auto
    training.loss_scale = 20.0  # float16: binary logarithm of the first scale
    training.loss_scale_growth = 1e-3  # float16: added to it by each step that does not overflow
    training.log_freq = 50
    training.eval_freq = 100
    training.snapshot_freq = 50_000
    training.snapshot_freq_for_preemption = 10_000
    training.keep_last = 2  # of the checkpoints between those of snapshot_freq
    training.keep_best = False  # and the one of the least held-out loss, which is then evaluated for each
    training.ema_snapshot_freq = 0  # steps between snapshots of the averages of ema_stds; 0: snapshot_freq
    training.snapshot_sampling = True
    training.preview = "fast"  # sampler of snapshots: fast | own, that of config.sampling
    training.max_nonfinite = 20  # steps in a row, skipped as something was not finite, that stop training

    config.optim = optim = ConfigDict()
    optim.optimizer = "Adam"  # Adam | AdamW | RAdam | SGD
    optim.lr = 2e-4
    optim.schedule = "constant"  # of the learning rate: constant | cosine | linear | inverse_sqrt | cooldown
    optim.grad_clip = 1.0  # largest norm of the gradient; 0 or less: any

    config.sampling = sampling = ConfigDict()
    sampling.method = "pc"  # pc: predictors and correctors | ode: the probability flow
    sampling.chain = _unset(str)  # levels | interpolated: of a network trained on a chain
    sampling.predictor = "euler_maruyama"
    sampling.corrector = "none"
    sampling.grid = "uniform"  # where the times lie; optimised: found by --mode tune --config.tune.grid
    sampling.precision = "float32"  # float32 | tf32 | bfloat16 | float16
    sampling.clip_denoised = False  # predicted data, to their range
    sampling.dynamic_threshold = _unset(float)  # likewise, by this quantile of each sample
    sampling.denoised_fn = ""  # name of a registered transform of predicted data
    sampling.num_samples = 64
    sampling.batch_size = 64
    sampling.seed = _unset(int)  # of the samples; config.seed unless set
    sampling.grid_size = 64  # samples in the picture
    sampling.png = False  # write each sample as a PNG, too
    sampling.png_by_class = False  # and those of each class into a folder

    config.guidance = guidance = ConfigDict()
    # classifier | classifier_free | cfg_plus_plus | projected | autoguidance, or a log-probability or loss of yours
    guidance.name = "none"
    guidance.labels = _unset(tuple)  # classes that samples are asked for, in turn, or their names; unset: all

    config.mode = ConfigDict()  # settings of a mode of one's own

    config.ema = ema = ConfigDict()
    ema.std = (0.05, 0.10)  # relative widths of the averages to make
    ema.step = 0  # of the snapshot at which they end; 0: the last
    ema.snapshots = (
        ""  # a folder of EDM2's snapshots, one average a file; default: profiles, in the work directory
    )

    config.convert = convert = ConfigDict()
    convert.to = "ours"  # ours | safetensors | score_sde | diffusers | dit | config, of init_from
    convert.path = ""  # default: in the work directory

    config.pack = pack = ConfigDict()
    pack.path = ""  # folder to write to; default: packed, in the work directory

    config.stats = stats = ConfigDict()
    stats.extractors = ""  # write statistics of features beside the data, too: inception, or several

    config.extractor = extractor = ConfigDict()
    extractor.path = ""  # of the classifier's file; default: extractor.safetensors, in the work directory
    extractor.n_iters = 3000  # steps of its training
    extractor.batch_size = 128
    extractor.lr = 2e-3  # the highest, of AdamW
    extractor.features = 64  # width of the hidden layer, the space in which sets of images are compared

    config.reconstruct = reconstruct = ConfigDict()
    reconstruct.input = ""  # a folder of images, an .npz, test or train
    reconstruct.output = ""  # default: in the work directory
    reconstruct.num_images = 0  # the first so many; 0: all
    reconstruct.batch_size = 64
    reconstruct.method = "ddim"  # ddim: reverse_ddim and back | ode: the probability flow
    reconstruct.noise_removal = False  # close with an estimate of clean data, as DIRE's code does
    reconstruct.resize = False  # image files of another size: cut to the data's proportions and resize
    reconstruct.convert = False  # image files of another form: docs/images.md
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
    control.mask = _unset(str)  # inpaint: half | box | random | an image file, white where pixels are known

    config.tune = tune = ConfigDict()
    # of the sampling section: "field=a,b,c", ranges "first:last:count" and "first:last:count:log"; several
    # fields, separated by spaces or semicolons, in every combination
    tune.sweep = "snr=0.02,0.05,0.08,0.1,0.13,0.16,0.2,0.25,0.3"
    tune.repeats = 5  # sets of samples, each of seeds of its own, the same for every value
    tune.num_samples = 1000  # of each set
    tune.metric = _unset(str)  # by which values are ranked; unset: the first that the data allow
    tune.scorer = _unset(str)  # of sets of samples; unset: modes where the density is known, else data
    tune.metrics = "frechet@pixels"  # of scorer='metrics', as eval.metrics; the first ranks
    tune.confidence = 0.95
    tune.processes = 1
    tune.folder = "tune"  # in the work directory
    tune.rows = 6  # of the picture: the same samples under every value
    tune.grid = False  # find an optimised grid for the sampler and store it with the checkpoint, instead
    tune.pilot_samples = 64  # for which the grid is made

    config.metrics = ConfigDict()  # settings of metrics, each in a block: metrics.kernel.subsets
    config.extractors = ConfigDict()  # likewise of extractors

    config.score = score = ConfigDict()
    score.samples = ""  # a folder, .zip, .npz or .npy of images
    score.reference = ""  # likewise, or statistics: docs/references.md

    config.eval = evaluation = ConfigDict()
    evaluation.enable_loss = False
    evaluation.enable_bpd = False
    evaluation.enable_sampling = False
    evaluation.enable_accuracy = False  # of a classifier, by noise level
    evaluation.enable_restoration = False  # superres: enlarged test images against the test images
    evaluation.enable_density = False  # of points in the plane: a picture beside the data's own density
    evaluation.batch_size = 1024
    evaluation.precision = "float32"  # float32 | tf32 | bfloat16 | float16
    evaluation.bpd_method = "ode"  # ode | vlb | both
    evaluation.bpd_divergence = "rademacher"  # ode: rademacher | gaussian | hutch++ | exact
    evaluation.bpd_dequantisation = "uniform"  # uniform | variational: learned on the training split
    evaluation.bpd_dataset = "test"  # train | test
    evaluation.dataset = _unset(str)  # the same, another spelling
    # of samples, by enable_sampling and --mode score: pixels, fid, kid, is, sfid, ..., METRIC@EXTRACTOR;
    # unset: pixels, and fid where a path is scored: docs/scoring.md
    evaluation.metrics = _unset(str)
    evaluation.by_class = False  # and of each class
    evaluation.extractor_weights = (
        ""  # a file or folder; of several extractors "inception=FILE,dinov2=FOLDER"
    )
    evaluation.extractor_batch = 64  # images that an extractor is given at a time
    evaluation.features = "features"  # folder of features, which are made once; in the work directory
    evaluation.checkpoints = ()  # steps; empty: the latest
    evaluation.begin_ckpt = 0  # or a range of snapshots; 0: none
    evaluation.end_ckpt = 0
    return config
