"""Time to a mean of bits/dim within 0.005 of the converged one, against the ancestor's method.

    python -m benchmarks.likelihood                # about three minutes on one idle core
    python -m benchmarks.likelihood --images 8     # quicker
    python -m benchmarks.likelihood --memory       # of a larger batch, at a tolerance that only visits the peak

One network (an ADM U-Net of 0.75 M parameters, trained here for a minute on scikit-learn's digits and kept
under runs/benchmarks), the same images, dequantisation and Rademacher probes for all, float32. The
ancestor's method is score_sde_pytorch's: RK45 at 1e-5 on the whole batch as one system through numpy, the
network evaluated once for the drift and again for the divergence. Every run is a process of its own, with one
thread, for its peak of memory; of several, which are interleaved, the fastest is reported. CPU seconds are what
wall-clock seconds are on an idle machine. Memory is the process's peak; "own" leaves out the pages of
libraries' files that it has touched, which no allocation of ours or the ancestor's decides.
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

import numpy as np
import scipy.integrate
import torch
from sklearn.datasets import load_digits
from torch import Tensor

import models.networks.adm  # noqa: F401 - registers the network
from likelihood import Hutchinson, bits_per_dim, log_likelihood
from likelihood.dequantise import UniformDequantisation
from losses import DenoisingLoss
from losses.times import StratifiedTimes
from models.base import register_model
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import VPSDE, Noise, expand

WEIGHTS = pathlib.Path("runs/benchmarks/likelihood.pt")
LEVELS, DIMS, TRAIN = 17, 64, 1437


def build() -> NoiseModel:
    network = register_model["adm"](
        image_size=8,
        in_channels=1,
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(4,),
        num_heads=4,
        norm_groups=8,
    )
    process = VPSDE()
    return NoiseModel(network, process, Time(process, scale=999), "eps")


def train(model: NoiseModel, steps: int) -> None:
    levels = torch.tensor(load_digits().images[:TRAIN])[:, None]
    dequantise, loss = UniformDequantisation(LEVELS), DenoisingLoss(StratifiedTimes())
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
    """Bits/dim the ancestor's way: two evaluations of the network at each point, scipy on the whole batch."""
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
    return bits_per_dim(process.prior_logp(z) + torch.tensor(end[size:]), DIMS, levels=LEVELS, data_range=2.0)


def run(name: str, images: int) -> dict[str, float]:
    """One method in this process: 'ancestor', 'ancestor:tolerance', 'method:tolerance', 'method:tolerance:float64'."""
    model = build()
    model.load_state_dict(torch.load(WEIGHTS))
    model.eval()
    levels = torch.tensor(load_digits().images[TRAIN : TRAIN + images])[:, None]
    noise = Noise(1, range(images))
    x = UniformDequantisation(LEVELS)(levels, noise).x.float()
    probes = Hutchinson().draw(x, noise)
    model(x, torch.full((images,), 0.5, dtype=torch.float64))  # one-off costs of the first call
    before, start, cpu = model.nfe, time.perf_counter(), time.process_time()
    method, *settings = name.split(":")
    if method == "ancestor":
        bits = ancestor(model, x, probes.reshape(x.shape), float(settings[0]) if settings else 1e-5)
    else:
        tol, *precision = float(settings[0]), *settings[1:]
        if precision:
            model, x, probes = model.double(), x.double(), probes.double()
        result = log_likelihood(model, x, noise, rtol=tol, atol=tol, method=method, probes=probes)
        bits = bits_per_dim(result.logp, DIMS, levels=LEVELS, data_range=2.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "bits": float(bits.mean()),
        "spread": float(bits.std()) / math.sqrt(images),
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
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--train_steps", type=int, default=600)
    parser.add_argument(
        "--reference", default="dop853:1e-4:float64", help="the converged value, computed once"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["bosh3:1e-3", "bosh3:2e-3", "dopri5:1e-3", "dopri5:3e-4", "dop853:1e-3"],
    )
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.one:
        print(json.dumps(run(args.one, args.images)))
        return
    if not WEIGHTS.exists():
        torch.manual_seed(0)
        model = build()
        train(model, args.train_steps)
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), WEIGHTS)

    def measure(name: str) -> dict[str, float]:
        images = "128" if args.memory else str(args.images)
        command = [sys.executable, "-m", "benchmarks.likelihood", "--one", name, "--images", images]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(output.splitlines()[-1])

    if args.memory:
        for name in ("ancestor:1e-1", "bosh3:1e-1"):
            found = measure(name)
            print(f"{name:14} peak {found['megabytes']:6.1f} MB, own {found['own']:6.1f} MB, 128 images")
        return
    converged = measure(args.reference)["bits"]
    names = ["ancestor", *args.methods]
    runs = [{name: measure(name) for name in names} for _ in range(args.repeats)]
    ratios = {name: sorted(r["ancestor"]["seconds"] / r[name]["seconds"] for r in runs) for name in names}
    print(f"converged ({args.reference}): {converged:.4f} bits/dim, {args.images} images")
    print(
        f"{'method':14} {'mean error':>11} {'calls':>6} {'CPU s':>7} {'wall s':>7} {'times faster':>13} "
        f"{'peak MB':>8} {'own MB':>7}"
    )
    for name in names:
        best = min((r[name] for r in runs), key=lambda r: r["seconds"])
        print(
            f"{name:14} {best['bits'] - converged:+11.5f} {best['calls']:6.0f} {best['seconds']:7.1f} "
            f"{best['wall']:7.1f} {ratios[name][0]:6.1f}-{ratios[name][-1]:<6.1f} {best['megabytes']:8.1f} "
            f"{best['own']:7.1f}"
        )


if __name__ == "__main__":
    main()
