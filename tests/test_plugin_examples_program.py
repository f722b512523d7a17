"""The examples of own parts of the program: each from a folder of its own, by name, with a setting of its own.

Where nothing else is said the data are a point, N(m, 1e-12), so that the exact prediction of data is m. One time is
one evaluation: the closing estimate of clean data at T.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from configs.toy.gaussian_2d import get_config
from run_lib.config import plans
from run_lib.data.sources import register_dataset
from samplers.guidance import register_guidance
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run

EXAMPLES = ROOT / "examples/plugins"
POINT: dict[str, Any] = {"model__mean": "(1.0,-0.5)", "model__std": 1e-6}
ONE_STEP: dict[str, Any] = {"sampling__num_steps": 1, "sampling__num_samples": 20}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(name: str) -> str:
    shutil.copy(EXAMPLES / f"{name}.py", ".")
    return f"{name}.py"


def samples(workdir: Path, plugin: str, **settings: Any) -> np.ndarray:
    run(GAUSSIAN, "sample", workdir, plugins=copied(plugin), **{**POINT, **ONE_STEP, **settings})
    with np.load(workdir / "samples/samples.npz") as held:
        return np.asarray(held["arr_0"], dtype=np.float64)


@pytest.mark.parametrize(
    ("plugin", "component", "flag"),
    [
        ("optimizer", "nesterov", "optim.momentum=0.9"),
        ("schedule", "staircase", "optim.every=10000"),
        ("guidance", "towards", "guidance.width=1.0"),
        ("log_prob", "right_of_the_axis", "guidance.scale=1.0"),
        ("operator", "columns", "control.step=2"),
        ("posterior", "tempered", "control.temperature=0.1"),
        ("data_set", "moons", "data.width=0.05"),
        ("codec", "haar", "data.gain=1.0"),
        ("scorer", "energy", "tune.power=1.0"),
        ("metric", "energy_distance", "metrics.power=1.0"),
        ("extractor", "histogram", "extractors.bins=8"),
        ("denoised_fn", "shrunk", "sampling.keep=0.9"),
        ("mode", "speed", "mode.calls=10"),
        ("evaluation", "bias", "eval.bias_samples=100"),
    ],
)
def test_settings_are_listed(plugin: str, component: str, flag: str, folder: Path) -> None:
    """With flag, default and documentation."""
    outcome = program("--mode", "list", component, plugins=copied(plugin))
    assert outcome.status == 0, outcome.err
    lines = [line.strip() for line in outcome.out.splitlines()]
    (place,) = [k for k, line in enumerate(lines) if line.startswith(f"--config.{flag} ")]
    assert lines[place + 1], "its documentation"


def step(workdir: Path, **settings: Any) -> torch.Tensor:
    """The weights after one training step, joined."""
    alone = {
        "optim__grad_clip": 0.0,
        "optim__schedule": "constant",
        "optim__warmup": 0,
        "training__n_iters": 1,
    }
    run(TINY, "train", workdir, plugins=copied("optimizer"), optim__optimizer="nesterov", **alone, **settings)
    held = torch.load(workdir / "checkpoints/step_00000001.pt", weights_only=True)["model"]
    return torch.cat([value.flatten().double() for value in held.values()])


@pytest.mark.slow
def test_optimizer(folder: Path) -> None:
    """The first step is -lr (1 + momentum) g."""
    start = step(folder / "none", optim__lr=0.0)
    low, high = (step(folder / str(m), optim__lr=0.1, optim__momentum=m) - start for m in (0.5, 0.8))
    assert low.norm() > 0
    torch.testing.assert_close(high / 1.8, low / 1.5, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_schedule(folder: Path) -> None:
    """Falling by 1/4 every two steps, the rates of the second, fourth and sixth step are 1, 1/4 and 1/16 of lr."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fields = {"optim__schedule": "staircase", "optim__every": 2, "optim__staircase.factor": 0.25}
    run(TINY, "train", folder / "run", plugins=copied("schedule"), optim__lr=0.016, **fields)
    events = EventAccumulator(str(folder / "run/tensorboard"))
    events.Reload()
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([0.016, 0.004, 0.001])


def test_guidance(folder: Path) -> None:
    """The guided estimate at T is m + (sigma^2 / alpha) scale (target - m) / (width^2 + sigma^2)."""
    alpha = math.exp(-0.25 * 19.9 - 0.05)
    variance, mean = 1 - alpha**2, np.array([1.0, -0.5])
    guided = {"guidance__name": "towards", "guidance__target": 3.0, "guidance__width": 2.0}
    found = samples(folder / "run", "guidance", **guided, guidance__scale=0.01)
    expected = mean + variance / alpha * 0.01 * (3.0 - mean) / (4.0 + variance)
    assert np.abs(found - expected).max() < 1e-4


def test_log_prob(folder: Path) -> None:
    """Of eight points on a circle those on the right; at scale 0 the samples are the unguided ones."""
    found = {}
    for scale in (0.0, 3.0):
        guided = {"guidance__name": "right_of_the_axis", "guidance__scale": scale}
        few = {"sampling__num_steps": 20, "sampling__num_samples": 100}
        config = ROOT / "configs/toy/mixture_2d.py"
        run(config, "sample", folder / str(scale), plugins=copied("log_prob"), **guided, **few)
        with np.load(folder / str(scale) / "samples/samples.npz") as held:
            found[scale] = held["arr_0"]
    assert (found[0.0][:, 0] < -0.5).mean() > 0.2
    assert (found[3.0][:, 0] < -0.5).mean() < 0.02


IMAGE = ROOT / "configs/toy/gaussian_image.py"


def restored(workdir: Path, plugin: str, **control: Any) -> tuple[np.ndarray, float]:
    image = np.linspace(-0.9, 0.9, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    np.savez(workdir.with_suffix(".npz"), arr_0=image)
    settings = {"input": workdir.with_suffix(".npz"), "output": workdir / "out", **control}
    fields = {f"control__{name}": value for name, value in settings.items()}
    run(IMAGE, "control", workdir, plugins=copied(plugin), sampling__num_steps=20, **fields)
    with np.load(workdir / "out/results.npz") as held:
        residual = json.loads((workdir / "out/report.json").read_text())["mean"]["residual"]
        return np.asarray(held["arr_0"])[0].transpose(2, 0, 1) - image[0], float(residual)


def test_operator(folder: Path) -> None:
    """Known columns are the image's to the bit, the others are not."""
    error, _ = restored(folder / "run", "operator", task="columns", step=3, method="replacement")
    assert np.flatnonzero(np.abs(error[0]).max(0) == 0).tolist() == [0, 3, 6]


def test_posterior(folder: Path) -> None:
    """The colder, the nearer the samples come to the measurement."""
    residuals = [
        restored(folder / str(t), "posterior", task="superres", method="tempered", temperature=t)[1]
        for t in (0.01, 1.0, 100.0)
    ]
    assert residuals[0] < 0.85 * residuals[1]
    assert residuals[1] < residuals[2]


def test_data_set(folder: Path) -> None:
    """As many points as the setting says, and without noise all on one of the two half-circles."""
    few = {"eval__enable_bpd": False, "eval__num_samples": 50, "data__count": 300}
    run(GAUSSIAN, "eval", folder / "run", plugins=copied("data_set"), data__dataset="moons", **few)
    assert numbers(folder / "run")["frechet/training points to test points"]["count"] == 300
    points = register_dataset["moons"]("train", width=0.0, count=50).images
    centres = torch.tensor([[0.0, -0.25], [1.0, 0.25]])
    assert (torch.cdist(points, centres) - 1).abs().min(1).values.max() < 1e-6


def test_torch_data_set(folder: Path) -> None:
    """Read by a worker process: areas pi r^2 and a quarter of it, of 200 images with classes by name."""
    fields = {"data__dataset": "discs", "data__radius": 0.3, "data__num_workers": 1, "training__n_iters": 2}
    said = run(TINY, "train", folder / "run", plugins=copied("torch_data_set"), **fields).out
    assert "discs, train split: 200 images; 2 classes: small 100, large 100" in said
    drawn = register_dataset["discs"]("train", (1, 64, 64), 0.3)
    areas = torch.tensor([(drawn[k][0] == 16).double().mean() for k in range(200)])
    assert areas[1::2].mean().item() == pytest.approx(math.pi * 0.09, rel=0.05)
    assert areas[::2].mean().item() == pytest.approx(math.pi * 0.09 / 4, rel=0.05)


def test_scorer(folder: Path) -> None:
    """The energy distance of the very samples, by the power that was set."""
    tuned = {
        "scorer": "energy",
        "power": 0.5,
        "sweep": "num_steps=2,5",
        "num_samples": 30,
        "repeats": 2,
        "rows": 30,
    }
    fields = {f"tune__{name}": value for name, value in tuned.items()}
    run(GAUSSIAN, "tune", folder / "run", plugins=copied("scorer"), data__num_draws=40, **fields)
    part = folder / "run/tune/parts/num_steps=2_000"
    x = np.load(part.with_suffix(".npy")).astype(np.float64)
    spec = planned(get_config(), plans.sampling, {"data__num_draws": 40}).data
    y = np.concatenate([spec.load(split).images.double().numpy() for split in ("train", "test")])
    xy, xx, yy = ((cdist(a, b) ** 0.5).mean() for a, b in ((x, y), (x, x), (y, y)))
    (score,) = json.loads(part.with_suffix(".json").read_text())["scores"]
    assert score["metric"] == "energy"
    assert score["value"] == pytest.approx(2 * xy - xx - yy, rel=1e-6)


@pytest.mark.slow
def test_metric_in_the_space_of_an_extractor(folder: Path) -> None:
    """The energy distance of the very features, by the settings of both."""
    plugins = ",".join((copied("metric"), copied("extractor")))
    scored: dict[str, Any] = {
        "eval__enable_bpd": False,
        "eval__num_samples": 40,
        "eval__metrics": "energy_distance@histogram",
        "metrics__power": 0.5,
        "extractors__bins": 4,
    }
    run(TINY, "train", folder / "run")
    run(TINY, "eval", folder / "run", plugins=plugins, **scored)
    of = {
        json.loads(path.with_name("features.json").read_text())["of"]: np.load(path)
        for path in folder.glob("run/features/*/features.npy")
    }
    x, y = of["samples of step 6"], of["the train split of digits"]
    xy, xx, yy = ((cdist(a, b) ** 0.5).mean() for a, b in ((x, y), (x, x), (y, y)))
    assert (len(x), len(y)) == (40, 1437)
    assert (x.sum(1) == 1).all()
    found = numbers(folder / "run")["energy distance, histogram"]
    assert found["value"] == pytest.approx(2 * xy - xx - yy, rel=1e-6)


def test_denoised_fn(folder: Path) -> None:
    """Half-way from (1, -1/2) to its mean 1/4."""
    found = samples(folder / "run", "denoised_fn", sampling__denoised_fn="shrunk", sampling__keep=0.5)
    assert np.abs(found - [0.625, -0.125]).max() < 1e-4


def test_mode(folder: Path) -> None:
    outcome = run(GAUSSIAN, "speed", folder / "run", plugins=copied("mode"), mode__calls=3)
    assert outcome.out.startswith("3 evaluations, ")


def test_evaluation(folder: Path) -> None:
    """Samples of the exact score of a point have its mean."""
    only = {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_bias": True}
    run(
        GAUSSIAN, "eval", folder / "run", plugins=copied("evaluation"), eval__bias_samples=64, **only, **POINT
    )
    found = numbers(folder / "run")["bias"]
    assert found["count"] == 64
    assert found["value"] < 1e-3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"guidance__width": "wide"}, "--config.guidance.width=wide: a number is expected"),
        ({"guidance__width": -1.0}, "towards's width must be positive, got -1.0. (config.guidance.width)"),
        (
            {"guidance__widht": 1.0},
            "unknown config field config.guidance.widht. Did you mean config.guidance.width?",
        ),
        (
            {"guidance__towards.widht": 1.0},
            "unknown config field config.guidance.towards.widht. Did you mean",
        ),
        ({"guidance__name": "none", "guidance__width": 3.0}, "or set guidance.name='towards'"),
        ({"plugins": "", "guidance__width": 3.0}, "unknown config field config.guidance.width"),
        ({"plugins": "", "guidance__name": "towards"}, "unknown guidance 'towards'"),
    ],
)
def test_mistakes_with_settings_of_a_plugin(settings: dict[str, Any], says: str, folder: Path) -> None:
    """One line, before any work."""
    fields = {"plugins": copied("guidance"), "guidance__name": "towards", **settings}
    flags = [f"--config.{name.replace('__', '.')}={value}" for name, value in fields.items() if value != ""]
    # A plugin of an earlier test is still registered in this process.
    if "plugins" in settings:
        register_guidance._entries.pop("towards", None)
    assert (
        says in program("--config", GAUSSIAN, "--mode", "sample", "--workdir", folder / "run", *flags).error
    )
    assert not (folder / "run").exists()


def test_the_page_for_contributors_has_every_example_with_its_length() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        lines = sum(1 for line in path.read_text().splitlines() if line.strip())
        assert f"[{path.name}](examples/plugins/{path.name}), {lines} lines" in page
