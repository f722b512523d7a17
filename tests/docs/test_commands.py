"""Every command that README and docs/ print runs, as it is printed, in the order of its page, at toy size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import plugins_forgotten
from tests.docs.pages import PAGES, commands
from tests.docs.reader import give
from tests.run_lib.conftest import cifar_checksums  # noqa: F401 - a fixture
from tests.run_lib.program import program

LEFT_OUT = {
    "metrics=fid": "the published Inception network",
    "score.samples=theirs.npz": "the published Inception network",
    "256x256": "the published networks of 256x256 images, and the reference of 10,000 of them",
    "checkpoint_N.pth": "a published network of eight blocks a stage",
    "/shared/cifar10": "several machines",
    "--mode show": "a server, which ends when it is told to (tests/run_lib/pages)",
    "eval_50k": "evaluations of 50,000 samples",
    "mine.py --mode train --config.model.sigma_max": "another mine.py, whose data are images",
}
"""Parts of commands that are not run, and what they would need."""
DIGITS, CIFAR10 = "--config ddpm/digits --mode train", "--config ddpm/cifar10 --mode train"
DIFFUSERS = "--config ddpm/cifar10_diffusers --mode train"
BEFORE = {
    "CONTRIBUTING.md": [DIGITS],
    "docs/auto_sampler.md": [DIGITS],
    "docs/control.md": [DIGITS],
    "docs/guidance.md": [DIGITS],
    "docs/langevin.md": [DIGITS],
    "docs/likelihood.md": [DIGITS, CIFAR10],
    "docs/migrating/diffusers.md": [DIFFUSERS],
    "docs/modes.md": [DIGITS, CIFAR10],
    "docs/numerics.md": [CIFAR10],
    "docs/report.md": [DIGITS, *(f"--config ddpm/digits --mode all --workdir runs/{name}" for name in "abc")],
    "docs/samplers.md": [DIGITS],
    "docs/scoring.md": [DIGITS],
    "docs/tuning.md": [DIGITS],
    "docs/weights.md": [DIFFUSERS],
}
"""What the reader of a page has done."""
READERS_OWN = {
    "predictor.py": "examples/plugins/predictor.py",
    "CONFIG": "ddpm/cifar10_diffusers",
    "FOLDER": "exported",
    "FILE": "network-snapshot-200000.pkl",
    "NAME": "scaled_ddim",
    "SETTING=VALUE": "damping=1.01",
}
"""What the reader puts in place of such words."""
ENOUGH = {
    "sampling.num_samples": 6, "sampling.num_steps": 12, "training.n_iters": 4, "training.batch_size": 8,
    "training.snapshot_freq": 1, "training.microbatch": 2, "tune.num_samples": 70, "eval.num_samples": 70,
}  # fmt: skip
"""In place of sizes that are printed."""
OTHERS = ("README.zh.md", "docs/gallery.md", "docs/auto.md", "docs/checkpoints.md", "docs/own.md")
"""Whose commands are README's, a script's of its own (test_gallery.py), and walked in test_first_hour.py."""


def walked() -> Iterator[str]:
    """Pages with a command that no page before has."""
    seen = set[str]()
    for page in PAGES:
        printed = set(map(" ".join, commands(page)))
        if page not in OTHERS and not printed <= seen:
            yield page
        seen |= printed


def typed(arguments: list[str]) -> list[str]:
    """The command as the reader types it, in little time."""
    for word, own in READERS_OWN.items():
        arguments = [re.sub(rf"(^|=|\.){word}$", rf"\1{own}", a) for a in arguments]
    arguments = [a.replace("step_00001500", "step_00000005") for a in arguments]
    for field, value in ENOUGH.items():
        arguments = [re.sub(rf"^(--config\.{field})=.*", rf"\1={value}", a) for a in arguments]
    return arguments


@pytest.mark.slow
@pytest.mark.parametrize("page", list(walked()))
def test_commands_run_one_after_the_other(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cifar_checksums: Callable[..., Any],  # noqa: F811
) -> None:
    give(tmp_path, page, cifar_checksums)
    monkeypatch.chdir(tmp_path)
    with plugins_forgotten():
        for arguments in [*map(str.split, BEFORE.get(page, ())), *commands(page)]:
            line = " ".join(arguments).partition(" >")[0]
            if not any(part in line for part in LEFT_OUT):
                outcome = program(*typed(line.split()))
                assert outcome.status == 0, f"{line}\n{outcome.err[-3000:]}"
