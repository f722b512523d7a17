"""What an ``import`` in a file of the user's finds: our names first, then the user's modules beside the file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import models
import samplers
from run_lib.config.bare_names import import_module, load_module
from run_lib.config.plugins import load_plugins
from tests.run_lib.program import GAUSSIAN, ROOT, program, run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's beside nothing of ours; what a test imports is forgotten after it."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("beside_", "plugin_", "mine", "kit")):
            del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    """Files of Python by name, the first ``__`` for the folder's slash; the first one's path."""
    paths = [folder / f"{name.replace('__', '/', 1)}.py" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    importlib.invalidate_caches()
    return paths[0]


def test_ours_comes_first_and_the_users_file_is_not_even_executed(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from models import Model as M\nimport models.base as b", models="1 / 0")
    module = load_module(file, "mine")
    assert module.M is models.Model
    assert module.b is sys.modules["models.base"]


def test_what_ours_lacks_is_taken_from_the_users_module(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from models import Model, my_thing", models="Model = 1\nmy_thing = 2")
    module = load_module(file, "mine")
    assert module.Model is models.Model
    assert module.my_thing == 2


def test_a_bare_import_sees_both(tmp_path: Path) -> None:
    file = write(
        tmp_path, mine="import models\na, b = models.Model, models.my_thing", models="Model, my_thing = 1, 2"
    )
    module = load_module(file, "mine")
    assert (module.a, module.b) == (models.Model, 2)
    assert module.models.__file__ == models.__file__
    with pytest.raises(AttributeError, match=r"cannot import name 'nope' from 'models' .* or 'beside_"):
        module.models.nope  # noqa: B018


def test_python_may_look_for_its_own_names_without_executing_the_users_file(tmp_path: Path) -> None:
    module = load_module(write(tmp_path, mine="import models", models="1 / 0"), "mine")
    assert not hasattr(module.models, "__wrapped__")
    assert module.models.__all__ == models.__all__


def test_without_a_module_of_the_users_it_is_ours_itself(tmp_path: Path) -> None:
    module = load_module(write(tmp_path, mine="import samplers.pc\nfrom samplers import *"), "mine")
    assert module.samplers is samplers
    assert module.Predictor is samplers.Predictor


def test_submodules_of_a_folder_of_the_users(tmp_path: Path) -> None:
    """score_sde's users keep their own files in a folder ``configs`` and start the program above it."""
    file = write(
        tmp_path,
        configs__mine="from configs.defaults import size\nfrom configs.base import get_config\n"
        "import configs.defaults\nagain = configs.defaults.size",
        configs__defaults="size = 3",
    )
    module = load_module(file, "mine")
    assert module.size == module.again == 3
    assert module.get_config is importlib.import_module("configs.base").get_config


def test_modules_beside_follow_the_same_rule_also_later(tmp_path: Path) -> None:
    """Inside functions and when the working directory has changed."""
    file = write(
        tmp_path / "project",
        mine="import helper\ndef later():\n    from losses import extra\n    return extra, helper.thing",
        helper="from models import thing\nfrom kitchen import spoon\nassert spoon.thing == 4",
        kitchen__spoon="import helper, models\nthing = models.thing",
        models="thing = 4",
        losses="extra = 5",
    )
    module = load_module(file, "mine")
    os.chdir("/")
    assert module.later() == (5, 4)


def test_nobody_elses_imports_change(tmp_path: Path) -> None:
    """The user's modules get names of their own, and two folders do not meet."""
    one = load_module(write(tmp_path / "a", mine="from models import x", models="x = 1"), "mine_a")
    two = load_module(write(tmp_path / "b", mine="from models import x", models="x = 2"), "mine_b")
    assert (one.x, two.x) == (1, 2)
    assert sys.modules["models"] is models
    assert not hasattr(models, "x")
    with pytest.raises(ImportError):
        exec("from models import x")


def test_what_neither_has(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from models import nope", models="y = 1", helper="")
    with pytest.raises(ImportError, match=r"cannot import name 'nope' from 'models' \(.*/models/__init__"):
        load_module(file, "mine")
    assert "mine" not in sys.modules
    for text, missing in [
        ("import models.nope", "models.nope"),
        ("from configs.nope import a", "configs.nope"),
        ("import nope.a", "nope"),
        ("import helper.a", "helper.a"),
    ]:
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{missing}'"):
            load_module(write(tmp_path, mine=text), "mine")


def test_our_own_packages_are_nobodys_beside_a_file_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not executed a second time under another name."""
    monkeypatch.chdir(ROOT)
    file = write(tmp_path, mine="import models\nfrom models import nope")
    with pytest.raises(ImportError, match=r"^cannot import name 'nope' from 'models' \(\S*__init__.py\)$"):
        load_module(file, "mine")
    assert not any(name.startswith("beside_") and name.endswith(".models") for name in sys.modules)


def test_an_error_inside_the_users_module_is_not_taken_for_its_absence(tmp_path: Path) -> None:
    file = write(tmp_path, mine="from models import x", models="import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_module(file, "mine")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_module(write(tmp_path, mine="import helper", helper="import no_such_library"), "mine")


def test_a_plugin_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working directory, and with the rule in each module of its package."""
    write(
        tmp_path,
        kit__plugin="from kit.own import Predictor\nfrom .own import my_thing",
        kit__own="from models import my_thing\nfrom samplers import Predictor",
        kit____init__="",
        models="my_thing = 6",
    )
    (module := import_module("kit.plugin"))
    assert (module.Predictor, module.my_thing) == (samplers.Predictor, 6)
    monkeypatch.syspath_prepend(tmp_path / "kit")
    write(tmp_path / "kit", mine_too="from models import my_thing")
    assert import_module("mine_too").my_thing == 6
    assert "mine_too" in sys.modules, "found on Python's path, it has its own name"


def test_a_package_on_pythons_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules see what lies in its folder and beside it, and their relative imports are Python's."""
    write(
        tmp_path / "site",
        kit____init__="from models import beside",
        kit__plugin="from losses import within\nfrom .samplers import Predictor",
        kit__losses="within = 7",
        kit__samplers="Predictor = 8",
        models="beside = 9",
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    module = import_module("kit.plugin")
    assert (module.within, module.Predictor, sys.modules["kit"].beside) == (7, 8, 9)


def test_folders_above_the_file_are_not_searched(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "b", mine="import helper", helper="from models import above")
    write(tmp_path / "a", models="above = 1")
    with pytest.raises(ImportError, match="cannot import name 'above'"):
        load_module(file, "mine")


def test_a_broken_module_on_pythons_path_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site", kit="import no_such_library")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_module(write(tmp_path, mine="import kit", kit="x = 1"), "mine")


PLUGIN = """
from dataclasses import dataclass
from models import strength
from samplers import Predictor, Step, register_predictor
from sde_lib import SDE

@register_predictor
@dataclass(frozen=True)
class Nudge(Predictor):
    needs = SDE

    def update_fn(self, model, x, t, s, noise):
        return Step(x * strength, x * strength)
"""


def test_the_program_takes_a_plugin_beside_modules_called_like_ours(tmp_path: Path) -> None:
    file = write(tmp_path, nudge=PLUGIN, models="strength = 0", losses="1 / 0", configs="1 / 0")
    settings = {"plugins": file, "sampling__predictor": "nudge", "sampling__noise_removal": False}
    run(GAUSSIAN, "sample", tmp_path / "run", sampling__num_samples=4, **settings)
    with np.load(tmp_path / "run" / "samples" / "samples.npz") as written:
        assert (written["arr_0"] == 0).all()
    outcome = program(
        "--config", GAUSSIAN, "--workdir", tmp_path / "run", plugins=write(tmp_path, bad="import q")
    )
    assert outcome.error.startswith(f"plugin '{tmp_path}/bad.py' failed to import at line 1: ModuleNotFound")


def test_the_line_of_a_plugin_that_fails_is_named_however_its_path_is_written(tmp_path: Path) -> None:
    write(tmp_path, bad="x = 1\nimport no_such_library")
    for name in ("bad.py", "./bad.py", f"../{tmp_path.name}/bad.py", str(tmp_path / "bad.py")):
        with pytest.raises(
            ValueError, match=r"bad.py' failed to import at line 2: ModuleNotFoundError: .*no_such"
        ):
            load_plugins(name)


def test_a_plugin_is_executed_at_each_loading(tmp_path: Path) -> None:
    file = write(tmp_path, mine="import pathlib\nwith open('count', 'a') as f:\n    f.write('x')")
    load_plugins(f"{file}, {file}")
    assert (tmp_path / "count").read_text() == "xx"


def test_relative_imports_within_a_folder_called_like_ours_are_pythons(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        mine="from models import my_thing",
        models____init__="from .deep.part import my_thing",
    )
    (tmp_path / "models/deep").mkdir()
    (tmp_path / "models/deep/part.py").write_text("my_thing = 5")
    assert load_module(file, "mine").my_thing == 5
