"""Sampling end to end: DDIM with the CIFAR-10 DDPM here and by diffusers' pipeline, with the same weights.

    python -m benchmarks.sampling --save                                # 50 steps of 16 images: an hour on two cores
    python -m benchmarks.sampling --images 2 --steps 4 --rounds 1 --runs eager   # to try it

The weights are random, from a folder of diffusers' that our own network has been written to, and both start at the same
noise and take the same evaluations. Before anything is timed, the float32 results must agree to 1e-4 of their norm.
Each round runs both once; ratios are medians over rounds of diffusers' seconds over ours. In bfloat16 both are computed
under autocast, since this pipeline ends in numpy, which knows no weights of that type; ours rounds them once a batch,
as the program does. Compiled: `torch.compile` of the steps here and of the network there; the first call is not timed.
"""

from __future__ import annotations

import argparse
import tempfile
from copy import deepcopy
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.report import described, interleaved, machine, ratio, write_section
from models.checkpoints.diffusers import export_diffusers
from models.networks.ddpm import DDPM
from models.prediction.conventions import convention
from run_lib.computing.allocation import keep_freed_memory
from run_lib.computing.numerics import AS_THEY_ARE, Arithmetic, Compilation, Evaluator, Precision
from run_lib.computing.placement import Placement
from run_lib.computing.steps import Steps
from samplers import DDIM, NoneCorrector, PCSampler
from sde_lib import Noise
from sde_lib.discrete import ddpm_chain

NAME = "Sampling"
LEVELS = 1000
TOLERANCE = 1e-4


def network() -> DDPM:
    """Random weights whose output is of unit scale; a new one's is zero, with which nothing can be compared."""
    torch.manual_seed(0)
    made = DDPM(attention_after_every_up_block=True).eval()  # that of google/ddpm-cifar10-32
    last = next(m for m in reversed(list(made.modules())) if isinstance(m, nn.Conv2d))
    nn.init.normal_(last.weight, std=last.weight[0].numel() ** -0.5)
    return made


class Ours:
    """Our sampler on a network, with the numeric policy and the compiled steps of the program."""

    def __init__(
        self, net: DDPM, steps: int, compiled: bool, precision: Precision, images: int, device: str
    ) -> None:
        self._arithmetic = Arithmetic(
            precision, compiled=Compilation((images,), steps=True) if compiled else AS_THEY_ARE, constant=True
        )
        place = Placement(torch.device(device), sampling=self._arithmetic)
        net = deepcopy(net).to(place.device).to(memory_format=place.memory_format)
        setting = convention(ddpm_chain(N=LEVELS)).sampling
        model = setting.model(net, evaluator=Evaluator(net)).to(place.device)
        times = torch.arange(steps - 1, -1, -1, device=device) * (LEVELS // steps)
        self._sampler = PCSampler(model, DDIM(), NoneCorrector(), times, stepping=Steps())

    @torch.no_grad()
    def __call__(self, start: Tensor) -> Tensor:
        with self._arithmetic.used():
            return self._sampler.encode(start, Noise(0, range(len(start)), start.device)).x


class Theirs:
    """diffusers' pipeline on the same weights."""

    def __init__(self, folder: str, steps: int, compiled: bool, bfloat16: bool, device: str) -> None:
        from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

        scheduler = DDIMScheduler(
            num_train_timesteps=LEVELS,
            beta_start=1e-4,
            beta_end=0.02,
            beta_schedule="linear",
            clip_sample=False,
        )
        self._pipe = DDIMPipeline(UNet2DModel.from_pretrained(folder), scheduler).to(device)
        self._pipe.set_progress_bar_config(disable=True)
        if compiled:
            self._pipe.unet.compile()
        self._steps, self._bfloat16, self._last = steps, bfloat16, None
        scheduler = self._pipe.scheduler  # made anew from the settings of the one above
        step = scheduler.step

        def kept(*args: Any, **named: Any) -> Any:
            found = step(*args, **named)
            self._last = found.prev_sample
            return found

        scheduler.step = kept  # the pipeline's images are clipped, which would hide differences

    def __call__(self, seed: int, images: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        with torch.autocast(self._pipe.device.type, torch.bfloat16, enabled=self._bfloat16):
            self._pipe(images, generator=generator, num_inference_steps=self._steps, output_type="np")
        assert self._last is not None
        return self._last


def start(images: int, seed: int, device: str) -> Tensor:
    """The noise that the pipeline draws from this seed."""
    return torch.randn((images, 3, 32, 32), generator=torch.Generator().manual_seed(seed)).to(device)


def compare(folder: str, net: DDPM, precision: Precision, how: str, args: argparse.Namespace) -> str:
    """A row of the table.

    Raises:
        SystemExit: the float32 results differ.
    """
    compiled = how == "compiled"
    ours = Ours(net, args.steps, compiled, precision, args.images, args.device)
    theirs = Theirs(folder, args.steps, compiled, precision == "bfloat16", args.device)
    x = start(args.images, 1, args.device)
    a, b = ours(x).float(), theirs(1, args.images).float()
    difference = float((a - b).norm() / b.norm())
    if precision == "float32" and not difference < TOLERANCE:
        raise SystemExit(
            f"{how}: the results differ by {difference:.1e} of their norm, more than {TOLERANCE}."
        )
    runs = {"ours": lambda: ours(x), "theirs": lambda: theirs(1, args.images)}
    seconds = interleaved(runs, args.rounds, args.device)
    mine, peers = median(seconds["ours"]), median(seconds["theirs"])
    return (
        f"| {precision} | {how} | {mine:.2f} | {peers:.2f} | {ratio(seconds['theirs'], seconds['ours']):.2f} | "
        f"{difference:.0e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--runs", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"])
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    args = parser.parse_args()
    keep_freed_memory()
    net = network()
    lines = [
        f"## {NAME}",
        "",
        *described(__doc__),
        f"{args.images} images, {args.steps} evaluations, {args.rounds} rounds on {args.device}. "
        f"{machine('diffusers')}",
        "",
        "| precision | network | seconds, score-pc | diffusers | over ours | difference |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        export_diffusers(net, folder, sample_size=32)
        for precision in args.precision:
            lines += [compare(folder, net, precision, how, args) for how in args.runs]
    print("\n".join(lines))
    if args.save:
        write_section(NAME, lines)


if __name__ == "__main__":
    main()
