"""The pages of a first hour: from files to samples and numbers, every command as printed, at toy size."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffusers import DDPMScheduler

from tests.conftest import plugins_forgotten
from tests.docs.pages import PAGES, commands, files
from tests.docs.reader import photographs
from tests.fixtures.nvlabs_files import of_fixture
from tests.fixtures.score_sde_files import payload_of, save
from tests.fixtures.weights import Fixture
from tests.models.test_diffusers_checkpoint import SMALL, random_unet
from tests.run_lib.program import ROOT, program

SCORE_SDE = """
from configs.default_cifar10_configs import get_default_configs


def get_config():
  config = get_default_configs()
  config.training.sde = 'vpsde'
  config.training.continuous = True
  config.sampling.method = 'pc'
  config.sampling.predictor = 'euler_maruyama'
  config.sampling.corrector = 'none'
  config.data.centered = True
  config.data.image_size = 16
  model = config.model
  model.name = 'ncsnpp'
  model.scale_by_sigma = False
  model.nf = 32
  model.ch_mult = (1, 2)
  model.num_res_blocks = 1
  model.attn_resolutions = (8,)
  model.resamp_with_conv = True
  model.conditional = True
  model.fir = False
  model.fir_kernel = [1, 3, 3, 1]
  model.skip_rescale = True
  model.resblock_type = 'biggan'
  model.progressive = 'none'
  model.progressive_input = 'none'
  model.progressive_combine = 'sum'
  model.embedding_type = 'positional'
  model.init_scale = 0.0
  return config
"""
"""A file of score_sde's, of DDPM++ at 16 pixels."""

CHECKPOINTS = "docs/checkpoints.md"
CPU = ("--config.device=cpu",)
FILES: dict[str, Callable[[Path], object]] = {
    "score_sde_pytorch": lambda here: (
        save(payload_of(Fixture("score_sde/ddpmpp.npz")), here, "checkpoint_26.pth"),
        (here / "my_config.py").write_text(SCORE_SDE),
    ),
    "guided-diffusion": lambda here: save(
        Fixture("guided_diffusion/unet_adm.npz").weights, here, "ema_0.9999_500000.pt"
    ),
    "EDM": lambda here: of_fixture(Fixture("edm/ncsnpp_ve.npz"), here / "network-snapshot-200000.pkl"),
    "diffusers": lambda here: (
        random_unet(SMALL["ddpm"]).save_pretrained(here / "my-ddpm/unet"),
        DDPMScheduler().save_pretrained(here / "my-ddpm/scheduler"),
    ),
}
"""Section of docs/checkpoints.md -> what its reader has."""
TOY = {
    "describe": CPU,
    "convert": (),
    "sample": (*CPU, "--config.sampling.num_steps=3", "--config.sampling.num_samples=2"),
    "eval": (*CPU, "--config.eval.bpd_num_images=2"),
}
"""Mode -> what makes it short."""
CHAINS = ("guided-diffusion", "diffusers")
"""Sections of which bits/dim are the variational bound."""
BOUNDS = {
    "vlb": ("--config.eval.bpd_respacing=4",),
    "ode": ("--config.eval.bpd_rtol=0.3", "--config.eval.bpd_atol=0.3"),
}


def mode_of(arguments: list[str]) -> str:
    return arguments[arguments.index("--mode") + 1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout to work in."""
    for name in ("configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bits(run: Path) -> float:
    """The bits/dim in the report of a run."""
    numbers = json.loads((run / "eval/report.json").read_text())["numbers"]
    return next(float(n["value"]) for n in numbers if n["unit"] == "bits/dim")


@pytest.mark.parametrize(
    "section", [pytest.param(s, marks=[] if s == "guided-diffusion" else pytest.mark.slow) for s in FILES]
)
def test_a_checkpoint_to_samples_and_bits_per_dimension(section: str, here: Path) -> None:
    photographs(here / "photos", 16, 60)
    FILES[section](here)
    seen = []
    for arguments in commands(CHECKPOINTS, section):
        mode = mode_of(arguments)
        size = [a.replace("=64", "=16") for a in arguments]  # of the images of the small network
        short = list(TOY[mode])
        if mode == "eval":
            short += BOUNDS["vlb" if section in CHAINS else "ode"]
        outcome = program(*size, *short)
        assert outcome.status == 0, f"{arguments}\n{outcome.err}"
        if mode == "describe":
            assert " tensors fit the network" in outcome.out
        seen.append(mode)
    assert seen[-3:] == ["describe", "sample", "eval"]
    (run,) = (here / "runs").glob("my_*")
    with np.load(run / "samples/samples.npz") as held:
        assert held["arr_0"].shape == (2, 16, 16, 3)
    assert math.isfinite(bits(run))


@pytest.mark.slow
def test_a_folder_to_samples_and_their_score(here: Path) -> None:
    photographs(here / "photographs", 8, 60)
    first = list(commands("docs/auto.md"))[:3]
    assert [mode_of(c) for c in first] == ["train", "sample", "eval"]
    network = [
        "--config.data.image_size=8",
        "--config.model.ch_mult=(1,)",
        "--config.model.num_res_blocks=1",
        *CPU,
    ]
    toy = {
        "train": [
            "--config.training.n_iters=2",
            "--config.training.batch_size=4",
            "--config.training.preview_images=2",
        ],
        "sample": ["--config.sampling.num_samples=2", "--config.sampling.num_steps=2"],
        "eval": ["--config.eval.num_samples=30", "--config.sampling.num_steps=2"],
    }
    for arguments in first:
        outcome = program(*arguments, *network, *toy[mode_of(arguments)])
        assert outcome.status == 0, outcome.err
    run = here / "runs/auto/64"
    assert (run / "samples/samples.png").is_file()
    assert (run / "report.html").is_file()
    numbers = {n["name"] for n in json.loads((run / "eval/report.json").read_text())["numbers"]}
    assert {"Fréchet distance, PCA", "precision, PCA", "recall, PCA", "copies, PCA", "loss/test"} <= numbers


@pytest.mark.slow
def test_a_predictor_with_a_setting_that_is_tuned(here: Path) -> None:
    for name, content in files("docs/own.md").items():
        (here / name).write_text(content)
    toy = {
        "train": ["--config.training.n_iters=2"],
        "sample": ["--config.sampling.num_samples=2", "--config.sampling.num_steps=3"],
        "tune": ["--config.tune.num_samples=70", "--config.tune.repeats=2", "--config.sampling.num_steps=2"],
    }
    with plugins_forgotten():
        for arguments in commands("docs/own.md"):
            outcome = program(*arguments, *toy[mode_of(arguments)], *CPU)
            assert outcome.status == 0, outcome.err
    run = here / "runs/ddpm/digits"
    assert json.loads((run / "tune/best.json").read_text())["damping"] in (0.97, 0.98, 0.99, 1.0)
    with (run / "tune/table.csv").open() as table:
        assert len(list(csv.DictReader(table))) == 4


def test_nothing_of_the_page_is_left_out() -> None:
    """Every section of commands has its files here."""
    sections = re.findall(r"^## (.+)$", PAGES[CHECKPOINTS], re.M)
    assert [s for s in sections if list(commands(CHECKPOINTS, s))] == list(FILES)
