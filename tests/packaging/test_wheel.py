"""The wheel, and an editable install, in environments of their own which borrow this one's torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_architecture import PACKAGES, ROOT, files

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *what: object) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-deps"]
        call(Path.cwd(), *pip, "--no-index", "--no-build-isolation", *what)

    def runs(self, folder: Path, code: str) -> str:
        return call(folder, self.python, "-c", code)


def call(folder: Path, *command: object, status: int = 0, **variables: str) -> str:
    """Standard output and error of a command that must end with ``status``."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


def environment(folder: Path) -> Environment:
    """Empty, but that it sees what is installed here; not what is installed here in editable mode."""
    call(folder, sys.executable, "-m", "venv", "--without-pip", "env")
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    # Python reads no .pth file in a folder that a .pth file names, and those make an editable install.
    (site / "here.pth").write_text(sysconfig.get_path("purelib"))
    return Environment(folder / "env")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    call(folder, *pip, "--wheel-dir", folder, ROOT)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = environment(tmp_path_factory.mktemp("installed"))
    made.install(wheel)
    return made


@pytest.fixture(scope="session")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = environment(tmp_path_factory.mktemp("editable"))
    made.install("--editable", ROOT)
    return made


def test_the_wheel_holds_one_package_with_all_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        names = archive.read("score_pc-0.1.0.dist-info/top_level.txt").decode().split()
    assert {name.split("/")[0] for name in held} == {"score_pc", "score_pc-0.1.0.dist-info"}
    assert names == ["score_pc"]
    ours = [path for package in PACKAGES for path in files(package)]
    others = ("py.typed", "*.sh", "*.bash", "*.zsh")
    ours += [path for package in PACKAGES for kind in others for path in (ROOT / package).rglob(kind)]
    expected = {f"score_pc/{path.relative_to(ROOT)}" for path in ours}
    own = {"__init__.py", "__main__.py", "py.typed"}
    assert {n for n in held if n.startswith("score_pc/")} == expected | {f"score_pc/{n}" for n in own}


def test_it_imports_beside_modules_of_the_users_of_such_names(installed: Environment, tmp_path: Path) -> None:
    """Every module of it; the user's own are found as before."""
    for name in ("models", "losses", "configs", "utils", "samplers", "main"):
        (tmp_path / f"{name}.py").write_text("mine = True")
    found = installed.runs(
        tmp_path,
        "import pkgutil, importlib, sys, json\n"
        "import score_pc, models, losses, configs, utils\n"
        "assert models.mine and losses.mine and configs.mine and utils.mine\n"
        "assert score_pc.samplers.Predictor.__module__ == 'score_pc.samplers.base'\n"
        "names = [m.name for m in pkgutil.walk_packages(score_pc.__path__, 'score_pc.')]\n"
        "for name in names:\n    importlib.import_module(name)\n"
        "assert not any(hasattr(sys.modules[n], 'mine') for n in names)\n"
        "bare = {m.split('.')[0] for m in sys.modules}\n"
        f"print(json.dumps([score_pc.__version__, len(names), sorted(bare & {set(PACKAGES)})]))",
    )
    count = sum(len(files(package)) for package in PACKAGES)
    assert json.loads(found.splitlines()[-1]) == ["0.1.0", count + 1, ["configs", "losses", "models"]]


def test_files_written_with_bare_names_run_under_the_wheel(installed: Environment, tmp_path: Path) -> None:
    """A plugin and a configuration, with the user's own ``models.py`` beside them."""
    (tmp_path / "models.py").write_text("mine = 3")
    (tmp_path / "own.py").write_text(
        "from models import NoiseModel, mine\nfrom samplers import Predictor\nimport sde_lib.base\n"
        "from configs.base import get_config as base\nimport configs.ddpm.digits\n"
        "def get_config():\n    from configs.ddpm.digits import get_config\n    return base(), get_config()\n"
    )
    installed.runs(
        tmp_path,
        "from pathlib import Path\nimport sys, score_pc.samplers, score_pc.models, score_pc.sde_lib.base as base\n"
        "from score_pc.run_lib.config.bare_names import load_module\n"
        "own = load_module(Path('own.py'), 'own')\n"
        "assert own.Predictor is score_pc.samplers.Predictor and own.mine == 3\n"
        "assert own.NoiseModel is score_pc.models.NoiseModel and own.sde_lib.base is base\n"
        "assert own.get_config()[1].data.dataset == 'digits'\n"
        "assert not {'models', 'samplers', 'configs', 'sde_lib'} & set(sys.modules)",
    )


def test_the_command_trains_samples_and_evaluates_from_an_empty_folder(
    installed: Environment, tmp_path: Path
) -> None:
    few = {
        "training.n_iters": 20,
        "sampling.num_samples": 100,
        "sampling.num_steps": 5,
        "eval.bpd_num_images": 4,
        "eval.num_samples": 100,
    }
    flags = [f"--config.{name}={value}" for name, value in few.items()]
    command = installed.folder / "bin" / "score-pc"
    call(tmp_path, command, "--config", "ddpm/digits", *flags)
    run = tmp_path / "runs" / "ddpm" / "digits"
    numbers = json.loads((run / "eval" / "report.json").read_text())["numbers"]
    values = {number["name"]: number["value"] for number in numbers}
    assert values["bpd/pixel histograms, test"] == pytest.approx(2.435, abs=5e-4)
    assert values["frechet/training images to test images"] == pytest.approx(26.34, abs=5e-3)
    assert values["frechet/pixels"] > values["frechet/fitted Gaussian"], "after twenty steps"
    assert (run / "checkpoints").is_dir()
    assert (run / "samples" / "samples.png").exists()
    said = call(tmp_path, installed.python, "-m", "score_pc", "--config", "nowhere.py", status=2)
    assert said.startswith("error: --config names no file: nowhere.py")


def test_an_editable_install_has_the_same_modules_under_both_names(
    editable: Environment, tmp_path: Path
) -> None:
    editable.runs(
        tmp_path,
        "import score_pc.models.base, score_pc, models.base, samplers\n"
        "from score_pc.samplers.pc import PCSampler\n"
        "assert score_pc.models is models and score_pc.models.base is models.base\n"
        "assert score_pc.samplers is samplers and models.__spec__.name == 'models'\n"
        "assert PCSampler.__module__ == 'samplers.pc'\n"
        f"assert score_pc.CHECKOUT.samefile({str(ROOT)!r}) and score_pc.__version__ == '0.1.0'\n"
        "import score_pc.main, main\nassert score_pc.main is main\n",
    )


def test_an_editable_install_beside_modules_of_the_users(editable: Environment, tmp_path: Path) -> None:
    """The program runs; a script is told why its import fails."""
    (tmp_path / "models.py").write_text("1 / 0")
    config = ROOT / "configs" / "ddpm" / "digits.py"
    command = [editable.folder / "bin" / "score-pc", "--config", config, "--mode", "describe"]
    call(tmp_path, *command, PYTHONPATH=str(tmp_path))
    call(tmp_path, editable.python, "-m", "score_pc", *command[1:])
    said = call(tmp_path, editable.python, "-c", "import score_pc.samplers", status=1)
    assert f"where 'models' must be that folder's, and {tmp_path}/models.py is found instead" in said
