"""config.model, config.data, config.training.sde -> what every plan is about: a network, its process, its data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from ml_collections import ConfigDict

from models import register_model
from models.base import Evaluate, Network
from models.checkpoints.architecture import Described
from models.prediction import conventions
from models.prediction.conventions import Convention
from models.prediction.noise_model import NoiseModel
from models.prediction.variances import check_variance_output, wrong_channels
from run_lib.computing.numerics import Compilation, Evaluator
from run_lib.computing.placement import Placement
from run_lib.config.chains import check_labels_between, sampled_chain
from run_lib.config.configuration import Configuration, Record
from run_lib.config.continuing import Agreement
from run_lib.config.data import build_augmentation, build_data
from run_lib.config.explaining import flags_of, in_fields
from run_lib.config.network import build_network
from run_lib.config.placing import compiled_placement
from run_lib.config.settings import Settings
from run_lib.config.sizes import check_sizes
from run_lib.config.sources import components_hash
from run_lib.data.levels import DataSpec, as_shape
from run_lib.seeds import Use, stream_seed
from sde_lib.base import Process


@dataclass(frozen=True)
class Averages(Settings):
    """Exponential moving averages of the weights.

    Attributes:
        ema_rate: of the first.
        ema_rates: of further ones.
        ema_stds: relative widths of averages of power functions, from which others are made after training.
        used_ema_rate: which of them samples, evaluations and converted weights take; None: the first.
        ema_warmup: whether the first steps are averaged at a lower rate.
    """

    ema_rate: float
    ema_rates: tuple[float, ...]
    ema_stds: tuple[float, ...]
    used_ema_rate: float | None
    ema_warmup: bool

    def __post_init__(self) -> None:
        rates = (self.ema_rate, *self.ema_rates)
        if len(set(rates)) < len(rates):
            raise ValueError(
                f"config.model.ema_rates are further averages, each of another rate; got {rates} with model.ema_rate: "
                f"leave out what is there twice."
            )
        if len(set(self.ema_stds)) < len(self.ema_stds):
            raise ValueError(
                f"config.model.ema_stds are relative widths, each another; got {self.ema_stds}: leave out "
                f"what is there twice."
            )
        if self.used_ema_rate not in (None, *self.ema_rates):
            raise ValueError(
                f"config.model.used_ema_rate={self.used_ema_rate} is none of model.ema_rates="
                f"{self.ema_rates}; unset it for ema_rate, or add it there before training."
            )


@dataclass(frozen=True)
class Start(Settings):
    """Where weights come from when a work directory has no checkpoint.

    Attributes:
        init_from: published weights; empty: fresh ones.
        init_from_ema: take the averaged ones, where the file has both.
        resume_from: a training run to go on with.
        resume_anyway: take a checkpoint also where it was made with another configuration.
    """

    init_from: str
    init_from_ema: bool
    resume_from: str
    resume_anyway: bool

    def __post_init__(self) -> None:
        if self.init_from and self.resume_from:
            raise ValueError(
                "config.init_from starts from weights and config.resume_from goes on with a training run: set one."
            )

    @property
    def given(self) -> bool:
        """Whether there are weights to start from."""
        return bool(self.init_from or self.resume_from)


@dataclass(frozen=True)
class Subject:
    """A network as a model of a process, and the data that it models.

    Attributes:
        network: what is evaluated.
        training: it as a model of the process that it is trained on: the chain, for discrete training.
        sampling: it as a model of the process that it is sampled on.
        data: what it models.
        num_classes: that the network is told; 0: none.
        averages, start: of its weights.
        placement: device, and how the network is evaluated there.
        seed: of everything random.
        record: how it was configured.
        components: hash of the source of the user's own components; empty: there are none.
    """

    network: Network
    training: NoiseModel
    sampling: NoiseModel
    data: DataSpec
    num_classes: int
    averages: Averages
    start: Start
    placement: Placement
    seed: int
    record: Record
    components: str = ""

    @property
    def trainable(self) -> bool:
        """Exact scores have nothing to train."""
        return any(p.requires_grad for p in self.network.parameters())

    @property
    def agreement(self) -> Agreement:
        """With the configurations of checkpoints."""
        return Agreement(self.record, self.start.resume_anyway)

    def explained(self, described: Described | None = None) -> AbstractContextManager[None]:
        """Have what is refused of the weights within the block say which fields to set.

        Args:
            described: the network of the weights, where their files say it.
        """
        averages = (
            "Load the raw ones with --config.init_from_ema=False."
            if self.start.init_from
            else f"No training goes on without them: start one from the raw ones, with --config.init_from="
            f"{self.start.resume_from} --config.init_from_ema=False in place of resume_from."
        )
        if described is None:
            fitting = (
                "Set the fields of config.model to those of the file's network, or give a file of this one."
            )
        elif flags := flags_of(described, self.record.values):
            fitting = f"What makes it fit is\n  {flags}"
        else:
            fitting = "Fetch it again, or write it again by the program that it is of."
        return in_fields(averages, fitting)


def build_subject(
    configuration: Configuration,
    *,
    weights: bool = True,
    compiled: Mapping[str, Compilation] | None = None,
    like: Subject | None = None,
) -> Subject:
    """Build the network and its process; nothing is read.

    Args:
        configuration: complete.
        weights: initialise the network; otherwise it is on the meta device, to be described only.
        compiled: what has been decided to compile, by kind of work; None: ``config.compile`` decides.
        like: of a configuration that differs from this one in ``sampling`` alone: its network is taken, and what
            evaluates it, compiled as it may be. Exact scores are of a process, and each has its own.

    Raises:
        ValueError: an unknown name, components that do not fit together, a value out of range.
    """
    config, shape = configuration.values, sample_shape(configuration.values.data)
    check_sizes(config, shape)
    learned = None if like is None else like.training.process.learned
    rule = build_convention(configuration, learned)
    augment = build_augmentation(configuration, shape)
    torch.manual_seed(stream_seed(config.seed, Use.INITIALISATION))
    shared = like if like is not None and like.network.has_weights else None
    network = (
        shared.network
        if shared is not None
        else build_network(
            configuration,
            rule.training,
            weights=weights,
            in_channels=shape[0],
            out_channels=_out_channels(config.model, shape[0]),
            image_size=shape[1:],
            dims=len(shape) - 1,
            centered=config.data.centered,
            num_classes=network_classes(configuration),
            process=rule.sampling.process,
            augment_labels=0 if augment is None else augment.num_labels,
        )
    )
    if rule.training.process.learned is not None:
        network.add_module("learned_process", rule.training.process.learned)  # its weights are the network's
    check_labels_between(config, network)
    with configuration.choose("network").naming_fields():
        network.check_shape(shape)
    placement = compiled_placement(configuration, network, shape, compiled if weights else {})
    if weights and len(shape) == 3:
        network.to(memory_format=placement.memory_format)
    evaluate = evaluator(network) if shared is None else shared.sampling.evaluator
    training, sampling = (
        _model(setting, network, config.model, evaluate) for setting in (rule.training, rule.sampling)
    )
    return Subject(
        network=network,
        training=training,
        sampling=sampling,
        data=build_data(configuration, shape, network, augment),
        num_classes=config.model.num_classes,
        averages=Averages.of(config.model),
        start=Start.of(config),
        placement=placement,
        seed=config.seed,
        record=configuration.record,
        components=components_hash(configuration),
    )


def sample_shape(section: ConfigDict) -> tuple[int, ...]:
    """The shape of a sample, without the batch."""
    return tuple(section.shape) or as_shape(section.image_size, section.num_channels)


def build_convention(configuration: Configuration, learned: torch.nn.Module | None = None) -> Convention:
    """The process of ``training.sde``, and what a network of it is fed and outputs.

    Args:
        configuration: complete.
        learned: what another process of the same settings has learned; None: nothing.
    """
    config = configuration.values
    process = _process(configuration)
    if learned is not None:
        process = process.with_learned(learned)
    with configuration.choose("sde").naming_fields():
        rule = conventions.convention(config.training.sde, process, config.training.continuous)
    return sampled_chain(rule, config)


def _process(configuration: Configuration) -> Process:
    name = configuration.values.training.sde
    process = configuration.choose("sde").build()
    if not isinstance(process, Process):
        raise ValueError(
            f"training.sde={name!r} made a {type(process).__name__}, which is no Process: register a "
            f"subclass of sde_lib.SDE or of sde_lib.DiscreteDiffusion."
        )
    if not process.clean < process.t_end < process.start:
        raise ValueError(
            f"config.sampling.t_end must lie between {process.clean:g} (clean data) and {process.start:g} "
            f"(the prior's time), got {process.t_end:g}."
        )
    return process


def network_classes(configuration: Configuration) -> int | None:
    """Class labels that the network is told, the one that stands for none included where it must learn it; None: no
    classes.

    Raises:
        ValueError: labels are to be dropped and there are none.
    """
    values = configuration.values.model
    classes, dropout = values.num_classes, label_dropout(configuration)
    if dropout and not classes:
        raise ValueError(
            "training.label_dropout drops the labels that a model of data is told, and there are none: set "
            "model.num_classes (and training.task='diffusion'), or leave it 0."
        )
    own = getattr(register_model[values.name], "spare_label", False)
    return classes + (1 if dropout and not own else 0) or None


def label_dropout(configuration: Configuration) -> float:
    """The share of labels that the training task withholds; 0 of a task that withholds none."""
    share: float = configuration.choose("task").settings.get("label_dropout", 0.0)
    return share


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


def _model(
    setting: conventions.Setting, network: Network, values: ConfigDict, evaluate: Evaluate | None
) -> NoiseModel:
    if values.output:
        setting = replace(setting, output=values.output)
    if values.rescale_timesteps:
        setting = replace(setting, time=setting.time.rescaled())
    return setting.model(network, variance=values.variance, evaluator=evaluate)


def evaluator(network: Network) -> Evaluator | None:
    """What evaluates a network in the arithmetic of the work at hand; None: a closed form, which is exact."""
    return Evaluator(network) if network.has_weights else None
