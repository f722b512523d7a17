"""Every wrong input gives one error that says what was wrong and what to do, before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_lib.program import ROOT, TINY, program, written

WRONG_VALUES: list[tuple[str, dict[str, object], list[str]]] = [
    (
        "predictor",
        {"sampling.predictor": "ddmi"},
        ["unknown predictor 'ddmi'; registered: ", "Did you mean 'ddim'?"],
    ),
    (
        "corrector",
        {"sampling.corrector": "langvin"},
        ["unknown corrector 'langvin'", "Did you mean 'langevin'?"],
    ),
    ("model", {"model.name": "ddmp"}, ["unknown model 'ddmp'", "Did you mean 'ddpm'?"]),
    ("SDE", {"training.sde": "vpsd"}, ["unknown SDE 'vpsd'", "Did you mean 'vpsde'?"]),
    ("grid", {"sampling.grid": "karas"}, ["unknown time grid 'karas'", "Did you mean 'karras'?"]),
    ("method", {"sampling.method": "odee"}, ["unknown sampling method 'odee'", "Did you mean 'ode'?"]),
    ("data set", {"data.dataset": "digit"}, ["unknown data set 'digit'", "Did you mean 'digits'?"]),
    ("weighting", {"training.weighting": "ep"}, ["unknown loss weighting 'ep'", "Did you mean 'eps'?"]),
    ("times", {"training.times": "unform"}, ["unknown training.times 'unform'", "Did you mean 'uniform'?"]),
    (
        "optimizer",
        {"optim.optimizer": "Adm"},
        ["unknown config.optim.optimizer 'Adm'; registered: adam, adam_w"],
    ),
    (
        "schedule",
        {"optim.schedule": "cos"},
        ["unknown config.optim.schedule 'cos'; registered: constant, cooldown, cosine"],
    ),
    (
        "field",
        {"sampling.predictr": "ddim"},
        ["unknown config field config.sampling.predictr. Did you mean config.sampling.predictor?"],
    ),
    (
        "section",
        {"sampl.predictor": "ddim"},
        ["unknown config field config.sampl. Did you mean config.sampling?"],
    ),
    ("field of a field", {"seed.x": 1}, ["config field config.seed has no part 'x': it is a value, 42"]),
    (
        "type",
        {"sampling.num_steps": "many"},
        ["--config.sampling.num_steps=many: a whole number is expected."],
    ),
    (
        "predictor that needs an SDE",
        {"training.sde": "ddpm", "sampling.predictor": "euler_maruyama"},
        [
            "predictor 'euler_maruyama' needs a process of the kind SDE, which DiscreteDiffusion is not",
            "choose another",
        ],
    ),
    ("ODE of a chain", {"training.sde": "ddpm", "sampling.method": "ode"}, ["sampling.method='ode' needs"]),
    (
        "predictor that encodes",
        {"sampling.predictor": "reverse_ddim"},
        ["encodes data into noise", "such as ddim"],
    ),
    ("no predictor at all", {"sampling.predictor": "none"}, ["needs a predictor or a corrector"]),
    (
        "image size",
        {"data.image_size": 9, "model.ch_mult": "(1,2)"},
        ["(9, 9) does not divide by (2, 2)", "pad or crop"],
    ),
    (
        "levels of the U-Net",
        {"model.ch_mult": "(1,2,2,2,2)"},
        ["(8, 8) does not divide by (16, 16)", "config.model.ch_mult."],
    ),
    ("image size 0", {"data.image_size": 0}, ["config.data.image_size lies in [1, 32768], got 0"]),
    ("groups", {"model.nf": 9}, ["9 channels cannot be normalised in 4 groups"]),
    ("heads", {"model.num_heads": 5}, ["8 channels do not divide into 5 attention heads"]),
    *[
        (
            f"snr {snr}",
            {"sampling.corrector": name, "sampling.snr": snr},
            [f"{name}'s snr lies between 0 and 1, got"],
        )
        for name in ("langevin", "ald")
        for snr in (0.0, -0.1, 1.0, "nan")
    ],
    (
        "steps 0",
        {"sampling.num_steps": 0},
        ["num_steps lies in [1, 1000000], got 0. (config.sampling.num_steps)"],
    ),
    (
        "steps -5",
        {"sampling.num_steps": -5},
        ["num_steps lies in [1, 1000000], got -5. (config.sampling.num_steps)"],
    ),
    (
        "steps of a chain",
        {"training.sde": "ddpm", "sampling.num_steps": 1001},
        ["1001 steps", "take fewer steps"],
    ),
    ("corrector steps", {"sampling.n_steps_each": 0}, ["n_steps_each must be at least 1, got 0"]),
    (
        "eta",
        {"sampling.predictor": "ddim", "sampling.eta": 2.0},
        ["ddim's eta is a share of fresh noise in [0, 1], got 2.0"],
    ),
    (
        "eta of another",
        {"sampling.predictor": "euler_maruyama", "sampling.eta": 0.5},
        ["config.sampling.eta is set, but predictor 'euler_maruyama'", "leave it unset"],
    ),
    (
        "t_end",
        {"sampling.t_end": 2.0},
        ["config.sampling.t_end must lie between 0 (clean data) and 1", "got 2"],
    ),
    ("t_end < 0", {"sampling.t_end": -1.0}, ["config.sampling.t_end must lie between", "got -1"]),
    ("rtol", {"sampling.method": "ode", "sampling.rtol": -1.0}, ["rtol and atol must be positive, got -1.0"]),
    (
        "solver",
        {"sampling.method": "ode", "sampling.ode_method": "rk4"},
        ["unknown ODE solver 'rk4'; known: dopri5, dop853"],
    ),
    (
        "trajectory of an ODE",
        {"sampling.method": "ode", "sampling.trajectory": 5},
        ["set sampling.method='pc'"],
    ),
    (
        "num_samples",
        {"sampling.num_samples": 0},
        ["config.sampling.num_samples lies in [1, 100000000], got 0"],
    ),
    ("n_iters", {"training.n_iters": 0}, ["config.training.n_iters must be at least 1, got 0"]),
    ("lr", {"optim.lr": "nan"}, ["config.optim.lr must be at least 0, got nan"]),
    ("beta1", {"optim.beta1": 1.5}, ["adam_w's beta1 lies in [0, 1), got 1.5", "config.optim.beta1"]),
    ("ema_rate", {"model.ema_rate": 1.0}, ["config.model.ema_rate lies in [0, 1), got 1.0"]),
    ("seed", {"seed": -3}, ["config.seed must be at least 0", "got -3"]),
    (
        "beta_min",
        {"model.beta_min": -1.0},
        ["vpsde's beta_min must be positive, got -1.0", "config.model.beta_min"],
    ),
    (
        "sigma_min",
        {"training.sde": "vesde", "model.sigma_min": 60.0},
        ["VESDE needs 0 < sigma_min < sigma_max"],
    ),
    ("num_scales", {"model.num_scales": 0}, ["config.model.num_scales lies in [1, 1000000], got 0"]),
    (
        "subVP chain",
        {"training.sde": "subvpsde", "training.continuous": False},
        ["subVP has no discrete chain"],
    ),
    (
        "output",
        {"model.output": "epss"},
        [
            "config.model.output is one of eps, x0, score, v, velocity, reversed_velocity, previous; got 'epss'"
        ],
    ),
    ("levels", {"data.levels": 1}, ["data.levels is the number of values of a pixel"]),
    ("fewer levels than the data", {"data.levels": 16}, ["values up to 16, which needs data.levels >= 17"]),
    (
        "channels",
        {"data.num_channels": 3},
        ["samples of shape (1, 8, 8) but the configuration says (3, 8, 8)"],
    ),
    (
        "exact data of a network",
        {"data.dataset": "exact"},
        ["set model.name to gaussian or gaussian_mixture"],
    ),
    ("split", {"eval.dataset": "val"}, ["config.eval.dataset is 'train' or 'test', got 'val'"]),
    (
        "bpd_solver",
        {"eval.bpd_solver": "rk4"},
        ["solver is one of dopri5, dop853, bosh3, RK23, RK45", "got 'rk4'. (config.eval.bpd_solver)"],
    ),
    (
        "bpd_truncation",
        {"eval.bpd_truncation": "x"},
        ["truncation is 'state' or 'noised', got 'x'. (config.eval.bpd_truncation)"],
    ),
    (
        "bpd_divergence",
        {"eval.bpd_divergence": "x"},
        ["unknown config.eval.bpd_divergence 'x'; registered: exact, gaussian, hutch++, rademacher."],
    ),
    (
        "bpd_dequantisation",
        {"eval.bpd_dequantisation": "variation"},
        ["unknown config.eval.bpd_dequantisation 'variation'", "Did you mean 'variational'?"],
    ),
    (
        "bpd_bound_of",
        {"eval.bpd_method": "vlb", "eval.bpd_bound_of": "x"},
        ["bound_of is 'levels' or 'density', got 'x'. (config.eval.bpd_bound_of)"],
    ),
    (
        "bpd_bound_of without the bound",
        {"eval.bpd_bound_of": "density"},
        ["config.eval.bpd_bound_of is set, but", "eval.bpd_method='both', eval.bpd_method='vlb'"],
    ),
    (
        "bpd_method",
        {"eval.bpd_method": "vlbo"},
        ["config.eval.bpd_method is one of ode, vlb, both; got 'vlbo'. Did you mean 'vlb'?"],
    ),
    (
        "likelihoods that are not evaluated",
        {"eval.enable_bpd": False, "eval.bpd_repeats": 2},
        ["config.eval.bpd_repeats is set, but", "set eval.enable_bpd=True"],
    ),
    (
        "probes of the exact trace",
        {"eval.bpd_divergence": "exact", "eval.bpd_probes": 2},
        ["config.eval.bpd_probes is set, but", "eval.bpd_divergence='gaussian'"],
    ),
    (
        "bpd_target without a stop",
        {"eval.bpd_target": 0.1},
        ["config.eval.bpd_target is set, and has no effect without eval.bpd_quick=True"],
    ),
    (
        "dequantisation of a bound of levels",
        {"eval.bpd_method": "vlb", "eval.bpd_dequantisation": "variational"},
        ["config.eval.bpd_dequantisation is set, and has no effect without the ODE"],
    ),
    (
        "importance weights of estimates",
        {"eval.bpd_importance_weighted": True, "eval.bpd_repeats": 4},
        ["which probes would bias upwards", "set bpd_divergence='exact'"],
    ),
    ("bpd_target", {"eval.bpd_target": 0.0}, ["target must be positive, got 0.0. (config.eval.bpd_target)"]),
    (
        "bpd_rank",
        {"eval.bpd_divergence": "hutch++", "eval.bpd_rank": 64},
        ["eval.bpd_rank=64 spans all of 64 dimensions", "'exact'"],
    ),
    (
        "bpd_levels",
        {"eval.bpd_method": "vlb", "eval.bpd_levels": 1},
        ["levels lies in [2, 1000000], got 1. (config.eval.bpd_levels)"],
    ),
    (
        "bound without levels",
        {"training.sde": "vpsde", "eval.bpd_dequantisation": "variational", "eval.dequantisation_steps": 0},
        ["steps must be at least 1, got 0. (config.eval.dequantisation_steps)"],
    ),
    ("bpd_rtol", {"eval.bpd_rtol": 0.0}, ["rtol must be positive, got 0.0. (config.eval.bpd_rtol)"]),
    ("t_min", {"eval.t_min": 2.0}, ["config.eval.t_min must lie between 0 and 1, got 2.0"]),
    ("too many images", {"eval.bpd_num_images": 999}, ["eval.bpd_num_images=999 but the test split has 360"]),
    ("too few samples", {"eval.num_samples": 64}, ["eval.num_samples=64 cannot give a covariance of 64"]),
    (
        "nothing to evaluate",
        {"eval.enable_loss": False, "eval.enable_bpd": False, "eval.enable_sampling": False},
        ["nothing to evaluate: set one of --config.eval.enable_loss"],
    ),
    ("device", {"device": "cudda"}, ["config.device=cudda cannot be used", "Take auto, or one of these"]),
    ("weights", {"init_from": "/no/where.pt"}, ["/no/where.pt does not exist"]),
    ("plugin file", {"plugins": "no/where.py"}, ["plugin 'no/where.py' failed to import: FileNotFoundError"]),
    (
        "plugin module",
        {"plugins": "no_such_module"},
        ["plugin 'no_such_module' failed to import: ModuleNotFoundError"],
    ),
]


@pytest.mark.parametrize(("values", "messages"), [pytest.param(v, m, id=name) for name, v, m in WRONG_VALUES])
def test_wrong_value(values: dict[str, object], messages: list[str], tmp_path: Path) -> None:
    """One error that says what was wrong and what to do, before any work: nothing trained, nothing
    written.
    """
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
        (
            ["--config", "no/where.py"],
            "--config names no file: no/where.py. Try --config configs/ddpm/digits.py",
        ),
        (["--config", str(ROOT / "configs")], "--config names no file: "),
        (["--config", str(TINY), "stray"], "unexpected argument 'stray'; flags begin with --."),
        (
            ["--config", str(TINY), "--wrkdir=x"],
            "Unknown command line flag 'wrkdir'. Did you mean: workdir ?",
        ),
    ],
)
def test_wrong_flags(arguments: list[str], message: str) -> None:
    assert message in program(*arguments).error


BASE = "from configs.base import get_config as base\ndef get_config():\n    config = base()\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            BASE + "    config.sampling.predictr = 'ddim'\n    return config\n",
            "unknown config field config.sampling.predictr. Did you mean config.sampling.predictor?",
        ),
        (BASE + "    config.sample = 3\n    return config\n", "unknown config section 'sample'"),
        (
            BASE + "    config.seed = 'x'\n    return config\n",
            "mine.py cannot be read: TypeError: Could not override field 'seed'",
        ),
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
        (
            "import no_such_module\n",
            "failed to import at line 1: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("x = 1\ny = x / 0\n", "failed to import at line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "failed to import: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("raise SystemExit(3)\n", "failed to import at line 1: SystemExit: 3"),
        (
            "import samplers as s\n@s.register_predictor\nclass Lazy(s.Predictor): ...\n",
            "Lazy must implement update_fn to be used.",
        ),
        (
            "from samplers import register_predictor\n@register_predictor\nclass DDIM: ...\n",
            "predictor 'ddim' is already registered by samplers.predictors.ddim.DDIM",
        ),
    ],
)
def test_wrong_plugin(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    predictor = {"sampling__predictor": "lazy"} if "Lazy" in text else {}
    error = program(
        "--config", TINY, "--workdir", tmp_path / "run", plugins=tmp_path / "mine.py", **predictor
    ).error
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
