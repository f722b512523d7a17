"""What every component declares of its settings: documentation, types, and defaults that it allows itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from likelihood import ExactTrace, Hutchinson, HutchPlusPlus, UniformDequantisation, VariationalDequantisation
from losses import (
    BoundLoss,
    DenoisingLoss,
    HybridLoss,
    LogNormalTimes,
    LossSecondMoment,
    OutputLoss,
    StratifiedLevels,
    StratifiedTimes,
    UniformLevels,
    UniformTimes,
    register_weighting,
)
from samplers import ODESampler, PCSampler, register_corrector, register_predictor
from samplers.constraints import Replacement, repaint
from samplers.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DenoisedLossGuidance,
    LogProbGuidance,
)
from samplers.inverse import register_posterior
from samplers.operators import register_operator
from sde_lib.base import register_sde
from sde_lib.grids import register_grid
from sde_lib.settings import REQUIRED, settings_of

REGISTRIES = [
    register_sde,
    register_grid,
    register_predictor,
    register_corrector,
    register_operator,
    register_posterior,
    register_weighting,
]
COMPONENTS: dict[str, Callable[..., Any]] = {
    **{f"{registry.kind} {name}": registry[name] for registry in REGISTRIES for name in registry},
    **{
        factory.__name__: factory
        for factory in (
            BoundLoss, ClassifierFreeGuidance, ClassifierGuidance, DenoisedLossGuidance, DenoisingLoss, ExactTrace,
            HutchPlusPlus, Hutchinson, HybridLoss, LogNormalTimes, LogProbGuidance, LossSecondMoment, ODESampler,
            OutputLoss, PCSampler, Replacement, StratifiedLevels, StratifiedTimes, UniformDequantisation,
            UniformLevels, UniformTimes, VariationalDequantisation, repaint,
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_setting_is_documented_and_typed(name: str) -> None:
    settings = settings_of(COMPONENTS[name])
    assert [s.name for s in settings if not s.doc] == []
    assert [s.name for s in settings if s.type is object] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_defaults_are_allowed(name: str) -> None:
    for setting in settings_of(COMPONENTS[name]):
        if setting.default is not REQUIRED:
            assert setting.check(setting.default) == setting.default


@pytest.mark.parametrize(
    ("component", "name", "kind", "default", "choices", "bounds"),
    [
        ("predictor ddim", "eta", float, 0.0, None, "in [0, 1]"),
        ("predictor heun", "churn_high", float, math.inf, None, ">= 0"),
        ("predictor unipc", "form", str, "x0", ("x0", "eps"), "None"),
        ("predictor unipc", "solver_order", int, 2, None, "in [1, 4]"),
        ("corrector langevin", "norm", str, "sample", ("sample", "batch"), "None"),
        ("corrector ald", "snr", float, 0.16, None, "in (0, 1)"),
        ("time grid respaced", "sections", tuple, (), None, ">= 1"),
        ("SDE ddpm", "schedule", str, "linear", ("linear", "scaled_linear", "cosine"), "None"),
        ("SDE edm", "t_end", float, None, None, "> 0"),
        ("operator mask_half", "unknown", str, "lower", ("lower", "upper", "left", "right"), "None"),
        ("posterior method dps", "noise_std", float, 0.0, None, ">= 0"),
        ("loss weighting edm", "sigma_data", float, 0.5, None, "> 0"),
        ("ClassifierFreeGuidance", "scale", float, 1.0, None, ""),
        ("Hutchinson", "probe", str, "rademacher", ("rademacher", "gaussian"), "None"),
    ],
)
def test_declarations(
    component: str, name: str, kind: type, default: Any, choices: tuple | None, bounds: str
) -> None:
    """Against a table written by hand."""
    setting = {s.name: s for s in settings_of(COMPONENTS[component])}[name]
    assert (setting.type, setting.default, setting.choices, str(setting.range)) == (
        kind,
        default,
        choices,
        bounds,
    )
