"""Other libraries' deterministic samplers on the benchmark's targets, each with its grids and orders.

Every peer is given the exact denoiser at its own noise level, unrounded, so that it is judged by its method
and its arithmetic alone. All end with the estimate of clean data at the smallest level. Of these packages those
that are installed take part: pip install diffusers k-diffusion azula.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import toys
from sde_lib.base import GaussianSDE
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.grids import Cosine, Grid, Karras, LogSNR, Uniform

Denoise = Callable[[Tensor, Tensor], Tensor]
"""x / alpha and sigma/alpha (0-d) to E[x_0]."""


@dataclass(frozen=True)
class Peer:
    """One setting: ``run(denoise, x, n)`` takes prior draws, over sqrt(alpha^2 + sigma^2), to data in at most
    ``n`` evaluations, else None.
    """

    name: str
    run: Callable[[Denoise, Tensor, int], Tensor | None]

    def attempt(self, denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        """``run``, and None where the library fails for this number of steps."""
        try:
            return self.run(denoise, x, n)
        except (ValueError, IndexError, RuntimeError, AssertionError):
            return None


def denoiser(target: str) -> Denoise:
    model, process = toys.model(target), toys.PROCESS

    def denoise(scaled: Tensor, ratio: Tensor) -> Tensor:
        t = process.time_of(ratio.double().reshape(())).expand(len(scaled))
        alpha = process.marginal(t).alpha[:, None]
        return model(alpha * scaled.double(), t).x0

    return denoise


GRIDS: dict[str, Grid] = {"log": LogSNR(), "karras": Karras(), "cosine": Cosine(), "uniform": Uniform()}
"""Of libraries that take any noise levels."""


def ratios(n: int, grid: Grid, process: GaussianSDE = toys.PROCESS) -> Tensor:
    """sigma/alpha of a grid's ``n`` times, (n,), float64."""
    level = process.marginal(grid.times(process, n))
    return level.sigma / level.alpha


def squared_alphas(process: GaussianSDE) -> Tensor:
    """The levels of a chain for libraries that know no other process: alpha^2 where alpha^2 + sigma^2 = 1.

    A chain's own; 1000 of Karras's for a process whose time is continuous.
    """
    chain = isinstance(process, InterpolatedChain)
    times = (
        torch.arange(process.T + 1, dtype=torch.float64) if chain else Karras().times(process, 1000).flip(0)
    )
    level = process.marginal(times)
    return level.alpha**2 / (level.alpha**2 + level.sigma**2)


def diffusers_peers(process: GaussianSDE = toys.PROCESS) -> Iterator[Peer]:
    import diffusers

    base = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    levels = None if process is toys.PROCESS else squared_alphas(process)
    make = functools.partial(_scheduler, levels=levels)
    grids: dict[str, dict[str, Any]] = {
        "log": {"use_exponential_sigmas": True},
        "karras": {"use_karras_sigmas": True},
        "default": {},
        "trailing": {"timestep_spacing": "trailing"},
    }
    for grid, options in grids.items():
        for order in (2, 3):
            for kind in ("dpmsolver++", "dpmsolver"):
                final = {} if kind == "dpmsolver++" else {"final_sigmas_type": "sigma_min"}
                yield make(
                    f"diffusers DPMSolverMultistep {kind} {order} {grid}",
                    diffusers.DPMSolverMultistepScheduler,
                    base | options | final | {"solver_order": order, "algorithm_type": kind},
                )
            for bh in ("bh1", "bh2"):
                yield make(
                    f"diffusers UniPC {bh} {order} {grid}",
                    diffusers.UniPCMultistepScheduler,
                    base
                    | options
                    | {"solver_order": order, "solver_type": bh, "final_sigmas_type": "sigma_min"},
                )
            yield make(
                f"diffusers DEIS {order} {grid}",
                diffusers.DEISMultistepScheduler,
                base | options | {"solver_order": order},
            )
        yield make(f"diffusers Heun {grid}", diffusers.HeunDiscreteScheduler, base | options, evaluations=2)
    for kind in ("dpmsolver++", "dpmsolver"):
        yield make(
            f"diffusers DPMSolverMultistep {kind} 2 lu",
            diffusers.DPMSolverMultistepScheduler,
            base | {"use_lu_lambdas": True, "algorithm_type": kind, "final_sigmas_type": "sigma_min"},
        )


def _scheduler(
    name: str, factory: Any, options: dict[str, Any], evaluations: int = 1, levels: Tensor | None = None
) -> Peer:
    """``levels``: in place of those that the options say."""

    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = factory(**options)
            if levels is not None:
                scheduler.alphas_cumprod = levels
            final = getattr(scheduler.config, "final_sigmas_type", "zero")
            steps = (n + 1) // 2 if evaluations == 2 else n if final == "zero" else n - 1
            scheduler.set_timesteps(steps)
        scaled_state = evaluations == 2
        state = x * scheduler.init_noise_sigma
        for i, t in enumerate(scheduler.timesteps):
            ratio = scheduler.sigmas[i].double()
            radius = torch.sqrt(1 + ratio**2)
            scaled = state if scaled_state else state * radius
            eps = (scaled - denoise(scaled, ratio)) / ratio
            state = scheduler.step(eps, t, state).prev_sample
        ratio = scheduler.sigmas[-1].double()
        if ratio == 0:
            return state.double()
        return denoise(state * torch.sqrt(1 + ratio**2), ratio)

    return Peer(name, run)


@functools.cache
def k_diffusion_sampling() -> Any:
    """Its module of samplers alone: the package imports much that sampling does not need."""
    spec = importlib.util.find_spec("k_diffusion")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = types.ModuleType("k_diffusion")
    package.__path__, package.__spec__ = list(spec.submodule_search_locations), spec
    sys.modules["k_diffusion"] = package
    for absent in ("torchdiffeq", "torchsde"):
        if importlib.util.find_spec(absent) is None:
            stub = types.ModuleType(absent)
            vars(stub)["odeint"] = None
            sys.modules[absent] = stub
    return importlib.import_module("k_diffusion.sampling")


def k_diffusion_peers(
    process: GaussianSDE = toys.PROCESS, grids: Mapping[str, Grid] = GRIDS
) -> Iterator[Peer]:
    sampling = k_diffusion_sampling()
    methods: dict[str, tuple[Any, int, dict[str, Any]]] = {
        "dpmpp_2m": (sampling.sample_dpmpp_2m, 1, {}),
        "dpmpp_3m": (sampling.sample_dpmpp_3m_sde, 1, {"eta": 0.0, "noise_sampler": lambda *_: 0.0}),
        "heun": (sampling.sample_heun, 2, {}),
        "dpm_2": (sampling.sample_dpm_2, 2, {}),
        "dpmpp_2s": (sampling.sample_dpmpp_2s_ancestral, 2, {"eta": 0.0}),
        **{f"lms {order}": (sampling.sample_lms, 1, {"order": order}) for order in (2, 3, 4)},
    }
    for label, grid in grids.items():
        for name, (method, cost, options) in methods.items():
            yield Peer(f"k-diffusion {name} {label}", _k_diffusion(method, cost, options, grid, process))


def _k_diffusion(
    method: Any, cost: int, options: dict[str, Any], grid: Grid, process: GaussianSDE
) -> Callable[..., Tensor | None]:
    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        steps = n if cost == 1 else (n + 1) // 2
        sigmas = torch.cat([ratios(steps, grid, process), torch.zeros(1)])
        start = x * torch.sqrt(1 + sigmas[0] ** 2)

        def model(y: Tensor, sigma: Tensor, **_: Any) -> Tensor:
            return denoise(y, sigma[0])

        result: Tensor = method(model, start, sigmas, disable=True, **options)
        return result

    return run


def azula_peers(process: GaussianSDE = toys.PROCESS, grids: Mapping[str, Grid] = GRIDS) -> Iterator[Peer]:
    import azula.sample

    names = {"zAB": (2, 3, 4), "vAB": (2, 3, 4), "zEAB": (2, 3, 4), "xEAB": (2, 3, 4)}
    for label, grid in grids.items():
        for name, orders in names.items():
            for order in orders:
                yield Peer(
                    f"azula {name} {order} {label}",
                    azula_run(getattr(azula.sample, f"{name}Sampler"), {"order": order}, grid, process),
                )


def azula_run(
    factory: Any, options: dict[str, Any], grid: Grid, process: GaussianSDE = toys.PROCESS
) -> Callable[..., Tensor | None]:
    class Levels:
        def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
            time = grid.place(process, 1 - t.reshape(-1)).reshape(t.shape)
            level = process.marginal(time)
            return level.alpha, level.sigma

    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        class Exact:
            schedule = Levels()

            def __call__(self, x_t: Tensor, t: Tensor) -> Any:
                alpha, sigma = self.schedule(t)
                return types.SimpleNamespace(mean=denoise(x_t / alpha, sigma / alpha))

        sampler = factory(Exact(), steps=n - 1, silent=True, dtype=torch.float64, **options)
        level = process.marginal(process.time([process.start]))
        last: Tensor = sampler(x * torch.hypot(level.alpha, level.sigma))
        alpha, sigma = Exact.schedule(torch.tensor(0.0, dtype=torch.float64))
        return denoise(last / alpha, sigma / alpha)

    return run


Makers = Sequence[tuple[str, Callable[[], Iterator[Peer]]]]
"""A package, and what makes its peers."""


def of_installed(makers: Makers) -> list[Peer]:
    """The settings of every peer whose package can be imported."""
    return [
        peer for package, peers in makers if importlib.util.find_spec(package) is not None for peer in peers()
    ]


def installed(process: GaussianSDE = toys.PROCESS) -> list[Peer]:
    """The deterministic ones, on the levels of a process."""
    return of_installed(
        [
            ("diffusers", functools.partial(diffusers_peers, process)),
            ("k_diffusion", functools.partial(k_diffusion_peers, process)),
            ("azula", functools.partial(azula_peers, process)),
        ]
    )


def on_grid(grid: Grid, process: GaussianSDE = toys.PROCESS) -> list[Peer]:
    """The deterministic ones that take any noise levels, on a grid that was made for a target."""
    made = {"optimised": grid}
    return of_installed(
        [
            ("k_diffusion", functools.partial(k_diffusion_peers, process, made)),
            ("azula", functools.partial(azula_peers, process, made)),
        ]
    )
