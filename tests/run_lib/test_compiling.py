"""config.compile: which batches are evaluated by a compiled network, when that pays, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from run_lib.automatic.compiling import MARGIN, WORTH, worthwhile
from run_lib.computing.numerics import Arithmetic, Compilation, Evaluator, in_float32
from run_lib.config.compiling import jobs
from run_lib.config.configuration import read
from tests.run_lib.program import TINY, program, run
from tests.run_lib.tiny import get_config as tiny

SAMPLED = {"device": "cpu", "sampling__num_samples": 6, "sampling__batch_size": 4}


@dataclass
class Given:
    """What a compiler was given: sizes of the batches that it evaluated, and what it compiled."""

    sizes: list[int] = field(default_factory=list)
    networks: list[nn.Module] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Given:
    """torch's compiler takes its time."""
    given = Given()

    def compile(function: Any, *, dynamic: bool) -> Any:
        assert dynamic is False
        (given.networks if isinstance(function, nn.Module) else given.steps).append(function)

        def call(*arguments: Any, **cond: Any) -> Any:
            given.sizes.append(len(next(a for a in arguments if isinstance(a, Tensor))))
            return function(*arguments, **cond)

        return call

    monkeypatch.setattr(torch, "compile", compile)
    return given


def test_batches_of_other_sizes_are_evaluated_as_they_are(compiled: Given) -> None:
    """Twice the size is a guided pair's."""
    evaluate = Evaluator(nn.Bilinear(1, 1, 1))
    with Arithmetic(compiled=Compilation((4,))).used():
        for size in (4, 3, 8, 2, 4):
            evaluate(torch.ones(size, 1), torch.ones(size, 1))
        with in_float32():
            evaluate(torch.ones(4, 1), torch.ones(4, 1))
    evaluate(torch.ones(4, 1), torch.ones(4, 1))
    assert compiled.sizes == [4, 8, 4]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiling")
    run(TINY, "train", folder, device="cpu")
    return folder


@pytest.mark.parametrize(
    ("mode", "settings", "sizes"),
    [
        ("train", {}, {8}),
        ("sample", SAMPLED, {4}),
        (
            "reconstruct",
            {"reconstruct__input": "test", "reconstruct__batch_size": 3, "reconstruct__num_images": 7},
            {3},
        ),
        (
            "tune",
            {
                "tune__sweep": "num_steps=2,3",
                "tune__repeats": 2,
                "tune__num_samples": 70,
                "sampling__batch_size": 35,
            },
            {35},
        ),
        ("eval", {"eval__enable_loss": False, "eval__enable_bpd": False, "sampling__batch_size": 35}, {35}),
        ("eval", {"eval__enable_loss": False, "eval__enable_sampling": False, "eval__batch_size": 3}, {3}),
    ],
)
@pytest.mark.slow
def test_each_work_is_compiled_for_its_batches(
    workdir: Path, tmp_path: Path, compiled: Given, mode: str, settings: dict[str, Any], sizes: set[int]
) -> None:
    run(TINY, mode, tmp_path if mode == "train" else workdir, compile="on", **settings)
    assert set(compiled.sizes) == sizes


def test_it_is_off_by_default(workdir: Path, compiled: Given) -> None:
    run(TINY, "sample", workdir, **SAMPLED)
    assert compiled.networks == compiled.steps == []
    assert json.loads((workdir / "samples/samples.json").read_text())["arithmetic"] == "float32 on cpu"


def test_samples_say_that_they_were_compiled(workdir: Path, compiled: Given) -> None:
    run(TINY, "sample", workdir, compile="on", **SAMPLED)
    assert (
        json.loads((workdir / "samples/samples.json").read_text())["arithmetic"]
        == "float32 on cpu, compiled with its steps"
    )


def test_without_a_compiler_it_is_off_and_said(
    workdir: Path, compiled: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = run(TINY, "sample", workdir, compile="on", **SAMPLED).out
    assert (
        "compile: off, as PyTorch compiles for CPUs by a C++ compiler, and there is no no-such-compiler"
        in said
    )
    assert compiled.networks == compiled.steps == []


def test_auto_says_what_it_chose_and_why(workdir: Path, compiled: Given) -> None:
    """Six samples of a tiny network."""
    said = run(TINY, "sample", workdir, compile="auto", **SAMPLED).out
    assert "compile: sampling off, of about" in said and "and takes 40 s" in said
    assert compiled.networks == compiled.steps == []


TUNED = {
    "tune__sweep": "num_steps=2,3,4",
    "tune__repeats": 2,
    "tune__num_samples": 70,
    "sampling__batch_size": 35,
    "sampling__predictor": "ddim",
}


@pytest.mark.slow
def test_a_sweep_has_one_network_which_is_compiled_once(workdir: Path, compiled: Given) -> None:
    """For all settings; the steps of each are its own."""
    run(TINY, "tune", workdir, compile="on", tune__folder="compiled", **TUNED)
    assert len(compiled.networks) == 1
    assert len(compiled.steps) == 2  # of two times there is one step, the first of its kind


@pytest.mark.slow
def test_of_a_sweep_auto_says_once_what_it_chose(workdir: Path, compiled: Given) -> None:
    said = run(TINY, "tune", workdir, compile="auto", tune__folder="auto", **TUNED)
    assert (said.out + said.err).count("compile: ") == 1


def test_a_sweeps_settings_are_all_counted() -> None:
    """Three settings of 50 steps and two sets of 70 samples."""
    fields = {**TUNED, "tune__sweep": "eta=0.1,0.2,0.3", "sampling__num_steps": 50}
    config = tiny()
    for name, value in fields.items():
        section, _, key = name.partition("__")
        config[section][key] = value
    found = jobs(read(config, [], "tune"))["sampling"]
    assert found.evaluations == 3 * 2 * 70 * 50


def test_shared_weights_are_not_compiled(tmp_path: Path) -> None:
    outcome = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path, compile="on", training__shard=True
    )
    assert "training.shard shares them among processes" in outcome.error


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("device", WORTH)
def test_auto_compiles_what_saves_twice_what_it_takes(device: str, half: bool) -> None:
    """Work of so many seconds that the share saved is 2 x the seconds of compiling is the boundary; a CPU's rate is
    that of its cores together."""
    worth = WORTH[device]
    cores = 6
    rate = worth.rate[half] * (cores if device == "cpu" else 1)
    flop = MARGIN * worth.seconds["training"] / worth.saved["networks"][half] * rate
    assert worthwhile(1.01 * flop, "training", device, cores, half).value is True
    assert worthwhile(0.99 * flop, "training", device, cores, half).value is False
    assert worthwhile(0.99 * flop, "forward", device, cores, half).value is True


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("device", WORTH)
def test_auto_compiles_steps_where_what_they_save_beside_networks_does(device: str, half: bool) -> None:
    """The same rule, of another share."""
    worth = WORTH[device]
    flop = MARGIN * worth.seconds["forward"] / worth.saved["steps"][half] * worth.rate[half]
    assert worthwhile(1.01 * flop, "forward", device, 1, half, "steps").value is True
    assert worthwhile(0.99 * flop, "forward", device, 1, half, "steps").value is False
    assert worthwhile(0.99 * flop, "forward", device, 1, half).value is True


def test_auto_leaves_unknown_devices_alone() -> None:
    assert worthwhile(1e30, "forward", "mps", 1, True).value is False


@pytest.mark.slow
def test_compiled_samples_are_the_plain_ones(workdir: Path) -> None:
    """The real compiler, to rounding of float32: levels of 17 differ in none but those at a border.

    Of a predictor whose steps are of one kind: each kind is compiled with a network of its own, for half a minute.
    """
    asked = {**SAMPLED, "sampling__predictor": "ddim"}
    plain = run(TINY, "sample", workdir, **asked) and np.load(workdir / "samples/samples.npz")["arr_0"]
    run(TINY, "sample", workdir, compile="on", **asked)
    fast = np.load(workdir / "samples/samples.npz")["arr_0"]
    assert (plain != fast).mean() < 0.01
