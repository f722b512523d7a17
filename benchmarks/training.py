"""Training steps of the CIFAR-10 DDPM, 35.7 M parameters: this program, an earlier checkout, diffusers, score_sde.

    git worktree add /tmp/before COMMIT
    git clone https://github.com/yang-song/score_sde_pytorch /tmp/ancestor
    python -m benchmarks.training --before /tmp/before --ancestor /tmp/ancestor --images 16 --rounds 5 --save

Each trains with Adam, clipped gradients and an average of the weights: the program by its own command line, diffusers'
``UNet2DModel`` of the same layers in a plain loop, score_sde_pytorch by its own step, in float32. All but one are
stopped (SIGSTOP) at any moment, and their turns of a few steps follow one another, so that a machine that slows down
slows all alike. A step's seconds are taken from what a process prints when the step is done; the first step of a turn
is left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.report import described, write_section
from benchmarks.terminal import Shown

ROOT = Path(__file__).parents[1]
NAME = "Training steps"
_DONE = re.compile(rb"\b(\d+)/\d+ \[")
STEPS = 1_000_000
"""More than there is time for: the processes are killed."""


@dataclass
class Contender:
    """A process that trains, and prints the number of each step that it has done.

    Attributes:
        name: in the table.
        shown: the process, stopped but for its turns.
        seconds: of the steps that were timed.
    """

    name: str
    shown: Shown
    seconds: list[float] = field(default_factory=list)

    def turn(self, steps: int) -> None:
        """Let it run until it has done so many steps, and one before them that is not counted."""
        self.shown.process.send_signal(signal.SIGCONT)
        times: dict[int, float] = {}
        said = b""
        while len(times) < steps + 2:
            if self.shown.process.poll() is not None:
                raise SystemExit(f"{self.name} has ended:\n{(said + self.shown.read()).decode()[-2000:]}")
            said = (said + self.shown.read())[-4000:]
            if found := _DONE.findall(said):
                times.setdefault(int(found[-1]), time.perf_counter())
            time.sleep(0.002)
        self.shown.process.send_signal(signal.SIGSTOP)
        done = sorted(times)[1:]
        self.seconds += [(times[b] - times[a]) / (b - a) for a, b in pairwise(done)]


def program(checkout: Path, data: Path, images: int, precision: str, **further: object) -> list[str]:
    """The command that trains in a checkout on ``data/celeba/train.npy``, a layout that every version reads."""
    settings = {
        "data.dataset": "celeba", "data.root": data, "data.image_size": 32, "training.batch_size": images,
        "training.n_iters": STEPS, "training.snapshot_sampling": False, "training.precision": precision,
        "training.log_freq": 50, "device": "cpu", **further,
    }  # fmt: skip
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    workdir = data / "-".join([checkout.name, precision, *further])
    return [sys.executable, "main.py", "--config", "configs/ddpm/cifar10.py", "--mode", "train", "--workdir",
            str(workdir), *flags]  # fmt: skip


def diffusers_loop(images: int, precision: str) -> None:
    """Train diffusers' network of the DDPM's CIFAR-10 configuration by a plain loop; never returns."""
    from diffusers import UNet2DModel
    from diffusers.training_utils import EMAModel

    network = UNet2DModel(
        sample_size=32, in_channels=3, out_channels=3, block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), layers_per_block=2,
        attention_head_dim=None, dropout=0.1, freq_shift=1, downsample_padding=0, norm_eps=1e-6,
        flip_sin_to_cos=False,
    )  # fmt: skip
    averages = EMAModel(network.parameters(), decay=0.9999)
    optimiser = torch.optim.Adam(network.parameters(), 2e-4)
    kept = torch.linspace(1e-4, 0.02, 1000).double().neg().log1p().cumsum(0).exp()
    pixels = torch.from_numpy(_pixels(512)).float() / 127.5 - 1
    for step in range(1, STEPS):
        x0 = pixels[torch.randint(len(pixels), (images,))]
        t, noise = torch.randint(1000, (images,)), torch.randn(x0.shape)
        alpha, sigma = (part.float()[t, None, None, None] for part in (kept.sqrt(), (1 - kept).sqrt()))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            found = network(alpha * x0 + sigma * noise, t).sample
        loss = (found.float() - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        averages.step(network.parameters())
        print(f"{step}/{STEPS} [", file=sys.stderr, flush=True)


def _pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def compare(given: argparse.Namespace, precision: str) -> list[str]:
    """The rows of the table in one precision."""
    images = given.images
    with tempfile.TemporaryDirectory() as some:
        data = Path(some)
        (data / "celeba").mkdir()
        for split, count in (("train", 512), ("test", 64)):
            np.save(data / "celeba" / f"{split}.npy", _pixels(count))
        loop = ["-m", "benchmarks.training", "--loop", "--images", str(images), "--precision", precision]
        runs = [("this program", program(ROOT, data, images, precision), ROOT)]
        if given.before is not None:
            runs.append(("the program before", program(given.before, data, images, precision), given.before))
        if not given.no_compile:
            command = program(ROOT, data, images, precision, compile="on")
            runs.append(("this program, compiled", command, ROOT))
        runs.append(("diffusers, a plain loop", [sys.executable, *loop], ROOT))
        if given.ancestor is not None:
            command = [sys.executable, str(ROOT / "benchmarks/ancestor_training.py"), str(images)]
            runs.append(("score_sde_pytorch, in float32", command, given.ancestor))
        contenders: list[Contender] = []
        try:
            for name, command, folder in runs:
                contenders.append(Contender(name, Shown.start(command, folder)))
                contenders[-1].turn(1)
            for one in contenders:
                one.seconds.clear()
            for _ in range(given.rounds):
                for one in contenders:
                    one.turn(given.steps)
        finally:
            for one in contenders:
                one.shown.end()
    ours = median(contenders[0].seconds)
    return [
        f"| {one.name} | {precision} | {images / median(one.seconds):.2f} | {median(one.seconds) / ours:.2f} |"
        for one in contenders
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--ancestor", type=Path, help="a checkout of score_sde_pytorch")
    parser.add_argument("--images", type=int, default=16, help="in a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a turn")
    parser.add_argument("--precision", default="float32,bfloat16")
    parser.add_argument("--no-compile", action="store_true", help="eager steps alone")
    parser.add_argument("--loop", action="store_true", help="be diffusers' loop")
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    given = parser.parse_args()
    if given.loop:
        diffusers_loop(given.images, given.precision)
    lines = [
        f"## {NAME}",
        "",
        *described(__doc__),
        f"{given.rounds} turns of {given.steps} steps of {given.images} images, {os.cpu_count()} cores, torch "
        f"{torch.__version__}, Python {platform.python_version()}.",
        "",
        "| who | precision | images a second | seconds of a step, over ours |",
        "|---|---|---|---|",
    ]
    for precision in given.precision.split(","):
        lines += compare(given, precision)
    print("\n".join(lines))
    if given.save:
        write_section(NAME, lines)


if __name__ == "__main__":
    main()
