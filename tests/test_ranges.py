"""The ends of every declared range: which values are the last that are taken, and the first that are refused."""

from __future__ import annotations

import math
from typing import get_args

from run_lib.config.fields import declared_fields
from run_lib.config.roles import ROLES
from sde_lib.settings import Setting
from tests.test_declared_fields import allows

FIELDS = {
    "[0, inf)": """
        control.label control.noise_std control.num_images eval.checkpoints guidance.labels optim.lr
        reconstruct.label reconstruct.num_images training.loss_scale training.microbatch data.max_corrupt
        ema.step training.ema_snapshot_freq
    """,
    "[1, inf)": """
        eval.extractor_batch extractor.n_iters
        control.samples eval.batch_size reconstruct.batch_size sampling.batch_size sampling.grid_size
        training.eval_freq training.log_freq training.max_nonfinite training.n_iters training.snapshot_freq
        training.snapshot_freq_for_preemption tune.pilot_samples training.keep_last
    """,
    "[1, 32768]": """
        data.image_size
    """,
    "[0, 65536]": """
        data.levels
    """,
    "[1, 65536]": """
        data.num_channels data.shape model.out_channels
    """,
    "[0, 1000000]": """
        eval.begin_ckpt eval.end_ckpt model.num_classes
    """,
    "[0, 1)": """
        model.ema_rate model.ema_rates model.used_ema_rate
    """,
    "[1, 1000000]": """
        model.num_scales training.accumulate
    """,
    "(-inf, inf)": """
        optim.grad_clip
    """,
    "(0, 1]": """
        extractor.lr
        sampling.dynamic_threshold training.loss_scale_growth
    """,
    "[1, 100000000]": """
        sampling.num_samples training.batch_size
    """,
    "[0, 1099511627776)": """
        sampling.seed seed
    """,
    "(0, 1)": """
        tune.confidence
    """,
    "[2, 100000000]": """
        tune.num_samples
    """,
    "[1, 1024]": """
        tune.processes
    """,
    "[2, 10000]": """
        tune.repeats
    """,
    "[0, 1000]": """
        tune.rows
    """,
    "[0, 256]": """
        data.num_workers
    """,
    "(0, 0.28867513459481287]": """
        ema.std model.ema_stds
    """,
    "[2, 1000000]": """
        extractor.batch_size
    """,
    "[2, 4096]": """
        extractor.features
    """,
}
"""Fields of ``configs/base.py`` by the interval of their values: a square bracket's end belongs to it."""
SETTINGS = {
    "[0, 65535]": """
        show.port
    """,
    "[1, 1000]": """
        density_coverage.neighbours precision_recall.neighbours
    """,
    "[0, 1000000]": """
        kernel.subset_size
    """,
    "[0, 4]": """
        edm.augment_scale edm.augment_stretch edm.augment_move
    """,
    "[1, 65536]": """
        autoencoder_kl.codec_batch autoencoder_dc.codec_batch
        adm.num_heads adm.num_heads_upsample adm_encoder.num_heads adm_superres.num_heads
        adm_superres.num_heads_upsample
        dit.num_heads
    """,
    "(0, 1024]": """
        adm.channel_mult adm_encoder.channel_mult adm_superres.channel_mult
        edm_adm.channel_mult
    """,
    "[1, 1024]": """
        ddpm_1d.channel_mult
        ddpm.channel_mult ddpmpp.channel_mult ncsnpp.channel_mult
        edm2.channel_mult edm_ddpmpp.channel_mult edm_ncsnpp.channel_mult dit.patch_size
    """,
    "[1, inf)": """
        ddpm_1d.attention_resolutions flow.N
        pca.components
        fast.images own.images
        adm.attention_resolutions adm_encoder.attention_resolutions adm_superres.attention_resolutions
        ddpm.attention_resolutions ddpmpp.attention_resolutions ncsn.num_scales
        ncsnpp.attention_resolutions ncsnv2_128.num_scales ncsnv2_256.num_scales ncsnv2_64.num_scales
        ddpm.N edm.N smld.N subvpsde.N vdm.N vesde.N vpsde.N pc.n_steps_each adaptive_sde.most_steps
        restart.repeats restart.inner respaced.sections compressed_sensing.measurements
        downsample.factor fourier.lines mask_box.height mask_box.width mri.lines superres.factor
        box.height box.width repaint.jump_length repaint.resamplings both.max_steps ode.max_steps
        variational.steps variational.batch_size crop.crop_padding
        edm2.attention_resolutions edm_adm.attention_resolutions edm_ddpmpp.attention_resolutions
        edm_ncsnpp.attention_resolutions
    """,
    "[0, 1)": """
        ddpm_1d.dropout flow.t_min
        adm.dropout adm_encoder.dropout adm_superres.dropout ddpm.dropout ddpmpp.dropout ncsnpp.dropout
        subvpsde.t_min vesde.t_min vpsde.t_min diffusion.label_dropout superres.label_dropout adam.beta1
        adam.beta2 adam_w.beta1 adam_w.beta2 folder.test_fraction npy.test_fraction npz.test_fraction
        zip.test_fraction r_adam.beta1 r_adam.beta2 sgd.momentum
        edm2.dropout edm_adm.dropout edm_ddpmpp.dropout edm_ncsnpp.dropout
    """,
    "(0, inf)": """
        autoencoder_kl.latent_std autoencoder_dc.latent_std
        flow.label_scale gaussian_modes.spread gaussian_modes.noise rings.noise swiss_roll.noise two_moons.noise
        logit_normal.logit_std time_shift.shift projected.radius
        mmd.bandwidth mmd.scale
        ncsnv2_128.sigma_min ncsnv2_128.sigma_max ncsnv2_256.sigma_min ncsnv2_256.sigma_max
        ncsnv2_64.sigma_min ncsnv2_64.sigma_max ddpm.beta_min ddpm.beta_max edm.sigma_min edm.sigma_max
        edm.t_min edm.t_end smld.sigma_min smld.sigma_max subvpsde.beta_min subvpsde.beta_max
        vesde.sigma_min vesde.sigma_max vpsde.beta_min vpsde.beta_max edm.sigma_data log_normal.P_std
        adaptive_sde.relative adaptive_sde.absolute adaptive_sde.first_step adaptive_sde.exponent
        heun.churn_noise restart.restart_low restart.restart_high karras.rho blur.std deblur.std
        dps.zeta pseudo_inverse.data_std both.rtol both.atol ode.rtol ode.atol variational.lr bpd.target
        min_snr.snr_gamma p2.p2_k soft_min_snr.snr_gamma adams.data_std
        blend.level blend.width
        dit.norm_eps dit.mlp_norm_eps edm_vp.beta_min edm_vp.beta_max edm_iddpm.cosine_offset
    """,
    "(0, 1]": """
        ddpm.betas importance.uniform_share sdedit.strength adaptive_sde.safety cooldown.cooldown
    """,
    "[0, inf)": """
        inverse_sqrt.reference_batch
        respaced.steps_offset
        interpolant_sde.strength
        adam.eps adam.weight_decay adam_w.eps adam_w.weight_decay constant.warmup cosine.warmup
        linear.warmup heun.churn_low sa_solver.tau sa_solver.tau_low fourier.centre mask_box.top
        mask_box.left mri.centre box.top box.left repaint.above bpd.num_images p2.p2_gamma r_adam.eps
        r_adam.weight_decay sgd.weight_decay cooldown.warmup inverse_sqrt.warmup
        inverse_sqrt.constant_until
    """,
    "[1, 5]": """
        adams.order
    """,
    "[0, 1]": """
        cfg_plus_plus.scale projected.eta
        edm.augment_p edm.augment_turn blend.share
        ddim.eta classifier_free.rescale mask_random.fraction random.fraction
        edm2.label_balance edm2.concat_balance
    """,
    "[1, 4]": """
        deis.order lms.order sa_solver.explicit unipc.solver_order
    """,
    "[1, 3]": """
        dpm_solver_multistep.order sde_dpm_solver_multistep.solver_order
    """,
    "[2, 3]": """
        dpm_solver_singlestep.order seeds.stages
    """,
    "[0, 0.41421356237309515]": """
        heun.churn
    """,
    "[0, inf]": """
        autoguidance.interval cfg_plus_plus.interval projected.interval
        heun.churn_high classifier.interval classifier_free.interval
    """,
    "[0, 5]": """
        sa_solver.implicit
    """,
    "(0, inf]": """
        adams.shape sa_solver.tau_high
    """,
    "(0, 1)": """
        vdm.t_min
        flow.signal_start
        neighbours.quantile
        ald.snr langevin.snr blur.tolerance deblur.tolerance
        edm_iddpm.ratio_floor
    """,
    "(-inf, inf)": """
        autoencoder_kl.latent_mean autoencoder_dc.latent_mean
        autoguidance.scale projected.scale
        classifier.scale classifier_free.scale
    """,
    "[1, 4096]": """
        ddpm_1d.channels ddpm_1d.head_channels mlp.channels
        adm.channels adm.num_head_channels adm.norm_groups adm_encoder.channels
        adm_encoder.num_head_channels adm_encoder.norm_groups adm_superres.channels
        adm_superres.num_head_channels adm_superres.norm_groups ddpm.channels ddpm.head_channels
        ddpmpp.channels ncsn.channels ncsnpp.channels ncsnv2_128.channels ncsnv2_256.channels
        ncsnv2_64.channels variational.width
        dit.channels edm2.channels edm2.head_channels edm_adm.channels edm_adm.num_head_channels
        edm_adm.norm_groups edm_ddpmpp.channels edm_ncsnpp.channels
    """,
    "[1, 256]": """
        ddpm_1d.num_res_blocks mlp.num_res_blocks
        adm.num_res_blocks adm_encoder.num_res_blocks adm_superres.num_res_blocks ddpm.num_res_blocks
        ddpmpp.num_res_blocks ncsnpp.num_res_blocks
        dit.depth edm2.num_res_blocks edm_adm.num_res_blocks edm_ddpmpp.num_res_blocks
        edm_ncsnpp.num_res_blocks
    """,
    "[2, 65536]": """
        autoencoder_kl.codec_levels autoencoder_dc.codec_levels
    """,
    "[1, 64]": """
        dit.expansion
    """,
    "[1, 32768]": """
        superres.low_res_size
    """,
    "[1, 100000000]": """
        checkerboard.num_draws gaussian_modes.num_draws rings.num_draws swiss_roll.num_draws two_moons.num_draws
        exact.num_draws
    """,
    "[1, 100000]": """
        importance.history accuracy.levels
    """,
    "[1, 1000000]": """
        inception_score.splits kernel.subsets sliced_wasserstein.directions
        pc.num_steps ddim.num_steps dps.num_steps moment_matching.iterations bpd.repeats
    """,
    "[0, 10000]": """
        pc.trajectory
    """,
    "[1, 10000]": """
        least_variance.pieces
        gaussian_modes.num_modes rings.num_rings
        sampling.repeats
        gaussian.probes hutch++.rank hutch++.probes rademacher.probes
    """,
    "[2, 1000]": """
        density.points
    """,
    "[2, 10000]": """
        checkerboard.squares
        interpolate.frames
    """,
    "[2, 100000000]": """
        sampling.num_samples
    """,
    "[-1, 1.7519383938841089]": """
        mode.mode_scale
    """,
    "[2, 1000000]": """
        both.levels vlb.levels fast.steps edm_iddpm.N edm_vp.N
    """,
}
"""Settings of components likewise, each after the component's name."""
DEFAULTS = {
    "optimizer adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "weight_decay": 0.0},
    "optimizer adam_w": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "weight_decay": 0.0},
    "schedule constant": {"warmup": 5000},
    "schedule cosine": {"warmup": 5000},
    "schedule linear": {"warmup": 5000},
    "task diffusion": {"label_dropout": 0.0},
    "task superres": {"low_res_size": None, "base_samples": "", "convert": False, "label_dropout": 0.0},
    "objective denoising": {"reduce_mean": True},
    "objective hybrid": {"vlb_weight": 0.001},
    "objective kl": {"variance": "small"},
    "objective rescaled_kl": {"variance": "small"},
    "weighting edm": {"sigma_data": 0.5},
    "times importance": {"history": 10, "uniform_share": 0.001},
    "times log_normal": {"P_mean": -1.2, "P_std": 1.2},
    "times logit_normal": {"logit_mean": 0.0, "logit_std": 1.0},
    "times mode": {"mode_scale": 1.29},
    "method ode": {"rtol": 1e-5, "atol": 1e-5, "ode_method": "dopri5", "noise_removal": True},
    "method pc": {"num_steps": None, "respacing": None, "n_steps_each": 1, "corrector_first": True,
                  "noise_removal": True, "trajectory": 0},
    "control task interpolate": {"frames": 7},
    "control task sdedit": {"strength": 0.5},
    "inversion ddim": {"num_steps": None},
    "data set exact": {"num_draws": 2000},
    "data set celeba": {"convert": False},
    "data set ffhq": {"tfrecords_path": "", "convert": False},
    "data set imagenet": {"convert": False},
    "data set lsun": {"category": "", "convert": False},
    "flow ode": {"rtol": 1e-5, "atol": 1e-5, "solver": "dopri5", "max_steps": 10000, "truncation": "state",
                 "t_min": None, "importance_weighted": False, "latents": False},
    "bound vlb": {"variance": "auto", "clip": True, "respacing": None, "levels": 1000, "bound_of": "levels"},
    "scorer data": {"features": "pixels"},
    "evaluation accuracy accuracy": {"levels": 10},
    "evaluation density density": {"points": 60},
    "evaluation bpd bpd": {"num_images": 0, "repeats": 1, "quick": False, "target": 0.01},
    "evaluation sampling sampling": {"num_samples": 50000, "repeats": 1, "reference": "train"},
}  # fmt: skip
"""What is done where nothing is said: Adam's, improved-diffusion's and EDM's published values, score_sde's tolerances,
FID's 50,000 samples."""


def by_name(table: dict[str, str]) -> dict[str, str]:
    return {name: interval for interval, names in table.items() for name in names.split()}


def is_whole(setting: Setting) -> bool:
    kinds = {*(get_args(setting.type) or (setting.type,)), *(get_args(setting.element) or (setting.element,))}
    return float not in kinds


def check_ends(setting: Setting, interval: str, name: str) -> None:
    """At each end the last value that is taken and the first that is refused are neighbours."""
    for text, bracket, outwards in zip(
        interval[1:-1].split(", "), (interval[0], interval[-1]), (-1, 1), strict=True
    ):
        end, belongs = float(text), bracket in "[]"
        if math.isinf(end):
            assert allows(setting, end) == belongs, name
            continue
        beside = outwards if belongs else -outwards
        if is_whole(setting):
            end = int(end)
            neighbour: float = end + beside
        else:
            neighbour = math.nextafter(end, beside * math.inf)
        inside, outside = (end, neighbour) if belongs else (neighbour, end)
        assert allows(setting, inside), f"{name}: {inside} is of {interval}"
        assert not allows(setting, outside), f"{name}: {outside} is not of {interval}"


COMPONENTS = [
    (f"{key} {name}", name, setting)
    for key, role in ROLES.items()
    for name in role.choices
    for _, setting in role.settings(role.choices[name])
]


def test_ends_of_the_ranges_of_fields() -> None:
    intervals = by_name(FIELDS)
    for path, setting in declared_fields().items():
        if setting.range is not None:
            check_ends(setting, intervals[path], path)


def test_ends_of_the_ranges_of_components() -> None:
    intervals = by_name(SETTINGS)
    for component, name, setting in COMPONENTS:
        if setting.range is not None:
            check_ends(setting, intervals[f"{name}.{setting.name}"], f"{component} {setting.name}")


def test_what_is_declared_is_still_there() -> None:
    """A range that is no longer declared would else be a test less."""
    assert by_name(FIELDS).keys() == {
        p for p, setting in declared_fields().items() if setting.range is not None
    }
    ranged = {f"{name}.{setting.name}" for _, name, setting in COMPONENTS if setting.range is not None}
    assert by_name(SETTINGS).keys() <= ranged


def test_defaults() -> None:
    for component, wanted in DEFAULTS.items():
        assert {s.name: s.default for one, _, s in COMPONENTS if one == component} == wanted, component
