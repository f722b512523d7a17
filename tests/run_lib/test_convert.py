"""``--mode convert`` and the way back, on runs of two or three training steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from configs.base import get_config as default
from run_lib.config import plans
from run_lib.convert import convert
from run_lib.run import Run
from run_lib.training.loop import train
from run_lib.training.state import TrainState
from tests.run_lib.planned import planned

# TensorBoard's own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def tiny(model: str, sde: str, *, continuous: bool, **fields: Any) -> ConfigDict:
    """A small network on digits."""
    config = default()
    config.device = "cpu"
    config.data.update(
        {"dataset": "digits", "image_size": 8, "num_channels": 1, "levels": 17, "random_flip": False}
    )
    config.model.update(
        {"name": model, "nf": 32, "ch_mult": (1, 1), "num_res_blocks": 1, "attn_resolutions": ()}
    )
    config.model.update({"dropout": 0.0, **fields})
    config.training.update(
        {"sde": sde, "continuous": continuous, "n_iters": 2, "batch_size": 4, "eval_freq": 100}
    )
    config.training.snapshot_sampling = False
    config.sampling.predictor = "ancestral_sampling"
    config.optim.warmup = 0
    return config


def ncsnpp(**fields: Any) -> ConfigDict:
    """With frozen Fourier frequencies, which an optimizer and an average pass over."""
    return tiny("ncsnpp", "vesde", continuous=True, **fields)


def run_in(folder: Path) -> Run:
    return Run(folder, "eval", "configs/example.py")


def trained(config: ConfigDict, folder: Path) -> Run:
    train(planned(config, plans.training), run_in(folder))
    return run_in(folder)


def new_state(config: ConfigDict, folder: Path) -> TrainState:
    return run_in(folder).new_state(planned(config, plans.training))


def trained_state(config: ConfigDict, folder: Path) -> TrainState:
    return run_in(folder).trained_state(planned(config, plans.training))


def converted(config: ConfigDict, folder: Path, to: str) -> Path:
    """The path of the converted latest checkpoint, or of ``init_from`` or ``resume_from``."""
    config.convert.to, config.convert.path = to, str(folder / f"converted_{to}")
    convert(planned(config, plans.conversion), run_in(folder))
    return folder / f"converted_{to}"


def assert_same(a: TrainState, b: TrainState) -> None:
    """Every bit that training goes on from."""
    assert (a.step, a.ema.num_updates) == (b.step, b.ema.num_updates)
    for (name, p), q in zip(a.network.named_parameters(), b.network.parameters(), strict=True):
        assert torch.equal(p, q), name
    for name, average in a.ema.shadow.items():
        assert torch.equal(average, b.ema.shadow[name]), name
    ours, theirs = a.optimizer.state_dict()["state"], b.optimizer.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for place, held in ours.items():
        assert all(torch.equal(held[key], theirs[place][key]) for key in held), place


@pytest.mark.slow
def test_to_the_ancestor_and_back_continues_bit_for_bit(tmp_path: Path) -> None:
    """Two steps here, its format, ours again: the same state; and a third step from it is the third step."""
    trained(ncsnpp(), tmp_path / "direct")
    theirs = converted(ncsnpp(), tmp_path / "direct", "score_sde")
    assert torch.load(theirs, weights_only=True)["step"] == 2

    config = ncsnpp()
    config.resume_from = str(theirs)
    assert_same(trained_state(ncsnpp(), tmp_path / "direct"), trained_state(config, tmp_path / "elsewhere"))

    longer, resumed = ncsnpp(), config.copy_and_resolve_references()
    longer.training.n_iters = resumed.training.n_iters = 3
    trained(longer, tmp_path / "direct")
    trained(resumed, tmp_path / "elsewhere")
    assert_same(trained_state(longer, tmp_path / "direct"), trained_state(resumed, tmp_path / "elsewhere"))


@pytest.mark.slow
def test_ancestors_training_checkpoint_becomes_ours(tmp_path: Path) -> None:
    """Converted to our format it is found, and gone on with, like any checkpoint of ours."""
    trained(ncsnpp(), tmp_path / "direct")
    config = ncsnpp()
    config.resume_from = str(converted(ncsnpp(), tmp_path / "direct", "score_sde"))
    config.convert.path = str(tmp_path / "moved/checkpoints/step_00000002.pt")
    convert(planned(config, plans.conversion), run_in(tmp_path / "moved"))
    assert_same(trained_state(ncsnpp(), tmp_path / "direct"), trained_state(ncsnpp(), tmp_path / "moved"))


def test_safetensors_hold_the_averaged_weights_and_say_what_they_are(tmp_path: Path) -> None:
    from safetensors import safe_open

    config = tiny("adm", "ddpm", continuous=False, num_groups=8)
    trained(config, tmp_path)
    averages = trained_state(config, tmp_path).ema.shadow
    path = converted(config, tmp_path, "safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["step"] == "2"
    assert json.loads(metadata["config"])["model"]["name"] == "adm"

    config.init_from = str(path.rename(path.with_suffix(".safetensors")))
    state = trained_state(config, tmp_path / "elsewhere")
    for name, average in averages.items():
        assert torch.equal(dict(state.network.named_parameters())[name], average)


@pytest.mark.slow
def test_own_checkpoint_as_published_weights(tmp_path: Path) -> None:
    """``init_from`` a training checkpoint of ours: averages by default, raw on request, step 0."""
    run = trained(ncsnpp(), tmp_path)
    state, config = trained_state(ncsnpp(), tmp_path), ncsnpp()
    config.init_from = str(run.checkpoints.latest())
    averaged = dict(new_state(config, tmp_path / "a").network.named_parameters())
    assert all(torch.equal(averaged[name], average) for name, average in state.ema.shadow.items())
    config.init_from_ema = False
    raw = new_state(config, tmp_path / "b")
    assert raw.step == 0
    for p, q in zip(raw.network.parameters(), state.network.parameters(), strict=True):
        assert torch.equal(p, q)


def test_to_diffusers_and_back(tmp_path: Path) -> None:
    """A folder with its scheduler; it loads into the configuration it came from, and no other process."""
    pytest.importorskip("diffusers")

    def config(**fields: Any) -> ConfigDict:
        return tiny("ddpm", "vpsde", continuous=False, num_scales=100, beta_max=15.0, **fields)

    trained(config(), tmp_path)
    folder = converted(config(), tmp_path, "diffusers")
    scheduler = json.loads(next(folder.rglob("scheduler_config.json")).read_text())
    assert scheduler["num_train_timesteps"] == 100
    assert scheduler["beta_end"] == pytest.approx(0.15)

    again = config()
    again.init_from = str(folder)
    weights = dict(new_state(again, tmp_path / "b").network.named_parameters())
    for name, average in trained_state(config(), tmp_path).ema.shadow.items():
        assert torch.equal(weights[name], average)

    other = config()
    other.init_from, other.model.beta_max = str(folder), 20.0
    with pytest.raises(ValueError, match=r"(?s)trained with another process.*--config\.model\.beta_max=15"):
        new_state(other, tmp_path / "c")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "to", "message"),
    [
        (
            tiny("adm", "ddpm", continuous=False, num_groups=8),
            "score_sde",
            "score_sde family has no network like ADM",
        ),
        (tiny("ddpm", "subvpsde", continuous=True), "diffusers", "no scheduler of continuous 'subvpsde'"),
        (
            ncsnpp(),
            "onnx",
            "config.convert.to is one of ours, safetensors, score_sde, diffusers, dit, config; got 'onnx'.",
        ),
    ],
)
def test_formats_that_do_not_have_it(config: ConfigDict, to: str, message: str, tmp_path: Path) -> None:
    trained(config, tmp_path)
    with pytest.raises(ValueError, match=message):
        converted(config, tmp_path, to)
    assert not (tmp_path / f"converted_{to}").exists()


def test_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no checkpoint in"):
        converted(ncsnpp(), tmp_path, "ours")
