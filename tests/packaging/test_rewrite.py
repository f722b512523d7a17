"""The build step that puts our packages below ``score_pc``: source text in, source text out."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest
import score_pc
import score_pc.models.base
from score_pc._backend import one_package
from score_pc._rewrite import rewrite

import models.base
from run_lib.config import bare_names
from tests.test_architecture import PACKAGES, ROOT, files

MODULES = {"models", "models.base", "likelihood", "likelihood.vlb", "configs", "main"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from models import a, b as c\n", "from score_pc.models import a, b as c\n"),
        ("from  models.base  import (\n  a,\n  b,\n)\n", "from  score_pc.models.base  import (\n  a,\n  b,\n)\n"),
        ("import models as m, os\n", "import score_pc.models as m, os\n"),
        ("import models\n", "import score_pc.models as models\n"),
        ("import likelihood.vlb", "import score_pc.likelihood.vlb, score_pc.likelihood as likelihood"),
        ("if x:\n    'ü'; import models.base as b; b.c\n", "if x:\n    'ü'; import score_pc.models.base as b; b.c\n"),
        ("import_module('models')", "import_module('score_pc.models')"),
        ("importlib.import_module('models.base')", "importlib.import_module('score_pc.models.base')"),
        ("TABLE = {'Model': 'models.base'}", "TABLE = {'Model': 'score_pc.models.base'}"),
    ],
)  # fmt: skip
def test_names_of_ours_are_rewritten(source: str, expected: str) -> None:
    assert rewrite(source, MODULES.__contains__) == expected


@pytest.mark.parametrize(
    "source",
    [
        "from . import models\nfrom .models import a\n",
        "import modelsx, os.path\nfrom modelsx.base import a\n",
        '"""From models import x. models.base"""\n# import models\nx = models.base\n',
        "x = {'models': 'models', 'y': 'models.other', f'models.base{x}': 'see models.base'}\n",
        "import_module(name)\nimport_module(f'{__name__}.base')\nimport_module(f'kit.{x}')\n",
    ],
)
def test_everything_else_stays(source: str) -> None:
    assert rewrite(source, MODULES.__contains__) == source


def test_a_name_put_together_at_run_time_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"line 2: importlib.import_module\(f'models\.\{x\}'\) cannot be rewritten"
    ):
        rewrite("\nimportlib.import_module(f'models.{x}')", MODULES.__contains__)


@pytest.mark.slow
def test_the_rewritten_repository_imports_nothing_by_a_bare_name(tmp_path: Path) -> None:
    one_package(ROOT, tmp_path)
    for package in PACKAGES:
        for file in files(package):
            copy = tmp_path / "score_pc" / file.relative_to(ROOT)
            tree = ast.parse(copy.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & set(PACKAGES), copy
            whole = ast.parse(file.read_text(encoding="utf-8"))
            assert sum(1 for _ in ast.walk(tree)) >= sum(1 for _ in ast.walk(whole)), "nothing is lost"
    assert "main" not in (tmp_path / "pyproject.toml").read_text().split("[tool.setuptools]")[1].split("[")[0]


def test_an_import_that_cannot_be_rewritten_names_its_file(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "models" / "lazy.py").write_text("import_module(f'models.{x}')")
    (tmp_path / "models" / "__init__.py").touch()
    (tmp_path / "main.py").touch()
    with pytest.raises(ValueError, match=r"^models/lazy\.py, line 1: import_module\(f'models"):
        one_package(tmp_path, tmp_path / "target")


def test_the_packages_are_listed_alike() -> None:
    assert set(bare_names.PACKAGES) == set(score_pc.PACKAGES) == set(PACKAGES) - {"main"}


def test_in_a_checkout_score_pc_is_the_bare_modules() -> None:
    assert score_pc.models is models
    assert score_pc.models.base is importlib.import_module("score_pc.models.base") is models.base
    assert models.__spec__.name == "models"
    assert Path(score_pc.CHECKOUT).samefile(ROOT)
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'score_pc\.numpy'"):
        importlib.import_module("score_pc.numpy")
    with pytest.raises(AttributeError, match="module 'score_pc' has no attribute 'numpy'"):
        score_pc.numpy  # noqa: B018


def test_a_module_of_the_users_in_the_place_of_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "losses", importlib.import_module("string"))
    with pytest.raises(
        ImportError, match=r"'losses' must be that folder's, and .*string.py is found instead"
    ):
        importlib.import_module("score_pc.likelihood.bits")
