"""``--mode describe``: the experiment in one screen, and the network layer by layer."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from run_lib.computing.speed import flop_rate
from tests.fixtures.score_sde_files import payload_of, save
from tests.fixtures.weights import Fixture
from tests.run_lib.program import TINY, Outcome, program, run

# ml_collections reads a configuration by a deprecated call of Python's.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def described(workdir: Path, config: object, *words: object, **overrides: object) -> Outcome:
    found = program("--config", config, "--mode", "describe", *words, "--workdir", workdir, **overrides)
    assert found.status == 0, found.err
    return found


def entries(found: Outcome) -> dict[str, str]:
    """The text of each entry, in one line, by its word."""
    lines = re.sub(r"\n {13}", " ", found.out).splitlines()
    return {line.split()[0]: line[13:] for line in lines}


def test_table_of_layers(tmp_path: Path) -> None:
    """DDPM on CIFAR-10 has 35,218,947 parameters (score_sde's own count); its GFLOP are those of the sum of
    its layers, which tests/models/test_describe.py checks."""
    *_, total = described(tmp_path, "configs/ddpm/cifar10.py", "layers").out.strip().splitlines()
    assert total.split()[:2] == ["total", "35,218,947"]
    assert float(total.split()[2].replace(",", "")) > 10


def test_upsampler_needs_its_low_resolution_image(tmp_path: Path) -> None:
    """311,795,910 parameters (guided-diffusion's flags), on the meta device: no gigabyte is taken."""
    found = described(tmp_path, "configs/adm/imagenet_64_256_upsampler.py")
    assert entries(found)["network"].startswith("311,795,910 parameters")


def test_the_experiment_is_told(tmp_path: Path) -> None:
    """The defaults of score_sde for CIFAR-10; 1000 Euler steps are 1000 evaluations, the last of which denoises."""
    told = entries(described(tmp_path, "configs/ddpm/cifar10.py", device="cpu"))
    assert "cpu" in told["config"]
    assert "CIFAR10; samples of shape (3, 32, 32), 256 levels seen in [-1, 1]" in told["data"]
    assert told["network"].startswith("35,218,947 parameters, ")
    assert "1,300,001 steps of 128 samples in float32" in told["objective"]
    assert told["sampler"].startswith("1000 evaluations a sample: ancestral_sampling")
    # 128 images; weights, gradient, two moments, one average: 5 x 4 bytes of each parameter, 671.8 MiB.
    assert f"{5 * 4 * 35_218_947 / 2**20:.4g} MiB of weights" in told["memory"]
    assert "are free on cpu" in told["memory"]
    assert f"checkpoints/ of {4 * 4 * 35_218_947 / 2**20:.4g} MiB each" in told["writes"]
    assert told["writes"].startswith(f"{tmp_path} (")


@pytest.mark.parametrize(
    ("fields", "evaluations"),
    [
        ({"sampling__predictor": "ddim", "sampling__num_steps": 10}, 10),
        # Of 10 steps, 9 go to a next time by two evaluations each, and the last denoises by one.
        ({"sampling__predictor": "heun", "sampling__num_steps": 10}, 19),
        # A corrector has an evaluation of its own at each time.
        (
            {
                "sampling__predictor": "euler_maruyama",
                "sampling__corrector": "langevin",
                "sampling__num_steps": 7,
            },
            14,
        ),
    ],
)
def test_evaluations_are_counted(fields: dict[str, object], evaluations: int, tmp_path: Path) -> None:
    told = entries(described(tmp_path, TINY, **fields))
    assert told["sampler"].startswith(f"{evaluations} evaluations a sample: {fields['sampling__predictor']}")


def test_what_the_tolerances_decide_is_not_counted(tmp_path: Path) -> None:
    assert "as its tolerances take" in entries(described(tmp_path, TINY, sampling__method="ode"))["sampler"]


def test_times_follow_the_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1 GFLOP/s a step of B samples takes 3 B times the GFLOP of an image in seconds."""
    monkeypatch.setattr("run_lib.describe.flop_rate", lambda device: 1e9)
    told = entries(
        described(tmp_path, "configs/ddpm/cifar10.py", training__batch_size=2, training__n_iters=10)
    )
    gflop = float(re.search(r"([\d.]+) GFLOP an image", told["network"])[1])  # type: ignore[index]
    assert (
        f"a step {round(6 * gflop / 60)} min" in told["time"]
        or f"a step {int(6 * gflop // 60)} min" in told["time"]
    )
    assert "at the 1 GFLOP/s" in told["time"]


def test_a_device_has_a_rate() -> None:
    rate = flop_rate(torch.device("cpu"))
    assert math.isfinite(rate)
    assert 1e7 < rate < 1e14


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", ["ncsnpp/cifar10_ve_continuous", "adm/imagenet_512", "adm/digits_guided", "auto/64", "toy/moons_mlp",
               "adm/digits_classifier", "toy/mixture_2d", "edm2/digits"]
)  # fmt: skip
def test_one_screen(config: str, tmp_path: Path) -> None:
    """At most 40 lines of 100 columns, what is automatic included; nothing is made."""
    lines = described(tmp_path / "none", config, device="cpu").out.splitlines()
    assert 8 <= len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert not (tmp_path / "none").exists()


def test_what_was_automatic_is_told_with_its_reason(tmp_path: Path) -> None:
    told = entries(described(tmp_path, "auto/64", device="cpu"))["auto"]
    assert "training.precision=" in told
    assert "(twenty snapshots)" in told
    assert not told.endswith("...")


def score_sde(tmp_path: Path, **changes: object) -> tuple[Path, dict[str, object]]:
    """A file of score_sde's DDPM at 16 pixels, and the fields that make its network."""
    fixture = Fixture("score_sde/ddpm.npz")
    file = save(payload_of(fixture), tmp_path)
    fields = {
        "model__nf": 32,
        "model__ch_mult": "(1,2)",
        "model__num_res_blocks": 1,
        "model__attn_resolutions": "(8,)",
    }
    return file, {"data__image_size": 16, "device": "cpu", "init_from": file, **fields, **changes}


def test_weights_that_fit_are_told(tmp_path: Path) -> None:
    """Whose they are, and that each is the network's; without a file there is nothing to tell."""
    file, fields = score_sde(tmp_path)
    told = entries(described(tmp_path / "none", "configs/ddpm/cifar10.py", **fields))
    count = len(Fixture("score_sde/ddpm.npz").weights)
    wanted = f"{file}: family score_sde, step 7; its {count} tensors fit the network"
    assert told["weights"].replace(" ", "") == wanted.replace(" ", "")  # of a long path, broken
    assert not (tmp_path / "none").exists()
    assert "weights" not in entries(described(tmp_path, TINY))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, fields = score_sde(tmp_path, model__nf=64)
    error = program(
        "--config", "configs/ddpm/cifar10.py", "--mode", "describe", "--workdir", tmp_path, **fields
    ).error
    assert "of another shape" in error


def test_the_checkpoint_of_the_work_directory_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that it goes before a file of weights."""
    monkeypatch.chdir(tmp_path)
    run(TINY, "train", Path("run"), training__n_iters=1)
    latest = "run/checkpoints/step_00000001.pt"
    assert entries(described(Path("run"), TINY))["weights"] == latest
    beside = entries(described(Path("run"), TINY, init_from=latest))["weights"]
    assert beside.startswith(
        f"{latest}, of the work directory, before those of {latest}: family ours, step 1; its "
    )


def test_another_word_is_refused(tmp_path: Path) -> None:
    error = program("--config", TINY, "--mode", "describe", "layer", "--workdir", tmp_path).error
    assert "'layers'" in error
    assert "'layer'" in error
