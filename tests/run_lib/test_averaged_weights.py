"""Every mode takes the averaged weights, and of several averages the one that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.run_lib.program import TINY, run
from tests.run_lib.test_convert import converted, new_state, run_in
from tests.run_lib.test_convert import tiny as ddpm

FIELDS: dict[str, Any] = {
    "model__ema_rates": "(0.5,)", "sampling__num_samples": 2, "sampling__num_steps": 3, "training__n_iters": 2,
}  # fmt: skip
CHECKPOINT = "checkpoints/step_00000002.pt"


def arrays(file: str) -> Callable[[Path], list[float]]:
    def held(workdir: Path) -> list[float]:
        with np.load(workdir / file) as found:
            values: list[float] = found["arr_0"].astype(float).flatten().tolist()
        return values

    return held


def reported(workdir: Path) -> list[float]:
    return [one["value"] for one in json.loads((workdir / "eval/report.json").read_text())["numbers"]]


def scored(workdir: Path) -> list[float]:
    rows = json.loads((workdir / "tune/table.json").read_text())["rows"]
    return [
        value for row in rows for key, value in row.items() if isinstance(value, float) and key != "seconds"
    ]


def grid_times(workdir: Path) -> list[float]:
    (held,) = json.loads((workdir / CHECKPOINT).with_suffix(".grids.json").read_text())["grids"]
    return [*held["times"], held["error"]]


def errors(workdir: Path) -> list[float]:
    lines = (workdir / "reconstruct/table.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[1]) for line in lines]


MODES: dict[str, tuple[str, dict[str, Any], Callable[[Path], list[float]]]] = {
    "sample": ("sample", {}, arrays("samples/samples.npz")),
    "eval": (
        "eval",
        {"eval__bpd_num_images": 2, "eval__enable_sampling": False, "eval__batch_size": 360},
        reported,
    ),
    "tune": (
        "tune",
        {
            "tune__sweep": "num_steps=3",
            "tune__num_samples": 24,
            "tune__features": "pca",
            "tune__repeats": 2,
            "tune__rows": 0,
        },
        scored,
    ),
    "grid": (
        "tune",
        {
            "tune__grid": True,
            "tune__pilot_samples": 2,
            "sampling__predictor": "ddim",
            "sampling__num_steps": 2,
        },
        grid_times,
    ),
    "inpaint": ("control", {"control__num_images": 2}, arrays("control/inpaint/results.npz")),
    "interpolate": (
        "control",
        {"control__task": "interpolate", "control__num_images": 2},
        arrays("control/interpolate/results.npz"),
    ),
    "reconstruct": ("reconstruct", {"reconstruct__input": "test", "reconstruct__num_images": 2}, errors),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint's content, to be filled with weights."""
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir, **FIELDS)
    content: dict[str, Any] = torch.load(workdir / CHECKPOINT, weights_only=True)
    return content


def written(workdir: Path, content: dict[str, Any], **seeds: int) -> Path:
    """A work directory whose checkpoint has weights drawn by these seeds, raw and averaged."""

    def drawn(seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shapes = content["model"].items()
        return {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in shapes}

    held = {
        **content,
        "model": drawn(seeds["raw"]),
        "ema": {**content["ema"], "shadow": drawn(seeds["ema"])},
        "averages": {0.5: {**content["averages"][0.5], "shadow": drawn(seeds["further"])}},
    }
    (workdir / CHECKPOINT).parent.mkdir(parents=True)
    torch.save(held, workdir / CHECKPOINT)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("which", MODES)
def test_the_averaged_weights_are_used(which: str, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    """Whatever the raw weights and the other averages are, results are those of the average that is asked for."""
    mode, fields, read = MODES[which]
    places = {
        "first": {"raw": 2, "ema": 1, "further": 3},
        "further": {"raw": 4, "ema": 3, "further": 1},
        "another": {"raw": 1, "ema": 2, "further": 1},
    }
    found = {}
    for name, seeds in places.items():
        used = {"model__used_ema_rate": 0.5} if name == "further" else {}
        workdir = written(tmp_path / name, checkpoint, **seeds)
        run(TINY, mode, workdir, **{**FIELDS, **fields, **used})
        found[name] = read(workdir)
    assert len(found["first"]) > 0
    assert found["further"] == found["first"]
    assert found["another"] != found["first"], "other weights have other results"


@pytest.mark.parametrize(
    ("to", "read"),
    [
        ("safetensors", load_file),
        ("diffusers", lambda path: load_file(path / "diffusion_pytorch_model.safetensors")),
        (
            "score_sde",
            lambda path: dict(enumerate(torch.load(path, weights_only=True)["ema"]["shadow_params"])),
        ),
    ],
)
def test_other_formats_have_the_average_that_is_asked_for(to: str, read: Any, tmp_path: Path) -> None:
    """Of the averages one is all ones and one all twos."""
    config = ddpm("ddpm", "vpsde", continuous=False, ema_rates=(0.5,))
    state = new_state(config, tmp_path)
    for average, value in ((state.ema, 1.0), (state.averages[0.5], 2.0)):
        for shadow in average.shadow.values():
            shadow.fill_(value)
    checkpoints = run_in(tmp_path).checkpoints
    checkpoints.folder.mkdir()
    state.save(checkpoints.path(0), config.to_dict())
    for used, value in ((None, 1.0), (0.5, 2.0)):
        with config.ignore_type():
            config.model.used_ema_rate = used
        path = converted(config, tmp_path, to)
        held = read(path)
        path.rename(tmp_path / f"of_{used}")  # nothing is overwritten
        learnt = [weights for name, weights in held.items() if "sigmas" not in str(name)]
        assert learnt and all(bool((weights == value).all()) for weights in learnt)
