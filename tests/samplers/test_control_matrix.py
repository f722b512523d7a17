"""Every method for inverse problems with every predictor and corrector, on every kind of process.

Finite, the same alone as in a batch, the same for one seed, and with the measurement in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from benchmarks.posterior_toys import SHAPE, model
from models.prediction.noise_model import Model
from samplers import PCSampler, register_corrector, register_predictor
from samplers.constraints import Replacement, repaint
from samplers.inverse import DPS, MomentMatching, PseudoInverseGuidance
from samplers.operators import register_operator
from sde_lib import Noise
from sde_lib.grids import LogSNR
from tests.oracles import CASES

PROCESSES = ["vp", "subvp", "ve", "flow", "ddpm"]
STEPS = 4
OPERATOR = register_operator["downsample"](SHAPE)
MEASURED = OPERATOR.measure(
    torch.zeros(3, *SHAPE).double() + 0.3, Noise(8, range(3), dtype=torch.float64), 0.1
)
METHODS: dict[str, Callable[[Model], Model]] = {
    "dps": lambda m: DPS(m, OPERATOR, zeta=0.1, num_steps=STEPS),
    "pseudo_inverse": lambda m: PseudoInverseGuidance(m, OPERATOR, noise_std=0.1, data_std=0.5),
    "moment_matching": lambda m: MomentMatching(m, OPERATOR, noise_std=0.1, iterations=2),
}
# At its default tolerances it takes hundreds of steps.
LOOSE = {"adaptive_sde": {"relative": 0.3, "absolute": 0.3}}


@dataclass(frozen=True)
class Setting:
    method: str
    process: str
    predictor: str
    corrector: str

    def sample(self, rows: Sequence[int]) -> Tensor:
        """Samples ``rows``, each given its own measurement."""
        process, y = CASES[self.process].process, MEASURED[list(rows)]
        prior = model("mixture", process)
        wraps = self.method in METHODS
        run = PCSampler(
            METHODS[self.method](prior) if wraps else prior,
            register_predictor[self.predictor](**LOOSE.get(self.predictor, {})),
            register_corrector[self.corrector](),
            LogSNR().times(process, STEPS),
            constraints=() if wraps else (Replacement(OPERATOR, y),),
        )
        if self.method == "repaint":
            run = repaint(run, jump_length=2, resamplings=2)
        cond = {"measurement": y} if wraps else {}
        return run.sample((len(rows), *SHAPE), Noise(1, rows, dtype=torch.float64), **cond).x


def settings() -> list[Setting]:
    names = [name for name in register_predictor if not register_predictor[name].encodes]
    every = itertools.product(["replacement", "repaint", *METHODS], PROCESSES, names, register_corrector)
    return [
        s
        for s in (Setting(*four) for four in every)
        if isinstance(CASES[s.process].process, register_predictor[s.predictor].needs)
        and isinstance(CASES[s.process].process, register_corrector[s.corrector].needs)
    ]


def check(setting: Setting) -> None:
    together, alone = setting.sample([0, 2]), setting.sample([2])
    assert torch.isfinite(together).all(), setting
    # Rounding differs between batch sizes; an adaptive solver's accepted steps do not.
    assert torch.allclose(together[1], alone[0], rtol=1e-6, atol=1e-6), setting
    if setting.method in ("replacement", "repaint"):
        assert torch.allclose(OPERATOR.apply(together), MEASURED[[0, 2]], atol=1e-9), setting


EVERY = settings()
# Each predictor, corrector, process and method appears: 1 in 31, prime to the lengths of all four lists.
SOME = EVERY[::31]


def test_some_settings_name_everything() -> None:
    assert {s.method for s in SOME} == {"replacement", "repaint", *METHODS}
    assert {s.process for s in SOME} == set(PROCESSES)
    assert {s.corrector for s in SOME} == set(register_corrector)
    assert {s.predictor for s in SOME} == {s.predictor for s in EVERY}


@pytest.mark.parametrize("setting", SOME, ids=str)
def test_some_settings(setting: Setting) -> None:
    check(setting)
    assert torch.equal(setting.sample([1]), setting.sample([1]))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["replacement", "repaint", *METHODS])
@pytest.mark.parametrize("process", PROCESSES)
def test_every_setting(method: str, process: str) -> None:
    for setting in EVERY:
        if (setting.method, setting.process) == (method, process):
            check(setting)
