"""What converting weights needs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from losses import LearnedParts, TimeSampler
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.prediction.noise_model import Output
from run_lib.config.components import choose_named
from run_lib.config.configuration import Configuration
from run_lib.config.roles import ROLES
from run_lib.config.settings import ConvertSettings
from run_lib.config.subject import Subject
from run_lib.config.training import Optimisation, build_objective, build_optimisation
from sde_lib.schedules import geometric_sigmas


@dataclass(frozen=True)
class ConversionPlan:
    """What converting weights needs.

    Attributes:
        subject: the network and its data.
        optimisation, times, learned: of the training state, which some formats hold.
        settings: the format and where it goes.
        sigmas: noise levels, descending, which score_sde keeps in every network whatever its process.
        schedule: the process by the names of diffusers' schedulers; None: diffusers has none of it.
        process: the process in words, for messages.
    """

    subject: Subject
    optimisation: Optimisation
    times: TimeSampler
    learned: LearnedParts
    settings: ConvertSettings
    sigmas: Tensor
    schedule: NoiseSchedule | None
    process: str


@dataclass(frozen=True)
class WrittenPlan:
    """What writing the configuration of a file of weights needs.

    Attributes:
        settings: where it goes.
        source: the file.
        text: of the configuration.
    """

    settings: ConvertSettings
    source: str
    text: str


def plan_conversion(configuration: Configuration, subject: Subject) -> ConversionPlan:
    """Collect what the formats hold beside the weights."""
    config = configuration.values
    levels = choose_named(ROLES["sde"], config, "vesde")
    kind = "continuous" if config.training.continuous else "discrete"
    objective = build_objective(configuration, subject)
    return ConversionPlan(
        subject=subject,
        optimisation=build_optimisation(configuration),
        times=objective.times,
        learned=objective.learned,
        settings=ConvertSettings.of(config.convert),
        sigmas=geometric_sigmas(*(levels.value(name) for name in ("N", "sigma_min", "sigma_max"))).flip(0),
        schedule=_noise_schedule(configuration, subject.training.output),
        process=f"{kind} {config.training.sde!r}",
    )


def _noise_schedule(configuration: Configuration, output: Output) -> NoiseSchedule | None:
    chosen, continuous = configuration.choose("sde"), configuration.values.training.continuous
    if chosen.name == "ddpm" or (chosen.name == "vpsde" and not continuous):
        names = ("N", "beta_min", "beta_max") + (("schedule",) if chosen.name == "ddpm" else ())
        arguments = {"schedule": "linear"} | {name: chosen.value(name) for name in names}
        if chosen.name == "ddpm" and chosen.value("zero_terminal_snr"):
            arguments["zero_terminal_snr"] = True
        listed = chosen.name == "ddpm" and chosen.value("betas") is not None
        grid = configuration.find("grid")
        spaced = grid is not None and grid.name == "respaced" and not grid.value("sections")
        return (
            None
            if listed
            else NoiseSchedule(
                "ddpm",
                arguments,
                False,
                output,
                spacing=grid.value("spacing") if grid is not None and spaced else None,
                offset=grid.value("steps_offset") if grid is not None and spaced else 0,
            )
        )
    if chosen.name == "vesde" and continuous:
        arguments = {name: chosen.value(name) for name in ("sigma_min", "sigma_max", "N")}
        snr = choose_named(ROLES["corrector"], configuration.values, "langevin").value("snr")
        return NoiseSchedule("vesde", arguments, True, output, snr=snr)
    return None
