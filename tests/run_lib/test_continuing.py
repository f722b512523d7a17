"""What goes on from a checkpoint under another configuration: which values take effect, and which are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict
from torch import Tensor

from configs.base import get_config as base
from run_lib.config import continuing, plans
from run_lib.config.configuration import RESOLVED, base_fields, read
from run_lib.config.continuing import Agreement, bearing_of_field, bearing_of_role, bearing_of_setting
from run_lib.config.roles import ROLES
from run_lib.run import Run
from run_lib.training.checkpoints import read_checkpoint
from run_lib.training.loop import train
from run_lib.training.optimisers import adam
from run_lib.training.state import Continued, TrainState, Weights, load_optimizer
from run_lib.training.steps import backward, make_batches
from tests.run_lib.planned import planned, with_fields
from tests.run_lib.program import TINY, program, run
from tests.run_lib.tiny import get_config as tiny

# TensorBoard's own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FIRST: dict[str, Any] = {
    "optim__optimizer": "Adam", "optim__schedule": "constant", "optim__warmup": 0, "optim__lr": 1e-2,
    "optim__weight_decay": 0.0, "optim__beta2": 0.99, "training__n_iters": 3, "training__snapshot_freq": 3,
}  # fmt: skip
MODES = ("train", "sample", "eval", "tune", "control", "reconstruct", "convert")


def plan_of(**fields: Any) -> Any:
    return planned(tiny(), plans.training, {**FIRST, **fields})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of step 3, of plain Adam."""
    workdir = tmp_path_factory.mktemp("before")
    train(plan_of(), Run(workdir))
    return workdir / "checkpoints/step_00000003.pt"


def beside(before: Path, workdir: Path) -> Path:
    """A work directory whose latest checkpoint is that one."""
    (workdir / "checkpoints").mkdir(parents=True)
    shutil.copy(before, workdir / "checkpoints")
    return workdir


def adams_steps(before: Path, count: int, clip: float, **adam: Any) -> list[Tensor]:
    """The weights after further steps by torch's own Adam of these settings, from the file's weights and moments."""
    plan, payload = plan_of(), torch.load(before, weights_only=True)
    network, batches = plan.subject.network, make_batches(plan)
    network.load_state_dict(payload["model"])
    state = TrainState(Weights.fresh(network, 0.9, (), True), plan.optimisation.make_optimizer(network))
    weights = [p for p in network.parameters() if p.requires_grad]
    plain = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
    optimizer = torch.optim.Adam(plain, foreach=False, fused=False, **adam)
    for at, w in enumerate(plain):
        held = payload["optimizer"]["state"][at]
        optimizer.state[w] = {k: v.clone(memory_format=torch.contiguous_format) for k, v in held.items()}
    for step in range(3, 3 + count):
        network.zero_grad()
        backward(state, plan, batches, step)
        norm = torch.stack([p.grad.norm() for p in weights]).norm()
        for w, p in zip(plain, weights, strict=True):
            w.grad = (p.grad * min(1.0, clip / float(norm))).contiguous()
        optimizer.step()
        with torch.no_grad():
            for w, p in zip(plain, weights, strict=True):
                p.copy_(w)
    return plain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({"optim__lr": 0.03, "optim__weight_decay": 0.5}, {"weight_decay": 0.5, "lr": 0.03}),
        ({"optim__beta1": 0.2, "optim__eps": 0.05}, {"betas": (0.2, 0.99), "eps": 0.05}),
        ({"optim__grad_clip": 0.01, "optim__beta2": 0.5}, {"betas": (0.9, 0.5), "clip": 0.01}),
    ],
)
def test_other_values_take_effect_in_the_next_steps(
    fields: dict[str, Any], settings: dict[str, Any], before: Path, tmp_path: Path, capsys: Any
) -> None:
    """Two steps of the program from the checkpoint are those of torch's Adam with the new values, not with the old."""
    was = {"optim__beta1": 0.9, "optim__eps": 1e-8, "optim__grad_clip": 1.0, **FIRST}
    train(plan_of(training__n_iters=5, **fields), Run(beside(before, tmp_path)))
    (listed,) = (line for line in capsys.readouterr().err.splitlines() if "continues with " in line)
    for field, value in fields.items():
        assert f"{field.replace('__', '.')}={value} (was {was[field]})" in listed
    assert "training.n_iters=5 (was 3)" in listed
    found = list(read_checkpoint(tmp_path / "checkpoints/step_00000005.pt")["model"].values())
    old = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "clip": 1.0}
    wanted, unchanged = (adams_steps(before, 2, **kind) for kind in ({**old, **settings}, old))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)
    assert max(float((a - b).abs().max()) for a, b in zip(wanted, unchanged, strict=True)) > 1e-3


@pytest.mark.parametrize(
    "saved", [{"fused": True}, {"foreach": True}, {"fused": False}, {"capturable": True}]
)
def test_the_first_step_whatever_computed_those_before(saved: dict[str, bool]) -> None:
    """Kingma & Ba's algorithm 1 at step 8, element by element, of weights that are channels last in memory."""
    generator = torch.Generator().manual_seed(0)
    w, g, m = (torch.randn(4, 3, 2, 5, generator=generator) for _ in range(3))
    v = torch.rand(4, 3, 2, 5, generator=generator)
    parameter = torch.nn.Parameter(w.clone().to(memory_format=torch.channels_last))
    optimizer = adam([{"params": [parameter]}], 0.01)
    group = {**optimizer.state_dict()["param_groups"][0], "fused": None, **saved}
    moments = {0: {"step": torch.tensor(7.0), "exp_avg": m, "exp_avg_sq": v}}
    load_optimizer(optimizer, {"state": moments, "param_groups": [group]})
    assert optimizer.param_groups[0]["fused"] is True, "how a step is computed is the program's own"
    assert not optimizer.param_groups[0]["capturable"]
    parameter.grad = g.clone().to(memory_format=torch.channels_last)
    optimizer.step()
    w, g, m, v = (t.double() for t in (w, g, m, v))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    wanted = w - 0.01 * m / (1 - 0.9**8) / ((v / (1 - 0.999**8)).sqrt() + 1e-8)
    torch.testing.assert_close(parameter.detach().double(), wanted, rtol=1e-6, atol=1e-6)


class Counting(torch.optim.SGD):
    """Keeps state among its settings, as optimisers without a schedule do: the rate falls as 1 / steps."""

    def __init__(self, parameters: Any, lr: float, momentum: float) -> None:
        super().__init__(parameters, lr, momentum)
        self.param_groups[0]["steps"] = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.param_groups[0]["steps"] += 1
        self.param_groups[0]["lr"] = 1.0 / self.param_groups[0]["steps"]
        super().step()


def test_state_among_the_settings_is_kept_when_a_setting_changes() -> None:
    """Third step after two: w - (momentum buf + g) / 3 with the new momentum, where 1 / 1 would begin anew."""
    w = torch.nn.Parameter(torch.tensor([2.0]))
    made = Counting([w], 1.0, 0.5)
    for _ in range(2):
        w.grad = torch.tensor([1.0])
        made.step()
    held, now = made.state_dict(), torch.nn.Parameter(w.detach().clone())
    other = Counting([now], 1.0, 0.25)
    load_optimizer(other, held, Counting([now], 1.0, 0.5))
    now.grad = torch.tensor([1.0])
    other.step()
    assert now.item() == pytest.approx(w.item() - (0.25 * 1.5 + 1.0) / 3)


def scaler(scale: float, growth: int) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=growth)


@pytest.mark.parametrize(("changed", "scale"), [(False, 64.0), (True, 8.0)])
def test_the_scale_of_the_loss_is_kept_and_its_growth_is_new(
    changed: bool, scale: float, tmp_path: Path
) -> None:
    """Where the first scale was changed too, it begins there."""
    states = []
    for kind in (scaler(64.0, 1000), scaler(8.0, 10)):
        network: Any = torch.nn.Linear(2, 1)
        optimizer = adam([{"params": list(network.parameters())}], 0.1)
        states.append(TrainState(Weights.fresh(network, 0.9, (), True), optimizer, kind))
    states[0].save(tmp_path / "a.pt", {})
    states[1].load(tmp_path / "a.pt", lambda path, record: Continued(scale=not changed))
    assert (states[1].scaler.get_scale(), states[1].scaler.get_growth_interval()) == (scale, 10)


def test_every_field_and_every_role_is_classified() -> None:
    """A field that is added says what it has to do with a checkpoint."""
    choices = {role.field for role in ROLES.values()}
    assert not [path for path in base_fields() - choices if bearing_of_field(path) is None]
    assert not [key for key in ROLES if bearing_of_role(key) is None]


def test_the_tables_name_what_there_is() -> None:
    choices = {role.field for role in ROLES.values()}
    settings = {
        path for role in ROLES.values() for n in role.choices for path, _ in role.settings(role.choices[n])
    }
    assert set(continuing.FIELDS) <= base_fields() - choices
    assert set(continuing.COMPONENTS) <= set(ROLES)
    assert set(continuing.SETTINGS) <= settings | set(ROLES)
    assert set(continuing.SECTIONS) <= set(base())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "MEANING",
            "data.levels data.centered model.output model.num_scales model.num_classes training.continuous",
        ),
        ("COURSE", "seed training.batch_size model.ema_rates model.ema_rate"),
        ("EFFECT", "training.n_iters optim.lr optim.grad_clip training.precision training.log_freq"),
    ],
)
def test_the_rule(kind: str, fields: str) -> None:
    assert {str(bearing_of_field(path)) for path in fields.split()} == {f"Bearing.{kind}"}


def test_the_rule_of_components() -> None:
    kinds = continuing.Bearing
    assert {bearing_of_role(key) for key in ("network", "sde", "task")} == {kinds.MEANING}
    assert bearing_of_role("optimizer") is kinds.STATE
    assert bearing_of_role("schedule") is kinds.EFFECT
    for setting in ("weight_decay", "beta1", "beta2", "eps"):
        assert bearing_of_setting("optimizer", f"optim.{setting}") is kinds.EFFECT
    assert bearing_of_setting("network", "model.nf") is kinds.MEANING
    assert bearing_of_role("predictor") is kinds.FREE


@dataclass(frozen=True)
class Pair:
    """A checkpoint's record and the configuration that goes on from it."""

    was: ConfigDict
    now: ConfigDict

    def check(self, kind: str) -> Continued:
        held = json.dumps(dict(read(self.was).record.values))
        found: Continued = getattr(Agreement(read(self.now).record), f"check_{kind}")(Path("a.pt"), held)
        return found


def pair(was: dict[str, Any], now: dict[str, Any]) -> Pair:
    return Pair(with_fields(tiny(), was), with_fields(tiny(), now))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (
            {"model__output": None, "training__sde": "subvpsde"},
            {"model__output": "eps", "training__sde": "subvpsde"},
        ),
        ({"data__image_size": (8, 8)}, {}),
        ({"training__sde": "VPSDE"}, {}),
        ({"training__weighting": "likelihood"}, {"training__likelihood_weighting": True}),
        ({"training__loss": "vpsde"}, {}),
        ({"model__beta_max": 20.0}, {}),
        (
            {"model__name": "ncsnpp", "model__fir": True},
            {"model__name": "ncsnpp", "model__fir_kernel": (1, 3, 3, 1)},
        ),
        (
            {"sampling__predictor": "ddim", "sampling__num_steps": 9},
            {"guidance__labels": (1,), "data__root": "x"},
        ),
        ({"optim__weight_decay": 0}, {"optim__weight_decay": 0.0}),
    ],
)
def test_the_same_in_other_words_is_the_same(was: dict[str, Any], now: dict[str, Any], capsys: Any) -> None:
    pair(was, now).check("training")
    assert "continues with" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("was", "now", "named"),
    [
        ({}, {"model__output": "eps"}, "model.output=eps (was v)"),
        ({}, {"training__sde": "vesde"}, "training.sde=vesde (was vpsde)"),
        ({}, {"data__levels": 256}, "data.levels=256 (was 17)"),
        ({"model__beta_max": 10.0}, {}, "model.beta_max=20.0 (was 10.0)"),
        ({}, {"model__nf": 16}, "model.nf=16 (was 8)"),
        ({}, {"data__image_size": (8, 16)}, "data.image_size=[8, 16] (was [8, 8])"),
        ({"model__preconditioning": "edm"}, {}, "model.preconditioning=none (was edm)"),
        (
            {"model__name": "ncsnpp", "model__fir": True},
            {"model__name": "ncsnpp", "model__fir": False},
            "model.fir_kernel=none (was [1, 3, 3, 1])",
        ),
    ],
)
def test_weights_of_another_meaning_are_refused_wherever_they_are_loaded(
    was: dict[str, Any], now: dict[str, Any], named: str
) -> None:
    for kind in ("use", "state", "training"):
        with pytest.raises(ValueError, match="resume_anyway") as error:
            pair(was, now).check(kind)
        assert named in str(error.value)
    assert str(error.value).count("(was") == 1, "and nothing beside"


@pytest.mark.parametrize(
    ("was", "now", "named"),
    [
        ({}, {"seed": 3}, "seed=3 (was 42)"),
        ({}, {"training__batch_size": 9}, "training.batch_size=9 (was 8)"),
        ({}, {"model__ema_rates": (0.5,)}, "model.ema_rates=[0.5] (was [])"),
        ({}, {"optim__optimizer": "Adam"}, "optim.optimizer=adam (was adam_w)"),
        ({}, {"optim__amsgrad": True}, "optim.amsgrad=True (was False)"),
        ({}, {"training__times": "uniform"}, "training.times=uniform (was stratified)"),
        ({"model__dropout": 0.5}, {}, "model.dropout=0.1 (was 0.5)"),
    ],
)
def test_another_run_is_refused_where_training_goes_on(
    was: dict[str, Any], now: dict[str, Any], named: str
) -> None:
    config = tiny()
    config.seed = now.pop("seed", 42)
    both = Pair(with_fields(tiny(), was), with_fields(config, now))
    with pytest.raises(ValueError, match="resume_anyway") as error:
        both.check("training")
    assert named in str(error.value)
    both.check("use")


def test_a_record_that_lacks_fields_has_their_defaults() -> None:
    """And a setting whose default was another when the record was made is the recorded one."""
    config = tiny()
    record = json.loads(json.dumps(dict(read(config).record.values)))
    del record["model"]["ema_warmup"], record["training"]["precision"], record["resume_anyway"]
    ours = Agreement(read(config).record)
    ours.check_training(Path("a.pt"), json.dumps(record))
    record[RESOLVED]["sde"]["beta_max"] = 10.0
    with pytest.raises(ValueError, match=r"model.beta_max=20.0 \(was 10.0\)"):
        ours.check_use(Path("a.pt"), json.dumps(record))
    del record[RESOLVED]
    ours.check_training(Path("a.pt"), json.dumps(record))


def test_a_record_of_a_plugin_that_is_not_loaded() -> None:
    record = json.loads(json.dumps(dict(read(tiny()).record.values)))
    record["training"]["sde"] = "my_own"
    with pytest.raises(ValueError, match=r"'my_own'.*--config.plugins.*resume_anyway"):
        Agreement(read(tiny()).record).check_use(Path("a.pt"), json.dumps(record))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_that_loads_a_checkpoint_refuses_another_output(
    mode: str, before: Path, tmp_path: Path
) -> None:
    fields = {
        key: value for key, value in FIRST.items() if mode in ("train", "convert") or "optim" not in key
    }
    more = {"sampling__corrector": "langevin"} if mode == "tune" else {}
    more |= {"reconstruct__input": "test"} if mode == "reconstruct" else {}
    error = program(
        "--config",
        TINY,
        "--mode",
        mode,
        "--workdir",
        beside(before, tmp_path),
        **fields,
        **more,
        model__output="eps",
    ).error
    assert "step_00000003.pt was made with another configuration: model.output=eps (was v)" in error


def test_anyway(before: Path, tmp_path: Path) -> None:
    """Both values are named; another optimiser and another average begin afresh, the average from the first."""
    workdir = beside(before, tmp_path)
    other = {**FIRST, "model__output": "eps", "model__ema_rates": (0.5,), "optim__optimizer": "AdamW"}
    outcome = run(TINY, "train", workdir, **other, resume_anyway=True)
    assert (
        "is taken with model.ema_rates=[0.5] (was []), model.output=eps (was v), optim.optimizer=adam_w"
        in outcome.err
    )
    config = planned(tiny(), plans.training, other)
    state = Run(workdir).new_state(config)
    check = Agreement(config.subject.record, anyway=True).check_training
    state.load(workdir / "checkpoints/step_00000003.pt", check)
    assert not state.optimizer.state
    assert all(torch.equal(state.averages[0.5].shadow[name], held) for name, held in state.ema.shadow.items())


@pytest.mark.slow
def test_a_checkpoint_of_ours_elsewhere_is_gone_on_with(before: Path, tmp_path: Path) -> None:
    """``resume_from``: the step after is that of a run in the checkpoint's own directory, bit for bit."""
    longer = {**FIRST, "training__n_iters": 4}
    run(TINY, "train", beside(before, tmp_path / "own"), **longer)
    run(TINY, "train", tmp_path / "other", **longer, resume_from=before)
    a, b = (read_checkpoint(tmp_path / f"{name}/checkpoints/step_00000004.pt") for name in ("own", "other"))
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])
    refused = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "third", **longer,
                      resume_from=before, training__batch_size=4)  # fmt: skip
    assert "training.batch_size=4 (was 8)" in refused.error
    refused = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "fourth",
                      init_from=before, model__output="eps")  # fmt: skip
    assert "model.output=eps (was v)" in refused.error


def test_what_is_converted_keeps_its_configuration(before: Path, tmp_path: Path) -> None:
    """Not that of the conversion, from which training would go on wrongly. Samples of other seeds are free."""
    run(TINY, "convert", beside(before, tmp_path), **FIRST, training__batch_size=5)
    run(TINY, "sample", tmp_path, sampling__num_samples=1, seed=7, training__batch_size=5)
    path = tmp_path / "converted/ours_00000003.pt"
    assert json.loads(read_checkpoint(path)["config"])["training"]["batch_size"] == 8
