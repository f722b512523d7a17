"""Choices that are made from several registries at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from run_lib.data.codecs import register_codec
from run_lib.data.latents import Latents
from run_lib.evaluation.likelihoods import DEQUANTISATIONS, TRACES, FlowLikelihood, LevelBound
from samplers.automatic import Automatic
from samplers.base import register_predictor
from samplers.constraints import repaint
from samplers.guidance.gradient import (
    DenoisedLossGuidance,
    LogProbGuidance,
    register_denoised_loss,
    register_log_prob,
)
from samplers.guidance.registry import register_guidance
from samplers.inverse import register_posterior
from samplers.operators import register_operator
from sde_lib.registry import snake_case, unknown_name
from sde_lib.settings import Range


@dataclass(frozen=True)
class Names:
    """Several tables of names as one.

    Args:
        kind: what they hold, for messages.
        tables: name -> factory, each; a call gives the table as it is now, since plugins add to it.
    """

    kind: str
    tables: Callable[[], Mapping[str, Any]]

    def __getitem__(self, name: str) -> Any:
        table = self.tables()
        if snake_case(name) not in table:
            raise ValueError(unknown_name(self.kind, name, list(table)))
        return table[snake_case(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.tables()))

    def __contains__(self, name: str) -> bool:
        return snake_case(name) in self.tables()


AUTO = "auto"
PREDICTORS = Names(
    "predictor", lambda: {AUTO: Automatic, **{name: register_predictor[name] for name in register_predictor}}
)
"""``sampling.predictor``: those that are registered, or the one that the rule gives for ``num_steps``."""
LATENTS = Names("config.data.codec", lambda: dict.fromkeys(register_codec, Latents))
"""``data.codec``: whatever makes latents, they are scaled and decoded alike."""


def unguided() -> None:
    """The model as it is."""


def _guidance() -> dict[str, Any]:
    return {
        "none": unguided,
        **{name: register_guidance[name] for name in register_guidance},
        **dict.fromkeys(register_log_prob, LogProbGuidance),
        **dict.fromkeys(register_denoised_loss, DenoisedLossGuidance),
    }


GUIDANCE = Names("guidance", _guidance)
"""``guidance.name``: none, a wrapper, or a user's log-probability or loss."""


# Tasks of --mode control ---------------------------------------------------------------------------


def inpaint() -> None:
    """Known and unknown pixels: the operator is ``control.mask``."""


def sdedit(strength: Annotated[float, Range(above=0, most=1)] = 0.5) -> float:
    """SDEdit: the image noised to an intermediate time and sampled on from there (Meng et al. 2022).

    Args:
        strength: share of the way to pure noise, in (0, 1].
    """
    return strength


def interpolate(frames: Annotated[int, Range(least=2, most=10**4)] = 7) -> int:
    """From one image to the next on a great circle of latents.

    Args:
        frames: of each pair, both ends included.
    """
    return frames


OPERATORS = {
    "colorize": "grey",
    "superres": "downsample",
    "deblur": "blur",
    "compressed_sensing": "compressed_sensing",
    "mri": "fourier",
}
"""Tasks whose operator has another name, or the same."""
IMAGE_MASK = "mask_image"
"""Made of a file, which ``control.mask`` names: no task alone says which."""
MASKS = {"half": "mask_half", "box": "mask_box", "random": "mask_random"}
EDITS = ("sdedit", "interpolate")


def _tasks() -> dict[str, Any]:
    ours = {task: register_operator[name] for task, name in OPERATORS.items()}
    own = {name: register_operator[name] for name in register_operator if name != IMAGE_MASK}
    return {**own, "inpaint": inpaint, **ours, "sdedit": sdedit, "interpolate": interpolate}


CONTROL_TASKS = Names("config.control.task", _tasks)
"""``control.task``: ours, and operators by their own names."""


def replacement() -> None:
    """The known part of the state is replaced after every step (Song et al. 2021, appendix I)."""


def _restoration_methods() -> dict[str, Any]:
    posterior = {name: register_posterior[name] for name in register_posterior}
    return {"replacement": replacement, "repaint": repaint, **posterior}


RESTORATION_METHODS = Names("config.control.method", _restoration_methods)
"""``control.method`` for a linear measurement."""


def ddim(num_steps: Annotated[int, Range(least=1, most=10**6)] | None = None) -> int | None:
    """``reverse_ddim`` to noise and ``ddim`` back, on the sampler's grid.

    Args:
        num_steps: times of the grid; ``sampling.num_steps`` unless set.
    """
    return num_steps


def ode() -> None:
    """The probability flow to noise and back, to ``sampling.rtol`` and ``sampling.atol``."""


INVERSIONS = {"ddim": ddim, "ode": ode}


def inversions(field: str) -> Names:
    """The maps from images to latents and back, chosen by ``field``."""
    return Names(field, lambda: INVERSIONS)


def masks() -> dict[str, Any]:
    """``control.mask``: by name, or of an image file, which any other value names."""
    return {name: register_operator[operator] for name, operator in MASKS.items()} | {
        "image": register_operator[IMAGE_MASK]
    }


MASK_CHOICES = Names("config.control.mask", masks)


# Likelihoods of --mode eval -----------------------------------------------------------------------

FLOWS = Names("config.eval.bpd_method", lambda: {"ode": FlowLikelihood, "both": FlowLikelihood})
BOUNDS = Names("config.eval.bpd_method", lambda: {"vlb": LevelBound, "both": LevelBound})
TRACE_CHOICES = Names("config.eval.bpd_divergence", lambda: TRACES)
DEQUANTISATION_CHOICES = Names("config.eval.bpd_dequantisation", lambda: DEQUANTISATIONS)
