"""A diffusers ``scheduler_config.json`` as a process of ours, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from models.prediction.noise_model import Output
from sde_lib.grids import Spacing

_VE = ("ScoreSdeVeScheduler", "VeSdeScheduler")
_OUTPUTS: dict[str, Output] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
_BETAS = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
_SPACINGS: tuple[Spacing, ...] = get_args(Spacing)
UNTOLD = ("The data set, and how the network was trained.",)
"""What a diffusers folder does not say."""


@dataclass(frozen=True)
class NoiseSchedule:
    """How a published network was trained, by the names of our registries.

    Args:
        sde: registered name of the process: ``ddpm`` (a chain) or ``vesde``.
        arguments: of its constructor.
        continuous: the network is told sigma (VE); otherwise a chain's index.
        output: what the network's output means.
        snr: of the Langevin corrector that was published with it, None without.
        spacing: at which of a chain's levels few steps are meant to be; None: nothing is said.
        offset: added to the levels of the spacing ``leading``.
    """

    sde: str
    arguments: Mapping[str, Any]
    continuous: bool
    output: Output
    snr: float | None = None
    spacing: Spacing | None = None
    offset: int = 0

    def config(self) -> Mapping[str, Any]:
        """A scheduler config that diffusers loads.

        Raises:
            ValueError: diffusers has no scheduler of this process.
        """
        values = self.arguments
        if self.sde == "vesde":
            return {
                "_class_name": "ScoreSdeVeScheduler",
                "num_train_timesteps": values["N"],
                "sigma_min": values["sigma_min"],
                "sigma_max": values["sigma_max"],
                "snr": 0.15 if self.snr is None else self.snr,
            }
        if self.sde != "ddpm":
            raise ValueError(
                f"diffusers has no scheduler of the process {self.sde!r}; it has those of ddpm and vesde."
            )
        kinds = {ours: theirs for theirs, ours in _BETAS.items()}
        outputs = {ours: theirs for theirs, ours in _OUTPUTS.items()}
        return {
            "_class_name": "DDPMScheduler",
            "num_train_timesteps": values["N"],
            "beta_start": values["beta_min"] / values["N"],
            "beta_end": values["beta_max"] / values["N"],
            "beta_schedule": kinds[values["schedule"]],
            "prediction_type": outputs[self.output],
            "rescale_betas_zero_snr": bool(values.get("zero_terminal_snr", False)),
            **({} if self.spacing is None else {"timestep_spacing": self.spacing}),
            **({"steps_offset": self.offset} if self.offset else {}),
        }


def read_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The process that a ``scheduler_config.json`` describes.

    Any scheduler with betas is a way to sample the same chain: DDPM, DDIM, PNDM, Euler, DPM-Solver, ...

    Raises:
        ValueError: a schedule that no process of ours has; naming the setting and what is allowed.
    """
    kind = config.get("_class_name")
    if kind in _VE:
        return NoiseSchedule(
            sde="vesde",
            arguments={
                "sigma_min": float(config.get("sigma_min", 0.01)),
                "sigma_max": float(config.get("sigma_max", 1348.0)),
                "N": int(config.get("num_train_timesteps", 2000)),
            },
            continuous=True,
            output="score",
            snr=float(config.get("snr", 0.15)),
        )
    if "beta_schedule" not in config:
        raise ValueError(
            f"the scheduler {kind!r} has no beta_schedule and is not of a VE process; it is unknown here."
        )
    allowed: dict[str, tuple[Any, ...]] = {
        "beta_schedule": tuple(_BETAS),
        "prediction_type": tuple(_OUTPUTS),
        "trained_betas": (None,),
        "rescale_betas_zero_snr": (False, True),
        "timestep_spacing": (None, *_SPACINGS),
        # Learned variances are further channels of the output, which the networks of this format lack.
        "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
    }
    told = {"prediction_type": "epsilon", "variance_type": "fixed_small"} | dict(config)
    for name, values in allowed.items():
        if told.get(name, values[0]) not in values:
            raise ValueError(
                f"the scheduler {kind!r} has {name}={told[name]!r}, which no process here has; "
                f"allowed: {', '.join(map(str, values))}."
            )
    levels, spacing = int(config.get("num_train_timesteps", 1000)), config.get("timestep_spacing")
    zero = {"zero_terminal_snr": True} if told.get("rescale_betas_zero_snr") else {}
    return NoiseSchedule(
        sde="ddpm",
        arguments={
            "N": levels,
            # Ours are named for the SDE that the chain is a discretisation of: beta_i N.
            "beta_min": float(config.get("beta_start", 1e-4)) * levels,
            "beta_max": float(config.get("beta_end", 0.02)) * levels,
            "schedule": _BETAS[told["beta_schedule"]],
            **zero,
        },
        continuous=False,
        output=_OUTPUTS[told["prediction_type"]],
        spacing=spacing,
        offset=int(config.get("steps_offset", 0)) if spacing == "leading" else 0,
    )


def told_schedule(payload: Mapping[str, Any]) -> NoiseSchedule | None:
    """The process of a folder's content, if it has a scheduler's config."""
    return read_schedule(payload["scheduler_config"]) if "scheduler_config" in payload else None
