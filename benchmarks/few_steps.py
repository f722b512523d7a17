"""Few evaluations of a trained network: `auto`, a grid and a solver made for it, and other libraries' best settings.

    python -m benchmarks.todays_models fashion_mnist --only EDM
    python -m benchmarks.few_steps --save
    python -m benchmarks.few_steps --budgets 5 --draws 8 --pilot 8 --trials 5 --iterations 2 --samples 64   # to try it

The network is the EDM of Fashion-MNIST that `benchmarks/todays_models.py` trained, the same weights for all, float32.
Errors are root mean squares per pixel, over draws of the prior, against the probability flow solved finely; of each
library the best of all its settings on these very draws is shown, while ours is `auto`, which is given the number of
evaluations alone, and grids and solvers that were made on draws of another seed. Fréchet distances, in the features of
`benchmarks/fashion_features.py`, are those of more samples by the same settings.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.fashion_features import classifier
from benchmarks.fashion_peers import as_levels
from benchmarks.program import ROOT
from benchmarks.report import described, machine, write_section
from benchmarks.time_to_quality import Judge
from configs.edm.fashion_mnist import get_config
from models.prediction.noise_model import Model
from run_lib.config.configuration import read
from run_lib.config.sweep import Candidate
from run_lib.config.tuning import plan_candidate
from run_lib.run import Run
from samplers import ExponentialAdams, NoneCorrector, PCSampler
from samplers.bespoke import optimise_bespoke
from samplers.pilot import optimise_grid
from sde_lib import Noise
from sde_lib.base import GaussianSDE
from sde_lib.grids import Blend

SHAPE = (1, 28, 28)
SEED, PILOT_SEED, SAMPLE_SEED = 1, 2, 3
FINE = 200
"""Steps of the reference."""
CHUNK = 250

Solve = Callable[[Tensor], Tensor | None]
"""Prior draws (N, D) -> data (N, D), or None where a library cannot take so few steps."""


@dataclass(frozen=True)
class Network:
    """A trained network and what is asked of it.

    Attributes:
        model: whose probability flow is solved.
    """

    model: Model[GaussianSDE]

    @property
    def process(self) -> GaussianSDE:
        return self.model.process

    def prior(self, count: int, seed: int) -> Tensor:
        """Draws (count, D), float64."""
        return self.process.prior_sampling((count, *SHAPE), Noise(seed, range(count))).flatten(1).double()

    def denoise(self, scaled: Tensor, ratio: Tensor) -> Tensor:
        """x / alpha (N, D) and sigma / alpha -> E[x_0]."""
        t = self.process.time_of(ratio.double().reshape(())).expand(len(scaled))
        alpha = self.process.marginal(t).alpha[:, None]
        x0 = self.model((alpha * scaled.double()).float().unflatten(1, SHAPE), t).x0
        return x0.flatten(1).double()

    def solved(self, sampler: PCSampler, x: Tensor) -> Tensor:
        state = x.float().unflatten(1, SHAPE)
        *_, last = sampler.iterate(state, Noise(0, range(len(x))))
        return last.x.flatten(1).double()

    def reference(self, x: Tensor) -> Tensor:
        fine = ExponentialAdams(5, "x0", corrected=True)
        return self.solved(PCSampler.of(self.model, fine, num_steps=FINE, grid=Blend(0.4)), x)

    def theirs(self, peer: peers.Peer, n: int, x: Tensor) -> Tensor | None:
        level = self.process.marginal(self.process.time([self.process.start]))
        unit = x / torch.hypot(level.alpha, level.sigma)
        return peer.attempt(self.denoise, unit, n)


@contextlib.contextmanager
def loaded(workdir: Path, root: Path) -> Iterator[Network]:
    """Within the block, the averaged weights of a run's last checkpoint."""
    config = get_config()
    config.data.dataset, config.data.root = "idx", str(root)
    config.device = "cpu"
    configuration = read(config, given=[])
    plan = plan_candidate(configuration.plain(), Candidate(()))
    plan = plan.subject.placement.place(plan)
    assert isinstance(plan.sampler, PCSampler)
    weights = Run(workdir, config_file="configs/edm/fashion_mnist.py").weights(plan.subject)
    with weights.averaged():
        yield Network(plan.sampler.model)


def rms(found: Tensor | None, exact: Tensor) -> float:
    """Per pixel; infinite where there is no result."""
    if found is None:
        return math.inf
    error = float((found - exact).square().mean().sqrt())
    return math.inf if math.isnan(error) else error


def made(network: Network, n: int, given: argparse.Namespace) -> dict[str, PCSampler]:
    """Ours: ``auto``, and what a pilot makes."""
    model, shape = network.model, (given.pilot, *SHAPE)
    noise = Noise(PILOT_SEED, range(given.pilot))
    method = ExponentialAdams(3, "x0", corrected=True)
    with torch.no_grad():
        grid = optimise_grid(model, method, n, shape, noise, trials=given.trials, reference_steps=FINE).grid
    found = {
        "auto": PCSampler.of(model, num_steps=n),
        "optimised grid": PCSampler(model, method, NoneCorrector(), grid.times(network.process, n)),
    }
    if n <= given.bespoke:
        own = optimise_bespoke(model, n, shape, noise, iterations=given.iterations, reference_steps=FINE)
        times = own.grid.times(network.process, n)
        found["bespoke solver"] = PCSampler(model, own.predictor, NoneCorrector(), times)
    return found


def in_chunks(run: Solve, x: Tensor) -> Tensor:
    parts = [run(part) for part in x.split(CHUNK)]
    return torch.cat([part for part in parts if part is not None])


def compared(network: Network, given: argparse.Namespace) -> list[str]:
    """The section."""
    judge = Judge.of_fashion(classifier(given.root, given.run.parent / "classifier.pt"), given.root)
    x, many = network.prior(given.draws, SEED), network.prior(given.samples, SAMPLE_SEED)
    others = {
        "diffusers": list(peers.diffusers_peers(network.process)),
        "k-diffusion": list(peers.k_diffusion_peers(network.process)),
    }
    with torch.no_grad():
        exact = network.reference(x)
    names = ("auto", "optimised grid", "bespoke solver", *others)
    cells: dict[str, list[str]] = {name: [] for name in names}

    def distance(run: Solve) -> float:
        pixels = as_levels(in_chunks(run, many).float().unflatten(1, SHAPE))
        return judge.score(pixels).frechet

    for n in given.budgets:
        for name, sampler in made(network, n, given).items():
            with torch.no_grad():
                run = functools.partial(network.solved, sampler)
                cells[name].append(f"{rms(run(x), exact):.3f}, {distance(run):.1f}")
        for name, settings in others.items():
            with torch.no_grad():
                errors = {peer.name: rms(network.theirs(peer, n, x), exact) for peer in settings}
                best = min(settings, key=lambda peer: errors[peer.name])
                theirs = functools.partial(network.theirs, best, n)
                cells[name].append(f"{errors[best.name]:.3f}, {distance(theirs):.1f} ({best.name})")
        print(n, {name: row[-1:] for name, row in cells.items()}, flush=True)
    lines = [
        "## Few evaluations of a trained network",
        "",
        *described(__doc__),
        f"{given.draws} draws, {given.samples} samples. {machine('diffusers')}",
        "",
        f"| RMS error, Fréchet distance | {' | '.join(map(str, given.budgets))} |",
        "|---" * (len(given.budgets) + 1) + "|",
    ]
    for name, row in cells.items():
        padded = row + ["-"] * (len(given.budgets) - len(row))
        lines.append(f"| {name} | {' | '.join(padded)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = ROOT / "runs/todays_models/fashion_mnist"
    parser.add_argument("--root", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--run", type=Path, default=folder / "EDM", help="work directory of the training")
    parser.add_argument("--budgets", type=int, nargs="+", default=[5, 8, 10, 15, 20])
    parser.add_argument("--draws", type=int, default=64, help="by which settings are compared")
    parser.add_argument("--samples", type=int, default=1000, help="of a Fréchet distance")
    parser.add_argument("--pilot", type=int, default=32, help="draws for which grids and solvers are made")
    parser.add_argument("--trials", type=int, default=80, help="of a grid's search")
    parser.add_argument("--iterations", type=int, default=30, help="of a solver's search")
    parser.add_argument("--bespoke", type=int, default=10, help="evaluations up to which one is made")
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    given = parser.parse_args()
    with loaded(given.run, given.root) as network:
        lines = compared(network, given)
    print("\n".join(lines))
    if given.save:
        write_section("few_steps", lines)


if __name__ == "__main__":
    main()
