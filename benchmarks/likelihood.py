"""Time to a mean of bits/dim within 0.005 of the converged one, against the ancestor's method.

    python -m benchmarks.likelihood --save                  # about three minutes on one idle core
    python -m benchmarks.likelihood --images 8              # quicker
    python -m benchmarks.likelihood --case cifar10 --save   # ten minutes
    python -m benchmarks.likelihood --memory                # of a larger batch, at a tolerance that visits the peak

One network, the same images, dequantisation and Rademacher probes for all, float32: an ADM U-Net of 0.75 M parameters,
trained here for a minute on scikit-learn's digits and kept under runs/benchmarks; or the CIFAR-10 DDPM of 35.2 M with
random weights, its output scaled so that the flow stays finite, and random images. The ancestor's method is
score_sde_pytorch's: RK45 at 1e-5 on the whole batch as one system through numpy, the network evaluated once for the
drift and again for the divergence. Every run is a process of its own, with one thread, for its peak of memory; of
several, which are interleaved, the fastest is reported. CPU seconds are what wall-clock seconds are on an idle machine.
Memory is the process's peak; "own" leaves out the pages of libraries' files that it has touched, which no allocation of
ours or the ancestor's decides.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import scipy.integrate
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.report import described, machine, write_section
from likelihood import Hutchinson, bits_per_dim, log_likelihood
from likelihood.dequantise import UniformDequantisation
from losses import DenoisingLoss
from losses.times import StratifiedTimes
from models.base import Network
from models.networks.adm import ADM
from models.networks.ddpm import DDPM
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import VPSDE, Noise, expand

NAME = "Likelihoods"
WEIGHTS = pathlib.Path("runs/benchmarks/likelihood.pt")
TRAIN, SCALE = 1437, 0.1


@dataclass(frozen=True)
class Case:
    """A network and its data.

    Attributes:
        network: builds it, with its weights.
        shape, levels: of an image.
        pixels: a number of images -> as many, as levels.
        images: how many, unless another number is asked for.
        reference: the method whose value the others are compared with.
        methods: of ours that are timed.
    """

    network: Callable[[], Network]
    shape: tuple[int, ...]
    levels: int
    pixels: Callable[[int], Tensor]
    images: int
    reference: str
    methods: tuple[str, ...]

    def model(self) -> NoiseModel:
        process = VPSDE()
        return NoiseModel(self.network().eval(), process, Time(process, scale=999), "eps")

    def bits(self, logp: Tensor) -> Tensor:
        return bits_per_dim(logp, math.prod(self.shape), levels=self.levels, data_range=2.0)


def untrained() -> ADM:
    return ADM(
        image_size=8, in_channels=1, channels=32, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(4,), num_heads=4, norm_groups=8,
    )  # fmt: skip


def trained() -> ADM:
    network = untrained()
    network.load_state_dict(torch.load(WEIGHTS))
    return network


def scaled() -> DDPM:
    """Random weights; a new network's last ones are zero, with which there is nothing to integrate."""
    torch.manual_seed(0)
    network = DDPM()
    last = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Conv2d))
    nn.init.normal_(last.weight, std=SCALE * last.weight[0].numel() ** -0.5)
    return network


def held_out_digits(images: int) -> Tensor:
    return torch.tensor(load_digits().images[TRAIN : TRAIN + images])[:, None]


def random_pixels(images: int) -> Tensor:
    return torch.randint(256, (images, 3, 32, 32), generator=torch.Generator().manual_seed(0))


CASES = {
    "digits": Case(
        trained, (1, 8, 8), 17, held_out_digits, 16, "dop853:1e-4:float64",
        ("bosh3:1e-3", "bosh3:1.5e-3", "bosh3:2e-3", "dopri5:1e-3", "dopri5:3e-4", "dop853:1e-3"),
    ),
    "cifar10": Case(
        scaled, (3, 32, 32), 256, random_pixels, 4, "dopri5:1e-5", ("bosh3:5e-4", "dopri5:1e-3", "dopri5:3e-4")
    ),
}  # fmt: skip


def train(network: ADM, steps: int) -> None:
    process = VPSDE()
    model = NoiseModel(network, process, Time(process, scale=999), "eps")
    levels = torch.tensor(load_digits().images[:TRAIN])[:, None]
    dequantise, loss = UniformDequantisation(CASES["digits"].levels), DenoisingLoss(StratifiedTimes())
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        noise = Noise(step, range(64))
        rows = noise.integers(TRAIN)
        value = loss(model, dequantise(levels[rows], noise).x.float(), noise).values.mean()
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def ancestor(model: NoiseModel, x: Tensor, probe: Tensor, tolerance: float) -> Tensor:
    """log p(x) the ancestor's way: two evaluations of the network at each point, scipy on the whole batch."""
    process: VPSDE = model.process
    size = x.numel()

    def drift(y: Tensor, t: Tensor) -> Tensor:
        c = process.sde(y, t)
        return c.drift - 0.5 * expand(c.diffusion**2, y) * model(y, t).score

    def field(time: float, state: np.ndarray) -> np.ndarray:
        y = torch.as_tensor(state[:size], dtype=torch.float32).reshape(x.shape)
        t = torch.full((len(x),), time, dtype=torch.float64)
        with torch.no_grad():
            flow = drift(y, t)
        with torch.enable_grad():
            y.requires_grad_(True)
            (product,) = torch.autograd.grad((drift(y, t) * probe).sum(), y)
        trace = (product * probe).flatten(1).sum(1)
        return np.concatenate([flow.numpy().reshape(-1), trace.numpy()]).astype(np.float64)

    start = np.concatenate([x.numpy().reshape(-1), np.zeros(len(x))])
    end = scipy.integrate.solve_ivp(
        field, (1e-5, process.T), start, rtol=tolerance, atol=tolerance, method="RK45"
    ).y[:, -1]
    z = torch.tensor(end[:size]).reshape(x.shape)
    return process.prior_logp(z) + torch.tensor(end[size:])


def run(case: Case, name: str, images: int) -> dict[str, float]:
    """One method in this process: 'ancestor', 'ancestor:tolerance', 'method:tolerance', 'method:tolerance:float64'."""
    model, noise = case.model(), Noise(1, range(images))
    x = UniformDequantisation(case.levels)(case.pixels(images), noise).x.float()
    probes = Hutchinson().draw(x, noise)
    model(x, torch.full((images,), 0.5, dtype=torch.float64))  # one-off costs of the first call
    before, start, cpu = model.nfe, time.perf_counter(), time.process_time()
    method, *settings = name.split(":")
    if method == "ancestor":
        logp = ancestor(model, x, probes.reshape(x.shape), float(settings[0]) if settings else 1e-5)
    else:
        tol, *precision = float(settings[0]), *settings[1:]
        if precision:
            model, x, probes = model.double(), x.double(), probes.double()
        logp = log_likelihood(model, x, noise, rtol=tol, atol=tol, method=method, probes=probes).logp
    bits = case.bits(logp)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "bits": float(bits.mean()),
        "wall": time.perf_counter() - start,
        "seconds": time.process_time() - cpu,
        "calls": model.nfe - before,
        "megabytes": peak,
        "own": peak - _file_pages(),
    }


def _file_pages() -> float:
    """Megabytes of libraries' files in memory: they only grow, so those at the end are those at the peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssFile"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, default="digits")
    parser.add_argument("--images", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--train_steps", type=int, default=600)
    parser.add_argument("--reference", help="the converged value, computed once")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    case = CASES[args.case]
    images = args.images or case.images
    if args.one:
        print(json.dumps(run(case, args.one, images)))
        return
    if args.case == "digits" and not WEIGHTS.exists():
        torch.manual_seed(0)
        network = untrained()
        train(network, args.train_steps)
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), WEIGHTS)

    def measure(name: str, images: int = images) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.likelihood", "--case", args.case, "--one", name]
        output = subprocess.run(
            [*command, "--images", str(images)], check=True, capture_output=True, text=True
        ).stdout
        found: dict[str, float] = json.loads(output.splitlines()[-1])
        return found

    if args.memory:
        for name in ("ancestor:1e-1", "bosh3:1e-1"):
            found = measure(name, 128)
            print(f"{name:14} peak {found['megabytes']:6.1f} MB, own {found['own']:6.1f} MB, 128 images")
        return
    reference, names = args.reference or case.reference, ["ancestor", *(args.methods or case.methods)]
    converged = measure(reference)["bits"]
    runs = [{name: measure(name) for name in names} for _ in range(args.repeats)]
    lines = [
        f"## {NAME}, {args.case}",
        "",
        *described(__doc__),
        f"{images} images, {converged:.4f} bits/dim by {reference}; {args.repeats} "
        f"run{'s' * (args.repeats > 1)} of each. {machine()}",
        "",
        "| method | error of the mean, bits/dim | network calls | CPU seconds | times faster | peak MB | own MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        best = min((r[name] for r in runs), key=lambda r: r["seconds"])
        times = median(r["ancestor"]["seconds"] / r[name]["seconds"] for r in runs)
        lines.append(
            f"| {name} | {best['bits'] - converged:+.4f} | {best['calls']:.0f} | {best['seconds']:.1f} | {times:.1f} | "
            f"{best['megabytes']:.0f} | {best['own']:.0f} |"
        )
    print("\n".join(lines))
    if args.save:
        write_section(f"likelihoods {args.case}", lines)


if __name__ == "__main__":
    main()
