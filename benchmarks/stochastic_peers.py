"""Other libraries' stochastic samplers on the benchmark's mixture, with the exact denoiser at their own levels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import GRIDS, Denoise, Peer, azula_run, k_diffusion_sampling, of_installed, ratios
from sde_lib.grids import Grid

SEED = 7


def diffusers_peers() -> Iterator[Peer]:
    import diffusers

    base = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    yield Peer("diffusers DDPM, its grid", _ddpm(base))
    for grid, options in (
        ("log", {"use_exponential_sigmas": True}),
        ("karras", {"use_karras_sigmas": True}),
        ("default", {}),
    ):
        more = base | options | {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
        yield Peer(
            f"diffusers SDE-DPM-Solver++ 2 {grid}",
            _scheduler(diffusers.DPMSolverMultistepScheduler, more, "zero"),
        )
    for grid, options in (("karras", {"use_karras_sigmas": True}), ("default", {})):
        more = base | options | {"predictor_order": 2, "corrector_order": 2}
        yield Peer(f"diffusers SA-Solver 2 2 {grid}", _scheduler(diffusers.SASolverScheduler, more, "min"))


def _ddpm(options: dict[str, Any]) -> Callable[[Denoise, Tensor, int], Tensor | None]:
    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        import diffusers

        scheduler = diffusers.DDPMScheduler(**options, clip_sample=False)
        scheduler.set_timesteps(n)
        draw = torch.Generator().manual_seed(SEED)
        for t in scheduler.timesteps:
            kept = scheduler.alphas_cumprod[t].double()
            alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
            eps = (x - alpha * denoise(x / alpha, sigma / alpha)) / sigma
            x = scheduler.step(eps, t, x, generator=draw).prev_sample
        return x

    return run


def _scheduler(factory: Any, options: dict[str, Any], final: str) -> Callable[..., Tensor | None]:
    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = factory(**options)
            scheduler.set_timesteps(n if final == "zero" else n - 1)
        draw = torch.Generator().manual_seed(SEED)
        for i, t in enumerate(scheduler.timesteps):
            ratio = scheduler.sigmas[i].double()
            scaled = x * torch.sqrt(1 + ratio**2)
            eps = (scaled - denoise(scaled, ratio)) / ratio
            x = scheduler.step(eps, t, x, generator=draw).prev_sample
        ratio = scheduler.sigmas[-1].double()
        if final == "zero" or ratio == 0:
            return x.double()
        return denoise(x * torch.sqrt(1 + ratio**2), ratio)

    return run


def k_diffusion_peers() -> Iterator[Peer]:
    sampling = k_diffusion_sampling()
    methods: dict[str, tuple[Any, int]] = {
        "euler_ancestral": (sampling.sample_euler_ancestral, 1),
        "dpmpp_2s_ancestral": (sampling.sample_dpmpp_2s_ancestral, 2),
        "dpmpp_sde": (sampling.sample_dpmpp_sde, 2),
        "dpmpp_2m_sde": (sampling.sample_dpmpp_2m_sde, 1),
        "dpmpp_3m_sde": (sampling.sample_dpmpp_3m_sde, 1),
    }
    for grid in ("log", "karras"):
        for name, (method, cost) in methods.items():
            yield Peer(f"k-diffusion {name} {grid}", _k_diffusion(method, cost, GRIDS[grid]))


def _k_diffusion(method: Any, cost: int, grid: Grid) -> Callable[..., Tensor | None]:
    def run(denoise: Denoise, x: Tensor, n: int) -> Tensor | None:
        sigmas = torch.cat([ratios(n if cost == 1 else (n + 1) // 2, grid), torch.zeros(1)])
        start = x * torch.sqrt(1 + sigmas[0] ** 2)
        draw = torch.Generator().manual_seed(SEED)

        def fresh(*_: Any) -> Tensor:
            return torch.randn(x.shape, generator=draw, dtype=x.dtype)

        def model(y: Tensor, sigma: Tensor, **_: Any) -> Tensor:
            return denoise(y, sigma[0])

        result: Tensor = method(model, start, sigmas, disable=True, noise_sampler=fresh)
        return result

    return run


def azula_peers() -> Iterator[Peer]:
    import azula.sample

    for grid in ("log", "karras"):
        run = azula_run(azula.sample.DDPMSampler, {}, GRIDS[grid])

        def seeded(denoise: Denoise, x: Tensor, n: int, run: Any = run) -> Tensor | None:
            torch.manual_seed(SEED)
            result: Tensor | None = run(denoise, x, n)
            return result

        yield Peer(f"azula DDPM {grid}", seeded)


def installed() -> list[Peer]:
    """The stochastic ones that can be imported."""
    return of_installed(
        [("diffusers", diffusers_peers), ("k_diffusion", k_diffusion_peers), ("azula", azula_peers)]
    )
