"""Writes docs/gallery.md, and on request makes its pictures anew.

    python docs/make_gallery.py                       # the page
    python docs/make_gallery.py --run trajectory      # the commands of a section, and copies its pictures; all: --run

What the page prints is what runs here: there is one list.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGE = DOCS / "gallery.md"
WIDTH = 94  # of a line of a command
RUNS = "runs/gallery"


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        file: where it is kept, under docs/.
        made: where a command writes it.
        title: what it shows.
    """

    file: str
    made: str
    title: str


@dataclass(frozen=True)
class Section:
    """Pictures of one subject, and what makes them.

    Attributes:
        name: by which ``--run`` knows it.
        title, text: of the page.
        commands: in their order, without ``python main.py``.
        pictures: side by side.
        needs: sections whose networks it takes.
    """

    name: str
    title: str
    text: str
    commands: tuple[str, ...]
    pictures: tuple[Picture, ...]
    needs: tuple[str, ...] = ()


def after(steps: int, run: str) -> str:
    """The flag for a network as it was after so many steps of a run."""
    return f"--config.init_from={RUNS}/{run}/checkpoints/step_{steps:08}.pt"


DIGITS = "--config.training.n_iters=930 --config.optim.warmup=47"
FASHION = "--config.data.dataset=idx --config.data.root=/usr/share/datasets/fashion-mnist"
LATEST = after(930, "digits")

SECTIONS = (
    Section(
        "digits",
        "Digits in training",
        "64 samples of the same seeds, after 93, 279 and 930 steps of 128 digits: two minutes on a core.",
        (
            f"--config ddpm/digits --mode train --workdir {RUNS}/digits {DIGITS} "
            f"--config.training.snapshot_freq=93",
            *(
                f"--config ddpm/digits --mode sample --workdir {RUNS}/digits_{steps} {after(steps, 'digits')} "
                "--config.sampling.num_samples=64"
                for steps in (93, 279, 930)
            ),
        ),
        tuple(
            Picture(
                f"gallery/digits_{steps}.png", f"{RUNS}/digits_{steps}/samples/samples.png", f"{steps} steps"
            )
            for steps in (93, 279, 930)
        ),
    ),
    Section(
        "fashion",
        "Fashion-MNIST in training",
        "36 samples after 100, 200 and 400 steps of 32 images, at 28 by 28 pixels, by half the width of "
        "the shipped "
        "configuration: some minutes on a core. The shipped one takes eight on two, and its samples are "
        "sharper. The files "
        "are those of Debian's package dataset-fashion-mnist.",
        (
            f"--config ddpm/fashion_mnist --mode train --workdir {RUNS}/fashion {FASHION} --config.model.nf=16 "
            "--config.training.n_iters=400 --config.training.batch_size=32 --config.training.snapshot_freq=100",
            *(
                f"--config ddpm/fashion_mnist --mode sample --workdir {RUNS}/fashion_{steps} {FASHION} "
                f"--config.model.nf=16 {after(steps, 'fashion')} --config.sampling.num_samples=36"
                for steps in (100, 200, 400)
            ),
        ),
        tuple(
            Picture(
                f"gallery/fashion_{steps}.png",
                f"{RUNS}/fashion_{steps}/samples/samples.png",
                f"{steps} steps",
            )
            for steps in (100, 200, 400)
        ),
    ),
    Section(
        "trajectory",
        "Trajectories",
        "From noise to digits: 24 states of 100 steps of ancestral sampling, and the ten states of ten "
        "evaluations of UniPC "
        "from the same noise.",
        (
            f"--config ddpm/digits --mode sample --workdir {RUNS}/ancestral {LATEST} "
            f"--config.sampling.num_samples=25 "
            "--config.sampling.predictor=ancestral_sampling --config.sampling.num_steps=100 "
            "--config.sampling.trajectory=24",
            f"--config ddpm/digits --mode sample --workdir {RUNS}/unipc {LATEST} "
            f"--config.sampling.num_samples=25 "
            "--config.sampling.num_steps=10 --config.sampling.trajectory=10",
        ),
        tuple(
            Picture(f"gallery/trajectory_{run}.gif", f"{RUNS}/{run}/samples/trajectory.gif", title)
            for run, title in (("ancestral", "ancestral sampling, 100"), ("unipc", "UniPC, 10"))
        ),
        needs=("digits",),
    ),
    Section(
        "density",
        "A density",
        "Two moons by flow matching, half a minute on a core: the data's density, the model's by the "
        "probability flow, and "
        "trajectories from noise to data.",
        (
            f"--config toy/moons_mlp --mode train --workdir {RUNS}/moons",
            f"--config toy/moons_mlp --mode eval --workdir {RUNS}/moons --config.eval.enable_bpd=False "
            "--config.eval.enable_sampling=False",
        ),
        (
            Picture(
                "gallery/moons.png",
                f"{RUNS}/moons/eval/density_2000.png",
                "Densities of the data and the model",
            ),
        ),
    ),
    Section(
        "snr",
        "What snr does",
        "Langevin's step is a temperature. Left: the variance of a Gaussian's samples, and the law 1 + "
        "snr². Right: the same "
        "seeds at snr from 0.02 to 0.85; [the page on snr](langevin.md) has the scores.",
        (
            f"--config toy/gaussian_langevin --mode tune --workdir {RUNS}/gaussian_langevin",
            f"--config ddpm/digits --mode tune --workdir {RUNS}/snr {LATEST} "
            "--config.sampling.predictor=ancestral_sampling --config.sampling.corrector=langevin "
            "--config.tune.sweep='snr=0.02,0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.85' "
            "--config.tune.num_samples=500",
        ),
        (
            Picture(
                "tune_snr_gaussian.png", f"{RUNS}/gaussian_langevin/tune/plot.png", "Variance against snr"
            ),
            Picture(
                "tune_snr_digits_samples.png",
                f"{RUNS}/snr/tune/picture.png",
                "The same seeds at ten values of snr",
            ),
        ),
        needs=("digits",),
    ),
    Section(
        "guidance",
        "Guidance",
        "Classifier-free guidance at scale 0, 1 and 4: without classes, with the class of each column, "
        "and with more of it "
        "than the data have. Guidance trades variety for certainty: [guidance](guidance.md) has the numbers.",
        (
            f"--config adm/digits_guided --mode train --workdir {RUNS}/guided",
            *(
                f"--config adm/digits_guided --mode sample --workdir {RUNS}/guided_{scale} "
                f"{after(930, 'guided')} --config.guidance.scale={scale}"
                for scale in (0, 1, 4)
            ),
        ),
        tuple(
            Picture(
                f"gallery/guided_{scale}.png", f"{RUNS}/guided_{scale}/samples/samples.png", f"scale {scale}"
            )
            for scale in (0, 1, 4)
        ),
    ),
    Section(
        "inpainting",
        "Inpainting and super-resolution",
        "A test image, what is measured, and four draws of what it can have been ([control](control.md)).",
        (
            f"--config ddpm/digits --mode control --workdir {RUNS}/control {LATEST} "
            f"--config.control.task=inpaint "
            "--config.control.method=moment_matching --config.control.iterations=2 --config.control.samples=4 "
            "--config.sampling.predictor=ancestral_sampling --config.sampling.num_steps=40",
            f"--config ddpm/digits --mode control --workdir {RUNS}/control {LATEST} "
            f"--config.control.task=superres "
            "--config.control.method=moment_matching --config.control.iterations=2 --config.control.samples=4 "
            "--config.sampling.predictor=ancestral_sampling --config.sampling.num_steps=40",
        ),
        tuple(
            Picture(f"digits_{task}.png", f"{RUNS}/control/control/{task}/moment_matching/grid.png", title)
            for task, title in (
                ("inpaint", "The lower half unknown"),
                ("superres", "Means of 2 by 2 pixels known"),
            )
        ),
        needs=("digits",),
    ),
    Section(
        "posteriors",
        "Posteriors",
        "Data of three shapes with their exact score, so that nothing is trained. Left: three random "
        "projections of 64 pixels, "
        "with noise; the draws are of several shapes where the measurement fits several. Right: sixteen "
        "projections leave one.",
        tuple(
            f"--config toy/mixture_image --mode control --workdir {RUNS}/posterior_{count} "
            f"--config.control.task=compressed_sensing --config.control.measurements={count} "
            "--config.control.noise_std=0.3 --config.control.method=moment_matching "
            "--config.control.num_images=6 "
            "--config.control.samples=8"
            for count in (3, 16)
        ),
        tuple(
            Picture(
                f"gallery/posterior_{count}.png",
                f"{RUNS}/posterior_{count}/control/compressed_sensing/moment_matching/grid.png",
                f"{count} projections: image, measurement, eight draws",
            )
            for count in (3, 16)
        ),
    ),
    Section(
        "few_steps",
        "Few steps",
        "Three predictors with 5, 10 and 20 evaluations: the same seeds in each row, and the Fréchet "
        "distance with its "
        "interval ([which sampler](samplers.md)).",
        (
            f"--config ddpm/digits --mode tune --workdir {RUNS}/few_steps {LATEST} "
            "--config.tune.sweep='predictor=ancestral_sampling,ddim,unipc num_steps=5,10,20' "
            "--config.tune.num_samples=500 --config.tune.repeats=3",
        ),
        (
            Picture(
                "gallery/few_steps.png",
                f"{RUNS}/few_steps/tune/picture.png",
                "The same seeds by nine samplers",
            ),
            Picture(
                "gallery/few_steps_plot.png", f"{RUNS}/few_steps/tune/plot.png", "Scores of nine samplers"
            ),
        ),
        needs=("digits",),
    ),
)


def page() -> str:
    """The page, as Markdown."""
    lines = [
        "# Gallery",
        "",
        "Every picture is the program's own, made by the commands below it; `python "
        "docs/make_gallery.py --run` makes them all "
        "anew, in about half an hour on a core. This page is written by that script; do not edit it.",
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.title}", "", section.text, "", *_figures(section.pictures), "", "```text"]
        lines += [line for command in section.commands for line in wrapped(f"python main.py {command}")]
        lines += ["```"]
        if section.needs:
            of = " and ".join(f"*{one.title}*" for one in SECTIONS if one.name in section.needs)
            lines += ["", f"The network is that of {of}."]
    return "\n".join(lines) + "\n"


def _figures(pictures: tuple[Picture, ...]) -> list[str]:
    """Side by side, or below one another where the page is narrow."""
    lines = ['<div class="pictures" markdown>', ""]
    for one in pictures:
        image = f"![{one.title}]({one.file})"
        lines += [
            "<figure markdown>",
            "",
            image,
            "",
            f"<figcaption>{one.title}</figcaption>",
            "</figure>",
            "",
        ]
    return [*lines, "</div>"]


def wrapped(command: str) -> Iterator[str]:
    """The lines of a command, cut between its flags."""
    line = ""
    for word in _words(command):
        if line and len(line) + len(word) + 3 > WIDTH:
            yield f"{line} \\"
            line = f"    {word}"
        else:
            line = f"{line} {word}" if line else word
    yield line


def _words(command: str) -> Iterator[str]:
    """Words, quotes kept."""
    lexer = shlex.shlex(command, posix=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    yield from lexer


def workdir(command: str) -> str:
    """Where a command works."""
    words = shlex.split(command)
    return words[words.index("--workdir") + 1]


def make(section: Section) -> None:
    """Run a section's commands in empty work directories, and copy its pictures."""
    for folder in {ROOT / workdir(command) for command in section.commands}:
        shutil.rmtree(folder, ignore_errors=True)
    for command in section.commands:
        print(f"python main.py {command}", flush=True)
        subprocess.run([sys.executable, "main.py", *shlex.split(command)], cwd=ROOT, check=True)
    for picture in section.pictures:
        (DOCS / picture.file).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / picture.made, DOCS / picture.file)


def main() -> None:
    """Write the page; with ``--run`` make the pictures of the sections that are named, or of all."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", nargs="*", metavar="SECTION", choices=names)
    given = parser.parse_args()
    for section in SECTIONS if given.run is not None else ():
        if section.name in (given.run or names):
            make(section)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
