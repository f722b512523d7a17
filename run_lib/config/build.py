"""config -> Experiment: the only reader of a configuration, with every look-up and every check."""

from __future__ import annotations

import functools
import inspect
import json
import os
from pathlib import Path
from typing import Any

import torch
from ml_collections import ConfigDict

from losses import ClassifierLoss, Loss
from models import register_model
from models.base import Network
from models.exact.mixtures import ExactScore
from models.prediction import conventions
from models.prediction.classifier import NoisyClassifier
from models.prediction.noise_model import NoiseModel
from models.prediction.variances import check_variance_output, wrong_channels
from run_lib.config.bound_model import build_bound_model
from run_lib.config.chains import check_labels_between, sampled_chain
from run_lib.config.editing import Edits
from run_lib.config.experiment import Experiment
from run_lib.config.fields import Section, complete
from run_lib.config.guidance import build_guidance, network_classes
from run_lib.config.networks import build_network
from run_lib.config.objectives import build_classifier_loss, build_loss
from run_lib.config.plugins import load_plugins
from run_lib.config.samplers import build_sampler, denoised
from run_lib.config.settings import (
    ConvertSettings,
    EvalSettings,
    OptimSettings,
    SampleSettings,
    TrainSettings,
    TuneSettings,
)
from run_lib.data import image_sets as image_files  # noqa: F401 - registers its data sets
from run_lib.data.base_images import BaseImages
from run_lib.data.spec import Arrays, DataSpec, Loader, as_shape, register_dataset
from run_lib.seeds import Use, stream_seed
from run_lib.training.labels import Asked, LabelDropout
from run_lib.training.tasks import Classification, Diffusion, SuperResolution, TrainingTask, check_size
from sde_lib.base import Process, register_sde
from sde_lib.registry import unknown_name

TIME_LABELS = {"time": conventions.Time, "sigma": conventions.NoiseLevel}
"""Labels that a network may ask for, whatever the convention of its process."""


def build(config: ConfigDict, *, weights: bool = True) -> Experiment:
    """Assemble and check an experiment.

    Args:
        config: its fields; those it lacks have their defaults.
        weights: initialise the network; otherwise it is on the meta device, to be described only.

    Raises:
        ValueError: an unknown name, a misspelt field, components that do not fit together, a value out of range.
    """
    load_plugins(config.get("plugins", ""))
    config = complete(config)
    _numbers(config)
    if config.init_from and config.resume_from:
        raise ValueError(
            "config.init_from starts from weights and config.resume_from goes on with a training run: set one."
        )
    model_section, sampling_section = Section("model", config.model), Section("sampling", config.sampling)

    shape = _shape(config.data)
    process = _process(config, model_section)
    rule = conventions.convention(config.training.sde, process, config.training.continuous)
    rule = sampled_chain(rule, sampling_section, config.model)
    torch.manual_seed(stream_seed(config.seed, Use.INITIALISATION))
    network = build_network(
        model_section,
        rule.training,
        weights=weights,
        in_channels=shape[0],
        out_channels=_out_channels(config.model, shape[0]),
        image_size=shape[1:],
        dims=len(shape) - 1,
        centered=config.data.centered,
        num_classes=network_classes(config),
        process=rule.sampling.process,
    )
    check_labels_between(sampling_section, network)
    network.check_shape(shape)
    training_model, model = (
        _model(setting, network, config.model) for setting in (rule.training, rule.sampling)
    )
    data = _data(config.data, shape, network)
    guidance = build_guidance(config, model, data, build if weights else None)
    task = _task(config, data, network, guidance.asked)
    loss_model: NoiseModel | NoisyClassifier
    loss: Loss | ClassifierLoss
    if task.generates:
        loss_model, loss = training_model, build_loss(config.training, training_model, data)
    else:
        loss_model = NoisyClassifier(network, training_model.process, training_model.time)
        loss = build_classifier_loss(config.training, training_model.process)

    resolved = _resolved(config)
    return Experiment(
        network=network,
        model=guidance.model,
        guidance=guidance,
        training_model=training_model,
        loss_model=loss_model,
        bound_model=build_bound_model(
            training_model, data, config.eval.bpd_levels, config.eval.bpd_clip, config.eval.bpd_bound_of
        ),
        sampler=build_sampler(sampling_section, denoised(sampling_section, guidance.model, data)),
        task=task,
        loss=loss,
        data=data,
        num_classes=guidance.asked.num_classes,
        ema_rate=config.model.ema_rate,
        ema_rates=tuple(config.model.ema_rates),
        used_ema_rate=config.model.used_ema_rate,
        ema_warmup=config.model.ema_warmup,
        init_from=config.init_from,
        init_from_ema=config.init_from_ema,
        resume_from=config.resume_from,
        training=TrainSettings.of(config.training),
        optim=OptimSettings.of(config.optim),
        sampling=SampleSettings.of(config.sampling),
        evaluation=EvalSettings.of(config.eval),
        convert=ConvertSettings.of(config.convert),
        tuning=TuneSettings.of(config.tune),
        stored_grid=config.sampling.grid == "optimised" and config.sampling.method == "pc",
        edits=Edits.of(config, sampling_section),
        device=_device(config.device),
        seed=config.seed,
        config=resolved,
        values=config.to_dict(),
    )


def _numbers(config: ConfigDict) -> None:
    for name, seed in (("seed", config.seed), ("sampling.seed", config.sampling.seed)):
        if seed is not None and not 0 <= seed < 2**40:
            raise ValueError(f"config.{name} must be at least 0 and below 2^40, got {seed}.")
    rates = (config.model.ema_rate, *config.model.ema_rates)
    for rate in rates:
        if not 0 <= rate < 1:
            raise ValueError(f"config.model.ema_rate lies in [0, 1), got {rate}.")
    if len(set(rates)) < len(rates):
        raise ValueError(
            f"config.model.ema_rates are further averages, each of another rate; got {rates} in all."
        )
    if config.model.used_ema_rate not in (None, *config.model.ema_rates):
        raise ValueError(
            f"config.model.used_ema_rate={config.model.used_ema_rate} is none of model.ema_rates="
            f"{config.model.ema_rates}; unset it for ema_rate, or add it there before training."
        )
    if config.data.num_draws < 2:
        raise ValueError(f"config.data.num_draws must be at least 2, got {config.data.num_draws}.")


def _shape(section: ConfigDict) -> tuple[int, ...]:
    shape = tuple(section.shape) or as_shape(section.image_size, section.num_channels)
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            f"a sample's shape is made of positive integers, got {shape}: see config.data.image_size, "
            f"num_channels and shape."
        )
    return shape


def _data(section: ConfigDict, shape: tuple[int, ...], network: Network) -> DataSpec:
    if section.levels < 0 or section.levels == 1:
        raise ValueError(
            f"data.levels is the number of values of a pixel, 2 or more, or 0 for continuous data; "
            f"got {section.levels}."
        )
    density = network if isinstance(network, ExactScore) else None
    loader = _loader(Section("data", section), shape, density)
    flags = ("uniform_dequantization",) if len(shape) == 3 else ("uniform_dequantization", "random_flip")
    for flag in flags if section.levels == 0 else flags[1:]:
        if section[flag]:
            raise ValueError(
                f"data.{flag}=True has no meaning for data of shape {shape} with data.levels="
                f"{section.levels}; set it to False."
            )
    if section.dataset == "exact" and section.levels:
        raise ValueError(f"draws from a density are continuous: set data.levels=0, not {section.levels}.")
    return DataSpec(
        name=section.dataset,
        loader=loader,
        density=density if section.dataset == "exact" else None,
        shape=shape,
        levels=section.levels,
        centered=section.centered,
        dequantize=section.uniform_dequantization,
        random_flip=section.random_flip,
    )


def _task(config: ConfigDict, data: DataSpec, network: Network, asked: Asked) -> TrainingTask:
    name, classes = config.training.task, config.model.num_classes
    dropout = LabelDropout(config.training.label_dropout, null_label=classes)
    classifies = getattr(network, "classifies", False)
    if classifies != (name == "classifier"):
        raise ValueError(
            f"training.task={name!r} does not go with the network {config.model.name!r}, which "
            f"{'classifies' if classifies else 'does not classify'}: set training.task to "
            f"{'classifier' if classifies else 'diffusion or superres'}, or take another model.name."
        )
    if name != "superres" and (config.sampling.base_samples or config.data.low_res_size is not None):
        raise ValueError(
            "sampling.base_samples and data.low_res_size are for training.task='superres'; leave them unset."
        )
    if name == "diffusion":
        return Diffusion(classes, asked, dropout)
    if name == "superres" and not network.sees_low_res:
        raise ValueError(
            f"training.task='superres' needs a network that sees the small image, such as adm_superres; "
            f"{config.model.name!r} does not."
        )
    if name == "superres":
        size = check_size(data, config.data.low_res_size)
        base = BaseImages(config.sampling.base_samples, data, size, classes)
        return SuperResolution(classes, size, base, dropout)
    if name == "classifier":
        if classes < 2:
            raise ValueError(
                f"a classifier tells at least 2 classes apart: set model.num_classes, now {classes}."
            )
        return Classification(classes)
    raise ValueError(unknown_name("training.task", name, ["classifier", "diffusion", "superres"]))


def _loader(section: Section, shape: tuple[int, ...], density: ExactScore | None) -> Loader:
    name = section.values.dataset
    function = register_dataset[name]
    if density is None and "density" in inspect.signature(function).parameters:
        raise ValueError(
            f"data set {name!r} is drawn from the density of an exact model: set model.name to gaussian or "
            f"gaussian_mixture, or choose another data.dataset."
        )
    context = {"root": Path(section.values.root), "shape": shape, "density": density}

    @functools.cache
    def load(split: str) -> Arrays:
        arrays: Arrays = section.construct(function, split=split, **context)
        return arrays

    return load


def _process(config: ConfigDict, section: Section) -> Process:
    name, t_end = config.training.sde, config.sampling.t_end
    if config.model.num_scales < 1:
        raise ValueError(f"config.model.num_scales must be at least 1, got {config.model.num_scales}.")
    process = section.construct(register_sde[name], **({} if t_end is None else {"t_end": t_end}))
    if not isinstance(process, Process):
        raise ValueError(f"training.sde={name!r} made a {type(process).__name__}, which is no Process.")
    if t_end not in (None, process.t_end):
        raise ValueError(
            f"config.sampling.t_end is set, but training.sde={name!r} does not take it; leave it unset."
        )
    if not process.clean < process.t_end < process.start:
        raise ValueError(
            f"config.sampling.t_end must lie between {process.clean:g} (clean data) and {process.start:g} "
            f"(the prior's time), got {process.t_end:g}."
        )
    return process


def _out_channels(values: ConfigDict, channels: int) -> int:
    """Channels of the prediction and, where they are learned, of the variances.

    Raises:
        ValueError: the configuration asks for another number, or for variances of a network that cannot have them.
    """
    check_variance_output(values.variance)
    factory = register_model[values.name]
    if getattr(factory, "classifies", False):
        classes: int = values.num_classes
        return classes
    wanted = channels if values.variance is None else 2 * channels
    if values.out_channels not in (None, wanted):
        raise ValueError(
            f"config.model.out_channels={values.out_channels}: "
            f"{wrong_channels(values.out_channels, channels, values.variance)}"
        )
    if values.variance is not None and "out_channels" not in inspect.signature(factory).parameters:
        raise ValueError(
            f"config.model.variance={values.variance!r} needs a network whose output channels can be "
            f"chosen, such as adm or ddpm; {values.name!r} takes no out_channels."
        )
    return wanted


def _model(setting: conventions.Setting, network: Network, values: ConfigDict) -> NoiseModel:
    kind = network.output_kind or values.output or setting.output
    time = setting.time
    if network.time_label in TIME_LABELS:
        time = TIME_LABELS[network.time_label](setting.process)
    if values.rescale_timesteps:
        time = time.rescaled()
    return NoiseModel(network, setting.process, time, kind, values.variance)


def _device(name: str | torch.device) -> torch.device:
    if str(name) == "auto":
        return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"config.device={name!s} cannot be used ({str(error).splitlines()[0]}); take auto, cpu, cuda or "
            f"cuda:N."
        ) from error
    return device


def _resolved(config: ConfigDict) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict(), default=str, sort_keys=True))
