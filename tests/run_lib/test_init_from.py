"""Starting from published weights and training runs, through a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from models.checkpoints import loader
from run_lib.config import plans
from run_lib.config.training import TrainingPlan
from run_lib.run import Run
from tests.fixtures.score_sde_files import payload_of, save, with_moments
from tests.fixtures.weights import Fixture
from tests.run_lib.planned import planned

OF_NCSNPP = (
    *("embedding_type", "fir", "fir_kernel", "skip_rescale", "resblock_type", "init_scale", "fourier_scale"),
    *("progressive", "progressive_input", "progressive_combine"),
)


def plan_of(fixture: Fixture, **fields: Any) -> TrainingPlan:
    """The plan whose configuration has the fields of the fixture's ancestor config, as a user's file would."""
    theirs = fixture.meta["config"]
    sections = {section: dict(theirs[section]) for section in ("model", "data", "training")}
    # The program that made the fixtures sets the same fields for all; a file for ddpm has none of these.
    sections["data"].pop("channels")
    if theirs["model"]["name"] == "ddpm":
        sections["model"] = {k: v for k, v in sections["model"].items() if k not in OF_NCSNPP}
    config = ConfigDict(sections)
    config.data.dataset = "CIFAR10"
    config.device = "cpu"
    for name, value in fields.items():
        config[name] = value
    plan: TrainingPlan = planned(config, plans.training)
    return plan


def run_in(folder: Path) -> Run:
    return Run(folder, "eval", "configs/example.py")


@pytest.mark.parametrize("name", ["ddpm", "ddpmpp", "ncsnpp_ve_continuous", "ncsnpp_ve_output_skip"])
def test_published_weights_through_the_configuration(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ancestor's own fields and file give the ancestor's own output; the load says what it did."""
    fixture = Fixture(f"score_sde/{name}.npz")
    plan = plan_of(fixture, init_from=str(save(payload_of(fixture), tmp_path)))
    weights = run_in(tmp_path).weights(plan.subject)
    with torch.no_grad():
        output = weights.network(fixture["x"], fixture["labels"])
    expected = fixture["output"]
    assert float((output - expected).norm() / expected.norm()) < 1e-5
    printed = capsys.readouterr().out
    assert "family score_sde, step 7" in printed
    assert "optimizer: the optimizer's state is no weight" in printed
    assert weights.step == 0


@pytest.mark.parametrize("field", ["init_from", "resume_from"])
def test_a_file_is_read_once(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published files are gigabytes; what is asked of their content is asked of what was read."""
    fixture, read = Fixture("score_sde/ddpm.npz"), []
    payload = payload_of(fixture)
    payload["optimizer"] = {
        "state": {},
        "param_groups": [
            {"params": [i for i, name in enumerate(payload["model"]) if name != "module.sigmas"]}
        ],
    }
    plan = plan_of(fixture, **{field: str(save(payload, tmp_path))})
    whole = loader.read_payload
    monkeypatch.setattr(loader, "read_payload", lambda path: (read.append(path), whole(path))[1])
    run_in(tmp_path).new_state(plan)
    assert len(read) == 1


def test_raw_weights_on_request(tmp_path: Path) -> None:
    """The file's raw weights are its averaged ones plus one (``payload_of``)."""
    fixture = Fixture("score_sde/ddpm.npz")
    path = str(save(payload_of(fixture), tmp_path))
    averaged = run_in(tmp_path).new_state(plan_of(fixture, init_from=path)).network
    raw = run_in(tmp_path).new_state(plan_of(fixture, init_from=path, init_from_ema=False)).network
    for a, r in zip(averaged.parameters(), raw.parameters(), strict=True):
        torch.testing.assert_close(r, a + 1.0)


def test_resumed_run_has_both_and_its_step(tmp_path: Path) -> None:
    """Raw weights in the network, averaged ones in the average, each moment beside its own weight: the file's
    first moments are made the raw weights themselves, so they must equal them here too."""
    fixture = Fixture("score_sde/ncsnpp_ve_continuous.npz")
    payload = payload_of(fixture)
    raw = [w for name, w in payload["model"].items() if not name.endswith("sigmas")]
    trained = [i for i, name in enumerate(fixture.weights) if not name.endswith(".W") or "NIN" in name]
    payload["optimizer"] = {
        "state": {i: {"step": 7, "exp_avg": raw[i].clone(), "exp_avg_sq": raw[i] ** 2} for i in trained},
        "param_groups": [{"lr": 2e-4, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(raw)))}],
    }
    plan = plan_of(fixture, resume_from=str(save(payload, tmp_path)))
    state = run_in(tmp_path).trained_state(plan)
    assert (state.step, state.ema.num_updates) == (7, 7)
    weights = dict(state.network.named_parameters())
    for name, average in state.ema.shadow.items():
        torch.testing.assert_close(weights[name], average + 1.0)
    moments = state.optimizer.state
    for p in state.optimizer.param_groups[0]["params"]:
        assert torch.equal(moments[p]["exp_avg"], p)
        assert float(moments[p]["step"]) == 7
    assert state.optimizer.param_groups[0]["lr"] == plan.optimisation.lr


def test_the_first_step_of_a_resumed_run_is_adams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Step 8 from moments m = w - 1, v = w^2 with the gradient w / 2, element by element (Kingma & Ba 2015, algorithm
    1): the weights of images are channels last in memory, the file's moments contiguous."""
    fixture = Fixture("score_sde/ddpm.npz")
    payload = with_moments(payload_of(fixture))
    payload["optimizer"]["param_groups"][0] |= {"eps": 1e-4, "weight_decay": 0.0, "initial_lr": 1.0}
    plan = plan_of(fixture, resume_from=str(save(payload, tmp_path)))
    state = run_in(tmp_path).trained_state(plan)
    assert "continues with eps=1e-08 (was 0.0001) of the optimizer\n" in capsys.readouterr().err
    parameters = list(state.network.parameters())
    assert any(not p.is_contiguous() for p in parameters)
    before = [p.detach().double().clone() for p in parameters]
    for p in parameters:
        p.grad = p.detach() / 2
    state.optimizer.step()
    for p, w in zip(parameters, before, strict=True):
        m, v = 0.9 * (w - 1) + 0.1 * w / 2, 0.999 * w**2 + 0.001 * (w / 2) ** 2
        step = m / (1 - 0.9**8) / ((v / (1 - 0.999**8)).sqrt() + 1e-8)
        torch.testing.assert_close(p.detach().double(), w - plan.optimisation.lr * step, rtol=1e-5, atol=1e-6)


def test_further_averages_of_a_resumed_run_set_out_from_the_files(tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    payload = with_moments(payload_of(fixture))
    plan = plan_of(fixture, resume_from=str(save(payload, tmp_path)))
    plan = replace(
        plan, subject=replace(plan.subject, averages=replace(plan.subject.averages, ema_rates=(0.99,)))
    )
    weights = run_in(tmp_path).weights(plan.subject)
    own = dict(weights.network.named_parameters())
    for name, average in weights.averages[0.99].shadow.items():
        torch.testing.assert_close(own[name], average + 1.0)


def test_both_starts_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"init_from starts from weights.*set one"):
        plan_of(Fixture("score_sde/ddpm.npz"), init_from="a.pth", resume_from="b.pth")


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    """A training checkpoint of guided-diffusion is weights; its optimizer is a file of its own."""
    fixture = Fixture("score_sde/ddpm.npz")
    path = tmp_path / "model.pt"
    names = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight")
    torch.save({name: torch.zeros(1) for name in names}, path)
    with pytest.raises(
        ValueError, match=r"model\.pt holds weights and no state of a training run.*init_from"
    ):
        run_in(tmp_path).new_state(plan_of(fixture, resume_from=str(path)))


def test_range_of_checkpoints_that_are_not_there(tmp_path: Path) -> None:
    """score_sde's files evaluate checkpoints 9 to 26: the first that is missing is named, and what to do."""
    plan = plan_of(Fixture("score_sde/ddpm.npz"))
    with pytest.raises(ValueError, match=r"(?s)no checkpoint of step 450000.*begin_ckpt=0") as error:
        run_in(tmp_path).weights(plan.subject, 9 * 50_000)
    assert "--mode train" in str(error.value)
