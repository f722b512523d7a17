"""On ``cuda``, by shapes alone: what runs without reading a number, and therefore without waiting for the GPU."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from run_lib.computing.placement import Placement
from samplers import NoneCorrector, PCSampler, register_corrector, register_predictor
from sde_lib import Noise
from tests.device.solving import BRIEF, READS_VALUES, STEPS, fits
from tests.device.subjects import PROCESSES, SHAPE, model_on
from tests.devices import shapes_on_cuda

CPU = torch.device("cpu")
PLANNED = {"restart"}
"""Predictors that look at the grid once, before the first step."""
BY_DERIVATIVES = {"interpolated", "tabulated"}
"""Processes whose drift is found by automatic differentiation, which on ``cuda`` needs a GPU."""
QUICK = {"vpsde", "ddpm", "interpolated"}
PREDICTORS = [
    pytest.param(name, predictor, marks=() if name in QUICK else pytest.mark.slow)
    for name, predictor in itertools.product(PROCESSES, register_predictor)
    if fits(register_predictor[predictor], name) and predictor not in READS_VALUES | PLANNED
]
SDE_STEPS = {"euler_maruyama"}
PATH_STEPS = {"interpolant_sde"}
"""Predictors that take the derivatives of alpha and sigma, found in the same way for every process here."""


def shapes(sampler: PCSampler, **cond: Any) -> torch.Tensor:
    with shapes_on_cuda() as device:
        placed = Placement(device).place(sampler)
        return placed.sample(SHAPE, Noise(0, range(SHAPE[0]), device), **cond).x


@pytest.mark.parametrize(("name", "predictor"), PREDICTORS)
def test_no_predictor_waits_for_the_gpu(name: str, predictor: str) -> None:
    if predictor in PATH_STEPS or (name in BY_DERIVATIVES and predictor in SDE_STEPS):
        pytest.skip("derivatives need a GPU")
    component = register_predictor[predictor](**BRIEF.get(predictor, {}))
    found = shapes(PCSampler.of(model_on(CPU, name), component, NoneCorrector(), num_steps=STEPS))
    assert found.device.type == "cuda" and found.shape == SHAPE


@pytest.mark.parametrize(
    ("name", "corrector"),
    [
        pytest.param(n, c, marks=() if n in QUICK else pytest.mark.slow)
        for n, c in itertools.product(PROCESSES, register_corrector)
        if c != "none" and fits(register_corrector[c], n)
    ],
)
def test_no_corrector_waits_for_the_gpu(name: str, corrector: str) -> None:
    predictor = register_predictor["none"]()
    found = shapes(
        PCSampler.of(model_on(CPU, name), predictor, register_corrector[corrector](), num_steps=STEPS)
    )
    assert found.device.type == "cuda" and found.shape == SHAPE


def test_what_reads_a_number_is_found() -> None:
    """The instrument: the adaptive predictor asks at each step who has arrived."""
    sampler = PCSampler.of(model_on(CPU, "vpsde"), register_predictor["adaptive_sde"](), num_steps=2)
    with pytest.raises(Exception, match=r"local_scalar_dense|data-dependent"):
        shapes(sampler)
