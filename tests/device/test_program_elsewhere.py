"""The program on another device: every mode, from the command line to the files it writes.

``config.device`` names ``tests.devices.elsewhere``, which refuses to mix with the CPU. What is written must be what a
run on the CPU writes, number for number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.devices import ELSEWHERE, elsewhere
from tests.run_lib.program import ROOT, TINY, Outcome, numbers, program, run

TOYS = sorted(path.stem for path in (ROOT / "configs/toy").glob("[!_]*.py"))
MIXTURE = ROOT / "configs/toy/mixture_2d.py"
FEW = {"sampling__num_steps": 3, "sampling__num_samples": 8, "data__num_draws": 30, "eval__bpd_num_images": 3}
Run = Callable[..., Outcome]


def there(*arguments: Any, **fields: Any) -> Outcome:
    """The same run on the other device."""
    with elsewhere():
        return run(*arguments, device=ELSEWHERE, **fields)


def here(*arguments: Any, **fields: Any) -> Outcome:
    return run(*arguments, device="cpu", **fields)


def both(tmp_path: Path) -> tuple[tuple[Run, Path], tuple[Run, Path]]:
    return (here, tmp_path / "here"), (there, tmp_path / "there")


def values(workdir: Path) -> dict[str, float]:
    return {name: number["value"] for name, number in numbers(workdir).items()}


@pytest.mark.slow
def test_a_toy_from_beginning_to_end(tmp_path: Path) -> None:
    """Its data are drawn from a density that lies on the device."""
    for command, workdir in both(tmp_path):
        command(MIXTURE, "all", workdir, eval__enable_bpd=True, eval__enable_sampling=True, **FEW)
    assert values(tmp_path / "here") == values(tmp_path / "there")
    assert {number["arithmetic"] for number in numbers(tmp_path / "there").values()} == {"float32 on meta"}


@pytest.mark.slow
def test_tune_grid_and_control_of_a_chain(tmp_path: Path) -> None:
    image = ROOT / "configs/toy/gaussian_image.py"
    chain = {"training__sde": "ddpm", "sampling__predictor": "ddim", "sampling__grid": "log_snr",
             "sampling__chain": "interpolated", "sampling__num_steps": 3, "data__num_draws": 30}  # fmt: skip
    for command, workdir in both(tmp_path):
        command(image, "tune", workdir, tune__grid=True, tune__pilot_samples=4, **chain)
        command(image, "control", workdir, control__task="sdedit", control__num_images=2, **chain)
        command(image, "reconstruct", workdir, reconstruct__input="test", reconstruct__num_images=2, **chain)
    for name in ("control", "reconstruct"):
        files = sorted(p for p in (tmp_path / "here").rglob("*.png") if name in str(p))
        assert files
        for file in files:
            assert (
                file.read_bytes() == (tmp_path / "there" / file.relative_to(tmp_path / "here")).read_bytes()
            )


@pytest.mark.parametrize("name", [name for name in TOYS if name != "moons_mlp"])  # which has weights
def test_every_toy_is_described(name: str, tmp_path: Path) -> None:
    out = here(ROOT / f"configs/toy/{name}.py", "describe", tmp_path).out
    assert "network      0 parameters, 0 MFLOP an image" in out


TRAINED: dict[str, dict[str, Any]] = {
    "continuous": {},
    "learned variances": {"training__sde": "ddpm", "training__continuous": False, "model__variance": "learned_range",
                          "sampling__predictor": "ancestral_sampling", "training__times": "importance",
                          "data__uniform_dequantization": False},
}  # fmt: skip


@pytest.mark.parametrize("name", list(TRAINED))
@pytest.mark.slow
def test_training_and_what_follows(name: str, tmp_path: Path) -> None:
    """Weights after two steps, samples and a conversion."""
    fields = {**TRAINED[name], "training__n_iters": 2, "training__batch_size": 4, "sampling__num_samples": 2}
    for command, workdir in both(tmp_path):
        command(TINY, "train", workdir, **fields)
        command(TINY, "sample", workdir, **fields)
        command(TINY, "convert", workdir, **fields)
    for pattern in ("samples/*.npz", "checkpoints/step_00000002.pt"):
        (first,), (second,) = (list((tmp_path / place).glob(pattern)) for place in ("here", "there"))
        if first.suffix == ".npz":
            with np.load(first) as a, np.load(second) as b:
                assert {key: a[key].shape for key in a} == {key: b[key].shape for key in b}
        else:
            a, b = (torch.load(path, weights_only=True)["model"] for path in (first, second))
            # Attention is summed in another order there, and Adam's first steps have the size of the rate.
            assert all(torch.allclose(a[key], b[key], atol=1e-3) for key in a)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ode", "both"])
def test_likelihoods_and_samples_of_a_network(method: str, tmp_path: Path) -> None:
    fields = {
        "eval__enable_bpd": True,
        "eval__bpd_method": method,
        "eval__bpd_num_images": 2,
        "training__n_iters": 1,
    }
    if method == "both":
        fields["eval__bpd_levels"] = 3
    for command, workdir in both(tmp_path):
        command(TINY, "train", workdir, training__n_iters=1)
        command(TINY, "eval", workdir, **fields)
    first, second = (values(tmp_path / place) for place in ("here", "there"))
    assert first.keys() == second.keys() and len(first) >= 1
    for key in first:
        assert first[key] == pytest.approx(second[key], rel=1e-6)


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, device="cuda:77")
    assert "config.device=cuda:77 cannot be used" in outcome.error
