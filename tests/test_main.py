"""The program from its command line: modes, work directories, own components, wrong inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from run_lib.command_line import default_workdir
from tests.run_lib.cifar import write_cifar10
from tests.run_lib.conftest import cifar_checksums  # noqa: F401 - a fixture
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, Outcome, numbers, program, run

CIFAR10 = ("--config", ROOT / "configs/ddpm/cifar10.py", "--mode", "eval", "--config.eval.enable_bpd")
SMALL_DDPM = {"model__nf": 32, "model__ch_mult": "(1,)", "model__num_res_blocks": 1, "model__attn_resolutions": "()"}


def written(folder: Path) -> list[str]:
    """Files in a folder but for the configuration, which says what was asked."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "config.json")


def test_everything_in_one_command(tmp_path: Path) -> None:
    """Trains, samples, evaluates, and says where all of it is; a second run makes nothing again."""
    workdir = tmp_path / "new/folder"
    outcome = run(TINY, "all", workdir)
    lines = outcome.out.splitlines()
    for line in (
        f"checkpoint   {workdir}/checkpoints/step_00000006.pt",
        f"samples      {workdir}/samples/samples.png",
        f"curves       tensorboard --logdir {workdir}/tensorboard",
        f"report       {workdir}/eval/report.json",
    ):
        assert line in lines
        path = Path(line.split()[-1])
        assert path.exists()
    assert "training: 100%" in outcome.err
    assert "sampling: 100%" in outcome.err
    assert "it/s" in outcome.err
    for name in ("bpd/test", "frechet/pixels", "precision", "recall"):
        assert any(line.split("  ")[1:2] == [name] or line.strip().startswith(name) for line in lines), name
    report, checkpoint = workdir / "eval/report.json", workdir / "checkpoints/step_00000006.pt"
    before = (report.read_bytes(), checkpoint.read_bytes())
    run(TINY, "all", workdir)
    assert (report.read_bytes(), checkpoint.read_bytes()) == before


def test_curves_and_configuration_are_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(TINY, "train", tmp_path, training__snapshot_sampling=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert [e.step for e in events.Scalars("train/loss")] == [2, 4, 6]
    assert [e.step for e in events.Scalars("test/loss")] == [3, 6]
    assert [e.value for e in events.Scalars("train/learning_rate")][0] == pytest.approx(2e-3), "the warm-up is over"
    assert tags["images"] == ["samples"]
    (text,) = events.Tensors("config/text_summary")
    assert b'"n_iters": 6' in text.tensor_proto.string_val[0]


@pytest.mark.parametrize(
    ("config", "workdir"),
    [
        ("configs/ddpm/digits.py", "runs/configs/ddpm/digits"),
        ("/some/where/else/my/ddpm/digits.py", "runs/my/ddpm/digits"),
        ("../other/digits.py", "runs/other/digits"),
    ],
)
def test_default_workdir(config: str, workdir: str) -> None:
    assert default_workdir(config) == Path(workdir)


@pytest.mark.parametrize("name", ["gaussian_2d", "mixture_2d", "gaussian_image", "mixture_image"])
@pytest.mark.parametrize("mode", ["all", "sample", "eval"])
def test_exact_scores_need_no_training(name: str, mode: str, tmp_path: Path) -> None:
    fast = {"sampling__num_samples": 10, "sampling__num_steps": 10, "eval__num_samples": 70, "eval__bpd_num_images": 2}
    run(ROOT / f"configs/toy/{name}.py", mode, tmp_path, **fast)
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "samples/samples.npz").exists() == (mode != "eval")
    assert (tmp_path / "eval/report.json").exists() == (mode != "sample")


def test_the_command_as_printed_without_data(tmp_path: Path) -> None:
    """A process of its own, in a folder with nothing but the configurations: what is missing, and how to get it.

    As a user sees it: a status that is not zero, nothing but the error, nothing made.
    """
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    command = "main.py --config configs/ddpm/cifar10.py --mode eval --config.eval.enable_bpd"
    process = subprocess.run(
        [sys.executable, ROOT / "main.py", *command.split()[1:]], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )
    assert process.stderr.startswith("error: ")
    error = Outcome(process.returncode, process.stdout, process.stderr).error
    assert "CIFAR-10 is not under data/ (missing or damaged: data/cifar-10-batches-py)" in error
    assert "torchvision.datasets.CIFAR10('data', download=True)" in error
    assert written(tmp_path / "runs") == []


def test_the_command_without_a_checkpoint(tmp_path: Path, cifar_checksums: Callable[..., Any]) -> None:  # noqa: F811
    write_cifar10(tmp_path / "data", cifar_checksums)
    error = program(*CIFAR10, "--workdir", tmp_path / "run", data__root=tmp_path / "data", **SMALL_DDPM).error
    assert f"there is no checkpoint in {tmp_path}/run/checkpoints/" in error
    assert f"python main.py --config {ROOT}/configs/ddpm/cifar10.py --mode train --workdir {tmp_path}/run" in error
    assert "--config.init_from=" in error


def test_the_command_runs_to_a_number(tmp_path: Path, cifar_checksums: Callable[..., Any]) -> None:  # noqa: F811
    """On files of CIFAR-10's format: the network is as good as untrained, so it is worse than the uniform density."""
    write_cifar10(tmp_path / "data", cifar_checksums)
    tiny = {"data__root": tmp_path / "data", "device": "cpu", **SMALL_DDPM}
    run(CIFAR10[1], "train", tmp_path / "run", training__n_iters=1, training__batch_size=2,  # type: ignore[arg-type]
        training__snapshot_sampling=False, **tiny)
    outcome = program(*CIFAR10, "--workdir", tmp_path / "run", eval__bpd_num_images=2, eval__bpd_rtol=0.05,
                      eval__bpd_atol=0.05, **tiny)
    assert outcome.status == 0, outcome.err
    found = numbers(tmp_path / "run")
    assert found["bpd/uniform density"]["value"] == 8.0
    assert found["bpd/test"]["count"] == 2
    assert 8 < found["bpd/test"]["value"] < 20
    assert "frechet/pixels" not in found, "what was not asked for is not made"


PREDICTOR = '''
from dataclasses import dataclass

from samplers import Predictor, Step, register_predictor


@register_predictor
@dataclass(frozen=True)
class HalfWay(Predictor):
    """To the middle between the state and the predicted data."""

    def update_fn(self, model, x, t, s, noise):
        x = (x + model(x, t).x0) / 2
        return Step(x, x)
'''


def test_own_predictor_by_name(tmp_path: Path) -> None:
    """A bare decorator and a file of fewer than 20 lines; the ancestor's registry does not find the name again.

    The data's deviation is 1e-6: the prediction is the mean, and 10 steps leave 2^-10 of the prior's draw.
    """
    import numpy as np

    assert len(PREDICTOR.strip().splitlines()) <= 20
    plugin = tmp_path / "mine.py"
    plugin.write_text(PREDICTOR)
    for spelling in ("half_way", "HalfWay"):
        run(ROOT / "configs/toy/gaussian_image.py", "sample", tmp_path / spelling, plugins=plugin,
            sampling__predictor=spelling, sampling__num_steps=11, sampling__noise_removal=False, model__std=1e-6,
            sampling__num_samples=200)
        with np.load(tmp_path / spelling / "samples/samples.npz") as held:
            x = held["arr_0"]
        assert (x - x.mean(0)).std() == pytest.approx(2.0**-10, rel=0.02)
        assert np.abs(x.mean(0)).mean() == pytest.approx(0.8, abs=1e-3)


PROCESSES = '''
import math

import torch

from models.base import Network, register_model
from run_lib.data import Arrays, register_dataset
from sde_lib import SDE, Coefficients, GaussianSDE, Marginal, Noise, expand, register_sde


@register_sde
class Ornstein(SDE):
    """dx = -2 x dt + 1.5 dw."""

    def sde(self, x, t):
        return Coefficients(-2 * x, torch.full_like(t, 1.5))

    def prior_sampling(self, shape, noise):
        return 0.75 * noise.normal(shape)

    def prior_logp(self, z):
        return torch.distributions.Normal(0.0, 0.75).log_prob(z.double()).flatten(1).sum(1)


@register_sde
class Trigonometric(GaussianSDE):
    """alpha = cos, sigma = sin."""

    def marginal(self, t):
        u = 0.98 * math.pi / 2 * t.double()
        return Marginal(torch.cos(u), torch.sin(u))


@register_model
class OrnsteinScore(Network):
    """Exact for data of deviation 0.5."""

    time_label, output_kind = "time", "score"

    def forward(self, x, labels, **cond):
        kept = torch.exp(-4 * expand(labels, x))
        return -x / (0.25 * kept + 0.5625 * (1 - kept))


@register_dataset
def normal(split):
    x = 0.5 * Noise(1, range(400)).normal((400, 2))
    return Arrays(x, torch.zeros(400, dtype=torch.int64))
'''


def test_own_sde_samples_and_has_a_likelihood(tmp_path: Path) -> None:
    """A general SDE with its exact score: nats of the closed form, samples of the data's deviation.

    At t = 1 the data's share of the variance is 0.25 e^-4 against 0.5625 of the prior: 0.8 % hotter, not 0.
    """
    import numpy as np
    from scipy.stats import norm

    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    own = {"plugins": plugin, "training__sde": "ornstein", "model__name": "ornstein_score", "data__dataset": "normal",
           "sampling__predictor": "euler_maruyama"}
    assert "grid 'log_snr' needs" in program("--config", GAUSSIAN, "--workdir", tmp_path, **own).error
    own["sampling__grid"] = "uniform"
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_num_images=400, eval__enable_sampling=False, **own)
    from run_lib.data import register_dataset

    data = register_dataset["normal"]("test").images.double().numpy()
    closed_form = -norm(scale=0.5).logpdf(data).sum(1).mean()
    # The prior is p_T but for the data's e^-4 share of the variance: KL of two coordinates below 1e-4.
    assert numbers(tmp_path)["nats/test"]["value"] == pytest.approx(closed_form, abs=3e-3)
    run(GAUSSIAN, "sample", tmp_path, sampling__num_samples=2000, sampling__num_steps=400, **own)
    with np.load(tmp_path / "samples/samples.npz") as held:
        assert held["arr_0"].std() == pytest.approx(0.5, rel=0.04)


def test_own_gaussian_sde_with_exact_scores(tmp_path: Path) -> None:
    """With nothing but ``marginal``, every name works: here ancestral sampling on a log-SNR grid."""
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    run(GAUSSIAN, "eval", tmp_path, plugins=plugin, training__sde="trigonometric")
    found = numbers(tmp_path)
    assert found["nats/test"]["value"] == pytest.approx(found["nats/test, exact"]["value"], abs=1e-3)
    assert found["frechet/coordinates"]["value"] < 2 * found["frechet/training points to test points"]["value"]


@pytest.mark.parametrize("sde", ["ornstein", "Trigonometric"])
def test_own_sde_trains(sde: str, tmp_path: Path) -> None:
    """Everything that the digits do: training, samples, bits/dim."""
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    run(TINY, "all", tmp_path / "run", plugins=plugin, training__sde=sde, sampling__predictor="euler_maruyama",
        sampling__grid="uniform")
    found = numbers(tmp_path / "run")
    assert 2 < found["bpd/test"]["value"] < 20, "worse than trained (1.9), better than nonsense"


WRONG_VALUES: list[tuple[str, dict[str, object], list[str]]] = [
    ("predictor", {"sampling.predictor": "ddmi"}, ["unknown predictor 'ddmi'; registered: ", "Did you mean 'ddim'?"]),
    ("corrector", {"sampling.corrector": "langvin"}, ["unknown corrector 'langvin'", "Did you mean 'langevin'?"]),
    ("model", {"model.name": "ddmp"}, ["unknown model 'ddmp'", "Did you mean 'ddpm'?"]),
    ("SDE", {"training.sde": "vpsd"}, ["unknown SDE 'vpsd'", "Did you mean 'vpsde'?"]),
    ("grid", {"sampling.grid": "karas"}, ["unknown time grid 'karas'", "Did you mean 'karras'?"]),
    ("method", {"sampling.method": "odee"}, ["unknown sampling method 'odee'", "Did you mean 'ode'?"]),
    ("data set", {"data.dataset": "digit"}, ["unknown data set 'digit'", "Did you mean 'digits'?"]),
    ("weighting", {"training.weighting": "ep"}, ["unknown loss weighting 'ep'", "Did you mean 'eps'?"]),
    ("times", {"training.times": "unform"}, ["unknown training.times 'unform'", "Did you mean 'uniform'?"]),
    ("optimizer", {"optim.optimizer": "Adm"}, ["unknown config.optim.optimizer 'Adm'; known: Adam, AdamW"]),
    ("schedule", {"optim.schedule": "cos"}, ["unknown config.optim.schedule 'cos'; known: constant, cosine"]),
    ("field", {"sampling.predictr": "ddim"},
     ["unknown config field config.sampling.predictr. Did you mean config.sampling.predictor?"]),
    ("section", {"sampl.predictor": "ddim"}, ["unknown config field config.sampl. Did you mean config.sampling?"]),
    ("field of a field", {"seed.x": 1}, ["config field config.seed has no part 'x': it is a value, 42"]),
    ("type", {"sampling.num_steps": "many"}, ["--config.sampling.num_steps=many: invalid literal for int()"]),
    ("predictor that needs an SDE", {"training.sde": "ddpm", "sampling.predictor": "euler_maruyama"},
     ["predictor 'euler_maruyama' needs a process of the kind SDE, which DiscreteDiffusion is not", "choose another"]),
    ("ODE of a chain", {"training.sde": "ddpm", "sampling.method": "ode"}, ["sampling.method='ode' needs"]),
    ("predictor that encodes", {"sampling.predictor": "reverse_ddim"}, ["encodes data into noise", "such as ddim"]),
    ("no predictor at all", {"sampling.predictor": "none"}, ["needs a predictor or a corrector"]),
    ("image size", {"data.image_size": 9, "model.ch_mult": "(1,2)"}, ["(9, 9) does not divide by (2, 2)", "pad or crop"]),
    ("levels of the U-Net", {"model.ch_mult": "(1,2,2,2,2)"}, ["(8, 8) does not divide by (16, 16)", "channel_mult"]),
    ("image size 0", {"data.image_size": 0}, ["positive integers", "config.data.image_size"]),
    ("groups", {"model.nf": 9}, ["9 channels cannot be normalised in 4 groups"]),
    ("heads", {"model.num_heads": 5}, ["8 channels do not divide into 5 attention heads"]),
    *[(f"snr {snr}", {"sampling.corrector": name, "sampling.snr": snr}, [f"{name}'s snr lies between 0 and 1, got"])
      for name in ("langevin", "ald") for snr in (0.0, -0.1, 1.0, "nan")],
    ("steps 0", {"sampling.num_steps": 0}, ["a sampler takes at least 1 step, got 0"]),
    ("steps -5", {"sampling.num_steps": -5}, ["a sampler takes at least 1 step, got -5"]),
    ("steps of a chain", {"training.sde": "ddpm", "sampling.num_steps": 1001}, ["1001 steps", "take fewer steps"]),
    ("corrector steps", {"sampling.n_steps_each": 0}, ["n_steps_each must be at least 1, got 0"]),
    ("eta", {"sampling.eta": 2.0}, ["ddim's eta is a share of fresh noise in [0, 1], got 2.0"]),
    ("eta of another", {"sampling.predictor": "euler_maruyama", "sampling.eta": 0.5},
     ["config.sampling.eta is set, but predictor 'euler_maruyama'", "leave it unset"]),
    ("t_end", {"sampling.t_end": 2.0}, ["config.sampling.t_end must lie between 0 (clean data) and 1", "got 2"]),
    ("t_end < 0", {"sampling.t_end": -1.0}, ["config.sampling.t_end must lie between", "got -1"]),
    ("rtol", {"sampling.method": "ode", "sampling.rtol": -1.0}, ["rtol and atol must be positive, got -1.0"]),
    ("solver", {"sampling.method": "ode", "sampling.ode_method": "rk4"}, ["unknown ODE solver 'rk4'; known: dopri5, dop853"]),
    ("trajectory of an ODE", {"sampling.method": "ode", "sampling.trajectory": 5}, ["set sampling.method='pc'"]),
    ("num_samples", {"sampling.num_samples": 0}, ["config.sampling.num_samples must be at least 1, got 0"]),
    ("n_iters", {"training.n_iters": 0}, ["config.training.n_iters must be at least 1, got 0"]),
    ("lr", {"optim.lr": "nan"}, ["config.optim.lr must be at least 0, got nan"]),
    ("beta1", {"optim.beta1": 1.5}, ["config.optim.beta1 lies in [0, 1), got 1.5"]),
    ("ema_rate", {"model.ema_rate": 1.0}, ["config.model.ema_rate lies in [0, 1), got 1.0"]),
    ("seed", {"seed": -3}, ["config.seed must be at least 0", "got -3"]),
    ("beta_min", {"model.beta_min": -1.0}, ["VPSDE needs 0 < beta_min <= beta_max, got -1.0 and 20.0"]),
    ("sigma_min", {"training.sde": "vesde", "model.sigma_min": 60.0}, ["VESDE needs 0 < sigma_min < sigma_max"]),
    ("num_scales", {"model.num_scales": 0}, ["config.model.num_scales must be at least 1, got 0"]),
    ("subVP chain", {"training.sde": "subvpsde", "training.continuous": False}, ["subVP has no discrete chain"]),
    ("output", {"model.output": "epss"}, ["a network outputs one of eps, x0, score, v", "'epss'"]),
    ("levels", {"data.levels": 1}, ["data.levels is the number of values of a pixel"]),
    ("fewer levels than the data", {"data.levels": 16}, ["values up to 16, which needs data.levels >= 17"]),
    ("channels", {"data.num_channels": 3}, ["samples of shape (1, 8, 8) but the configuration says (3, 8, 8)"]),
    ("exact data of a network", {"data.dataset": "exact"}, ["set model.name to gaussian or gaussian_mixture"]),
    ("split", {"eval.dataset": "val"}, ["config.eval.dataset is 'train' or 'test', got 'val'"]),
    ("bpd_solver", {"eval.bpd_solver": "rk4"}, ["unknown config.eval.bpd_solver 'rk4'; known: dopri5, dop853", "RK45"]),
    ("bpd_truncation", {"eval.bpd_truncation": "x"}, ["unknown config.eval.bpd_truncation 'x'; known: state, noised"]),
    ("bpd_divergence", {"eval.bpd_divergence": "x"}, ["is 'rademacher', 'gaussian' or 'exact', got 'x'"]),
    ("bpd_rtol", {"eval.bpd_rtol": 0.0}, ["config.eval.bpd_rtol and bpd_atol must be positive"]),
    ("t_min", {"eval.t_min": 2.0}, ["config.eval.t_min must lie between 0 and 1, got 2.0"]),
    ("too many images", {"eval.bpd_num_images": 999}, ["eval.bpd_num_images=999 but the test split has 360"]),
    ("too few samples", {"eval.num_samples": 64}, ["eval.num_samples=64 cannot give a covariance of 64"]),
    ("nothing to evaluate", {"eval.enable_loss": False, "eval.enable_bpd": False, "eval.enable_sampling": False},
     ["nothing to evaluate: set one of --config.eval.enable_loss"]),
    ("device", {"device": "cudda"}, ["config.device=cudda cannot be used", "take auto, cpu, cuda or cuda:N"]),
    ("weights", {"init_from": "/no/where.pt"}, ["/no/where.pt does not exist"]),
    ("plugin file", {"plugins": "no/where.py"}, ["plugin 'no/where.py' failed to import: FileNotFoundError"]),
    ("plugin module", {"plugins": "no_such_module"}, ["plugin 'no_such_module' failed to import: ModuleNotFoundError"]),
]


@pytest.mark.parametrize(("values", "messages"), [pytest.param(v, m, id=name) for name, v, m in WRONG_VALUES])
def test_wrong_value(values: dict[str, object], messages: list[str], tmp_path: Path) -> None:
    """One error that says what was wrong and what to do, before any work: nothing trained, nothing written."""
    flags = [f"--config.{field}={value}" for field, value in values.items()]
    error = program("--config", TINY, "--mode", "all", "--workdir", tmp_path / "run", *flags).error
    for message in messages:
        assert message in error
    assert len(error) < 700
    assert written(tmp_path / "run") == []


def test_wrong_mode(tmp_path: Path) -> None:
    error = program("--config", TINY, "--mode", "trian", "--workdir", tmp_path / "run").error
    assert error.startswith("unknown mode 'trian'; registered: all, ")
    assert error.endswith("Did you mean 'train'?")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which configuration? Try --config configs/ddpm/digits.py"),
        (["--config", "no/where.py"], "--config names no file: no/where.py. Try --config configs/ddpm/digits.py"),
        (["--config", str(ROOT / "configs")], "--config names no file: "),
        (["--config", str(TINY), "stray"], "unexpected argument 'stray'; flags begin with --."),
        (["--config", str(TINY), "--wrkdir=x"], "Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
    ],
)
def test_wrong_flags(arguments: list[str], message: str) -> None:
    assert message in program(*arguments).error


BASE = "from configs.base import get_config as base\ndef get_config():\n    config = base()\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "    config.sampling.predictr = 'ddim'\n    return config\n",
         "unknown config field config.sampling.predictr. Did you mean config.sampling.predictor?"),
        (BASE + "    config.sample = 3\n    return config\n", "unknown config section 'sample'"),
        (BASE + "    config.seed = 'x'\n    return config\n", "mine.py cannot be read: TypeError: Could not override field 'seed'"),
        ("def get_config(:\n", "cannot be read: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("import no_such_module\n", "cannot be read: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_wrong_configuration_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    assert message in program("--config", tmp_path / "mine.py", "--workdir", tmp_path / "run").error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module\n", "failed to import at line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\ny = x / 0\n", "failed to import at line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "failed to import: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("raise SystemExit(3)\n", "failed to import at line 1: SystemExit: 3"),
        ("from samplers import Predictor, register_predictor\n@register_predictor\nclass Lazy(Predictor): ...\n",
         "Lazy must implement update_fn to be used."),
        ("from samplers import register_predictor\n@register_predictor\nclass DDIM: ...\n",
         "predictor 'ddim' is already registered by samplers.predictors.ddim.DDIM"),
    ],
)
def test_wrong_plugin(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    predictor = {"sampling__predictor": "lazy"} if "Lazy" in text else {}
    error = program("--config", TINY, "--workdir", tmp_path / "run", plugins=tmp_path / "mine.py", **predictor).error
    assert message in error
    assert not (tmp_path / "run").exists()


def test_work_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A file is in the way: also root cannot write there."""
    (tmp_path / "file").write_text("in the way")
    for workdir in (tmp_path / "file", tmp_path / "file/below"):
        error = program("--config", TINY, "--workdir", workdir).error
        assert error.startswith(f"the work directory {workdir} cannot be written: ")
        assert error.endswith("Choose another --workdir.")
    assert (tmp_path / "file").read_text() == "in the way"


def test_traceback_on_request(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown predictor"):
        program("--config", TINY, "--workdir", tmp_path / "run", "--traceback", sampling__predictor="ddmi")
