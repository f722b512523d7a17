"""Other programs that are trained on Fashion-MNIST in ``benchmarks/time_to_quality.py``, each by its own recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fashion_features import images

EVALUATIONS = 20
"""Of the network, for a sample."""

Sampler = Callable[[int], Tensor]
"""Number of samples -> levels (N, 1, 28, 28), uint8."""


@dataclass(frozen=True)
class Contender:
    """A program that can be trained.

    Attributes:
        seconds: a number of training steps -> how long they take now.
        train: steps -> its samplers after so many from the start, by name.
    """

    seconds: Callable[[int], float]
    train: Callable[[int], dict[str, Sampler]]


def gflop(network: nn.Module, *inputs: Any) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 1e9


def batches(root: Path, size: int, seed: int) -> Iterator[Tensor]:
    """Random batches in [-1, 1], for ever."""
    pixels = images(root, "train")[0].float() / 127.5 - 1
    draws = torch.Generator().manual_seed(seed)
    while True:
        yield pixels[torch.randint(len(pixels), (size,), generator=draws)]


def as_levels(x: Tensor) -> Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def timed(step: Callable[[int, int], None]) -> Callable[[int], float]:
    """The seconds of so many of ``step(number, total)``."""

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        for number in range(count):
            step(number, count)
        return time.perf_counter() - begun

    return seconds


def diffusers(root: Path, seed: int, rate: float, target: float) -> Contender:
    """``UNet2DModel`` with the width that comes nearest to the FLOPs, and its own schedulers."""
    import diffusers as library
    from diffusers.training_utils import EMAModel

    def network(width: int) -> nn.Module:
        return library.UNet2DModel(
            sample_size=28, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=8,
            block_out_channels=(width, 2 * width, 2 * width),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip

    one = torch.zeros(1, 1, 28, 28), torch.zeros(1)
    width = min(range(16, 72, 8), key=lambda w: abs(math.log(gflop(network(w), *one) / target)))
    torch.manual_seed(seed)
    model, data = network(width), batches(root, 128, seed)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    state: dict[str, Any] = {}
    scheduler = library.DDPMScheduler(1000)

    def step(number: int, total: int) -> None:
        if number == 0:
            model.load_state_dict(start)
            state["optimiser"] = torch.optim.AdamW(
                model.parameters(), rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
            )
            state["averages"] = EMAModel(
                model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
            )
        warmup = min(500, total // 10)
        share = min(1.0, (number + 1) / warmup) * (
            0.5 * (1 + math.cos(math.pi * max(0, number - warmup) / max(1, total - warmup)))
        )
        for group in state["optimiser"].param_groups:
            group["lr"] = rate * share
        x0 = next(data)
        noise, t = torch.randn_like(x0), torch.randint(1000, (len(x0),))
        loss = nn.functional.mse_loss(model(scheduler.add_noise(x0, noise, t), t).sample, noise)
        state["optimiser"].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        state["optimiser"].step()
        state["averages"].step(model.parameters())

    def sampler(kind: str) -> Sampler:
        @torch.no_grad()
        def sample(count: int) -> Tensor:
            draws = torch.Generator().manual_seed(seed + 1)
            found = []
            for size in [500] * (count // 500) + [count % 500] * (count % 500 > 0):
                own = getattr(library, kind).from_config(scheduler.config)
                own.set_timesteps(EVALUATIONS)
                x = torch.randn(size, 1, 28, 28, generator=draws) * own.init_noise_sigma
                for t in own.timesteps:
                    x = own.step(model(own.scale_model_input(x, t), t).sample, t, x).prev_sample
                found.append(as_levels(x))
            return torch.cat(found)

        return sample

    kinds = ("DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")

    def train(steps: int) -> dict[str, Sampler]:
        for number in range(steps):
            step(number, steps)
        state["averages"].copy_to(model.parameters())
        model.eval()
        return {kind: sampler(kind) for kind in kinds}

    return Contender(timed(step), train)


def smalldiffusion(root: Path, seed: int, rate: float, target: float) -> Contender:
    """``Unet`` as in its example (channel multiples 1, 1, 2, attention at 14), of the width nearest to the FLOPs."""
    import smalldiffusion as library

    def network(width: int) -> Any:
        return library.Scaled(library.Unet)(28, 1, 1, ch=width, ch_mult=(1, 1, 2), attn_resolutions=(14,))

    one = torch.zeros(1, 1, 28, 28), torch.ones(1, 1, 1, 1)
    width = min((32, 64), key=lambda w: abs(math.log(gflop(network(w), *one) / target)))
    torch.manual_seed(seed)
    model, data = network(width), batches(root, 128, seed)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    schedule = library.ScheduleLogLinear(N=800, sigma_min=0.01, sigma_max=20)
    averages: dict[str, Tensor] = {}
    state: dict[str, Any] = {}

    def step(number: int, total: int) -> None:
        if number == 0:
            model.load_state_dict(start)
            state["optimiser"] = torch.optim.AdamW(model.parameters(), rate)
            averages.update({name: p.detach().clone() for name, p in model.named_parameters()})
        x0 = next(data)
        sigma = schedule.sample_batch(x0)[:, None, None, None]
        loss = model.get_loss(x0, sigma, torch.randn_like(x0))
        state["optimiser"].zero_grad()
        loss.backward()
        state["optimiser"].step()
        decay = min(0.999, (2 + number) / (11 + number))  # as torch_ema warms up
        with torch.no_grad():
            for name, p in model.named_parameters():
                averages[name].lerp_(p, 1 - decay)

    def sampler(gam: float) -> Sampler:
        def sample(count: int) -> Tensor:
            torch.manual_seed(seed + 1)
            found = []
            for size in [500] * (count // 500) + [count % 500] * (count % 500 > 0):
                *_, x = library.samples(model, schedule.sample_sigmas(EVALUATIONS), gam=gam, batchsize=size)
                found.append(as_levels(x.cpu()))
            return torch.cat(found)

        return sample

    @torch.no_grad()
    def train(steps: int) -> dict[str, Sampler]:
        with torch.enable_grad():
            for number in range(steps):
                step(number, steps)
        for name, p in model.named_parameters():
            p.copy_(averages[name])
        return {f"gam={gam}": sampler(gam) for gam in (1.6, 1.0, 2.0)}

    return Contender(timed(step), train)


PEERS: dict[str, tuple[Callable[[Path, int, float, float], Contender], tuple[float, ...]]] = {
    "diffusers": (diffusers, (1e-4, 1e-3)),
    "smalldiffusion": (smalldiffusion, (7e-4, 2e-3)),
}
"""Name -> (folder of the data, seed, learning rate, GFLOP) -> contender; and the rates tried, its recipe's first."""
