"""config -> Experiment: the only reader of a configuration, with every look-up and every check."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ml_collections import ConfigDict

from configs.base import get_config as default_config
from losses.denoising import DenoisingLoss
from losses.times import StratifiedTimes, TimeSampler, UniformLevels, UniformTimes
from losses.weightings import register_weighting
from models import conventions, register_model
from models.base import Network
from models.noise_model import NoiseModel
from run_lib.data import DataSpec, as_shape, register_dataset
from run_lib.settings import EvalSettings, OptimSettings, SampleSettings, TrainSettings
from run_lib.streams import Use, stream_seed
from samplers.base import register_corrector, register_predictor
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from sde_lib.base import SDE, Process, register_sde
from sde_lib.grids import register_grid
from sde_lib.registry import unknown_name

FIELDS = {
    "N": "num_scales",
    "channels": "nf",
    "channel_mult": "ch_mult",
    "attention_resolutions": "attn_resolutions",
    "resample_with_conv": "resamp_with_conv",
    "norm_groups": "num_groups",
    "schedule": "beta_schedule",
}
"""Constructor argument -> config field, where they differ: score_sde's abbreviations stay in configs."""


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs, built and checked.

    ``model`` is what samplers and likelihoods evaluate, ``training_model`` what the loss does: the same
    network, on the chain for discrete training.
    """

    network: Network
    model: NoiseModel
    training_model: NoiseModel
    sampler: PCSampler | ODESampler
    loss: DenoisingLoss
    data: DataSpec
    num_classes: int
    ema_rate: float
    ema_warmup: bool
    init_from: str
    training: TrainSettings
    optim: OptimSettings
    sampling: SampleSettings
    evaluation: EvalSettings
    device: torch.device
    seed: int
    config: Mapping[str, Any]

    @property
    def trainable(self) -> bool:
        """Exact scores have nothing to train."""
        return any(p.requires_grad for p in self.network.parameters())

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits of the resolved configuration's SHA-256."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]


def load_plugins(names: str) -> None:
    """Import the user's files or modules, so that what they register is known.

    Raises:
        ValueError: a plugin that is missing or fails to import; the cause is quoted.
    """
    for name in filter(None, (n.strip() for n in names.split(","))):
        try:
            if name.endswith(".py"):
                if not Path(name).is_file():
                    raise FileNotFoundError("no such file")
                spec = importlib.util.spec_from_file_location(Path(name).stem, name)
                assert spec is not None and spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                sys.modules[spec.name] = module
                spec.loader.exec_module(module)
            else:
                importlib.import_module(name)
        except Exception as error:
            where = _line_in(name, error)
            raise ValueError(f"plugin {name!r} failed to import{where}: {type(error).__name__}: {error}") from error


def _line_in(name: str, error: Exception) -> str:
    traceback, line = error.__traceback__, ""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith(name):
            line = f" at line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def check_fields(config: ConfigDict) -> None:
    """Refuse fields that no default names: a misspelt setting is never ignored.

    Raises:
        ValueError: naming the field and the nearest one that exists.
    """
    defaults = default_config()
    for section, value in config.items():
        if section not in defaults:
            raise ValueError(unknown_name("config section", section, list(defaults)))
        for field in value if isinstance(value, ConfigDict) else ():
            if field not in defaults[section]:
                near = difflib.get_close_matches(field, list(defaults[section]), n=1)
                hint = f" Did you mean config.{section}.{near[0]}?" if near else ""
                raise ValueError(f"unknown config field config.{section}.{field}.{hint}")


class _Section:
    """One section of a configuration, which remembers the fields that components took."""

    def __init__(self, name: str, values: ConfigDict) -> None:
        self.name, self.values = name, values
        self.taken: set[str] = set()

    def construct(self, factory: Any, **context: Any) -> Any:
        """Call a class or function with arguments found by name: in ``context``, else in this section.

        Fields that are not set (``None``) leave the factory its own default.
        """
        arguments = {}
        for name in inspect.signature(factory).parameters:
            field = FIELDS.get(name, name)
            if name in context:
                arguments[name] = context[name]
            elif field in self.values:
                self.taken.add(field)
                if self.values[field] is not None:
                    arguments[name] = self.values[field]
        return factory(**arguments)


def build(config: ConfigDict) -> Experiment:
    """Assemble and check an experiment.

    Raises:
        ValueError: an unknown name, a misspelt field, components that do not fit together, a value out of range.
    """
    load_plugins(config.get("plugins", ""))
    check_fields(config)
    model_section, sampling_section = _Section("model", config.model), _Section("sampling", config.sampling)

    data = _data(config.data)
    process = _process(config, model_section)
    rule = conventions.convention(config.training.sde, process, config.training.continuous)
    torch.manual_seed(stream_seed(config.seed, Use.INITIALISATION))
    network = _network(model_section, data, process)
    training_model, model = (_model(setting, network, config.model.output) for setting in (rule.training, rule.sampling))

    resolved = _resolved(config)
    return Experiment(
        network=network,
        model=model,
        training_model=training_model,
        sampler=_sampler(sampling_section, model),
        loss=_loss(config, training_model.process),
        data=data,
        num_classes=config.model.num_classes,
        ema_rate=config.model.ema_rate,
        ema_warmup=config.model.ema_warmup,
        init_from=config.init_from,
        training=TrainSettings.of(config.training),
        optim=OptimSettings.of(config.optim),
        sampling=SampleSettings.of(config.sampling),
        evaluation=EvalSettings.of(config.eval),
        device=_device(config.device),
        seed=config.seed,
        config=resolved,
    )


def _data(section: ConfigDict) -> DataSpec:
    register_dataset[section.dataset]
    shape = tuple(section.shape) or as_shape(section.image_size, section.num_channels)
    if section.levels < 0 or section.levels == 1:
        raise ValueError(f"data.levels is the number of values of a pixel, 2 or more, or 0 for continuous data; "
                         f"got {section.levels}.")
    return DataSpec(
        name=section.dataset,
        root=Path(section.root),
        shape=shape,
        levels=section.levels,
        centered=section.centered,
        dequantize=section.uniform_dequantization,
        random_flip=section.random_flip,
    )


def _process(config: ConfigDict, section: _Section) -> Process:
    context = {} if config.sampling.t_end is None else {"t_end": config.sampling.t_end}
    process = section.construct(register_sde[config.training.sde], **context)
    if not isinstance(process, Process):
        raise ValueError(f"training.sde={config.training.sde!r} made a {type(process).__name__}, which is no Process.")
    return process


def _network(section: _Section, data: DataSpec, process: Process) -> Network:
    factory = register_model[section.values.name]
    network: Network = section.construct(
        factory,
        in_channels=data.shape[0],
        image_size=data.shape[1:],
        centered=data.centered,
        process=process,
        num_classes=section.values.num_classes or None,
    )
    network.check_shape(data.shape)
    return network


def _model(setting: conventions.Setting, network: Network, output: str | None) -> NoiseModel:
    kind = network.output_kind or output or setting.output
    time = conventions.Time(setting.process) if network.time_label == "time" else setting.time
    return NoiseModel(network, setting.process, time, kind)  # type: ignore[arg-type]


def _sampler(section: _Section, model: NoiseModel) -> PCSampler | ODESampler:
    values, process = section.values, model.process
    if values.method == "ode":
        _need(process, SDE, "sampling.method='ode'")
        section.taken |= {"t_end"}
        _refuse_untaken(section, "the ode sampler")
        if values.trajectory:
            raise ValueError("sampling.trajectory shows the steps of a predictor: set sampling.method='pc'.")
        return ODESampler(model, values.rtol, values.atol, values.ode_method, values.noise_removal)
    if values.method != "pc":
        raise ValueError(unknown_name("sampling method", values.method, ["ode", "pc"]))
    predictor = section.construct(register_predictor[values.predictor])
    corrector = section.construct(register_corrector[values.corrector])
    grid = section.construct(register_grid[values.grid])
    section.taken |= {"t_end"}
    for what, name, component in (
        ("predictor", values.predictor, predictor),
        ("corrector", values.corrector, corrector),
        ("grid", values.grid, grid),
    ):
        _need(process, component.needs, f"{what} {name!r}")
    if predictor.encodes:
        raise ValueError(f"predictor {values.predictor!r} encodes data into noise; to sample take another, such as ddim.")
    if values.predictor == values.corrector == "none":
        raise ValueError("sampling needs a predictor or a corrector: both are 'none'.")
    _refuse_untaken(section, f"predictor {values.predictor!r}, corrector {values.corrector!r} and grid {values.grid!r}")
    return PCSampler(
        model=model,
        predictor=predictor,
        corrector=corrector,
        times=grid.times(process, values.num_steps),
        n_steps_each=values.n_steps_each,
        corrector_first=values.corrector_first,
        noise_removal=values.noise_removal,
    )


def _need(process: Process, capability: type, what: str) -> None:
    if not isinstance(process, capability):
        raise ValueError(
            f"{what} needs a process that is a {capability.__name__}, and {type(process).__name__} is not; "
            f"choose another, or another training.sde."
        )


def _refuse_untaken(section: _Section, takers: str) -> None:
    """A field that is unset by default, was set, and that nothing takes is an error, not a silence."""
    optional = {field for field, value in default_config()[section.name].items() if value is None}
    for field in sorted(optional - section.taken):
        if section.values[field] is not None:
            raise ValueError(f"config.{section.name}.{field} is set, but {takers} do not take it; leave it unset.")


def _loss(config: ConfigDict, process: Process) -> DenoisingLoss:
    training = config.training
    name = "likelihood" if training.likelihood_weighting else training.weighting
    weighting = register_weighting[name]()
    _need(process, weighting.needs, f"loss weighting {name!r}")
    samplers_of_time: dict[str, TimeSampler] = {"uniform": UniformTimes(), "stratified": StratifiedTimes()}
    if training.times not in samplers_of_time:
        raise ValueError(unknown_name("training.times", training.times, list(samplers_of_time)))
    times = UniformLevels() if isinstance(process, UniformLevels.needs) else samplers_of_time[training.times]
    return DenoisingLoss(times, weighting, training.reduce_mean)


def _device(name: str | torch.device) -> torch.device:
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"config.device={name!s} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _resolved(config: ConfigDict) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict(), default=str, sort_keys=True))  # type: ignore[no-any-return]
