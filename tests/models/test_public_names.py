"""What a user of the library imports, and that the parts which are imported late are all there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import models
from sde_lib.registry import Registry

ROOT = Path(models.__file__).parents[1]


CODES = {
    "package": "import sys, models, models.prediction.noise_model; print([m for m in sys.modules])",
    "scipy": "import sys, samplers, losses, likelihood; print('scipy' in sys.modules)",
    "own": (
        "from models.base import register_model\n"
        "try: register_model(name='ddpm')(type('Mine', (), {}))\n"
        "except ValueError as error: print(error)"
    ),
    **{
        origin: f"from {origin} import register_model; print(*register_model, register_model['ddpm'].__name__)"
        for origin in ("models", "models.base")
    },
}
FORKS = """
import os, sys
import torch
for code in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        exec(code, {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    if os.wait()[1]:
        sys.exit(1)
    print("---")
"""
"""Each code in a fork of a process that has imported torch, which takes seconds, and nothing of ours."""


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each code prints in an interpreter where nothing of ours was imported."""
    command = [sys.executable, "-c", FORKS, *CODES.values()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(CODES, map(str.strip, done.stdout.split("---\n"))))


def test_every_public_name_is_what_type_checkers_see() -> None:
    """The names that are imported late: the same modules in the table as in the block for type checkers."""
    tree = ast.parse(Path(models.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {
        alias.name: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    eager = {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert declared.keys() | eager >= set(models.__all__) > declared.keys()
    assert len(models.__all__) == len(set(models.__all__))
    for name, module in declared.items():
        assert getattr(models, name) is getattr(sys.modules[str(module)], name)
    assert set(models.__all__) <= set(dir(models))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'models' has no attribute 'DDMP'"):
        models.DDMP  # noqa: B018


@pytest.mark.slow
def test_importing_the_package_reads_no_network_and_no_checkpoint(printed: dict[str, str]) -> None:
    """The samplers import it; networks, and Triton behind the counter of operations, are read where they are used."""
    late = ("models.networks", "models.exact", "models.checkpoints", "torch.utils.flop_counter", "scipy")
    assert "'models.base'" in printed["package"]
    assert not [name for name in late if f"'{name}" in printed["package"]]


@pytest.mark.slow
def test_scipy_is_imported_where_it_is_used(printed: dict[str, str]) -> None:
    """It takes a third of a second; by no package that samples or evaluates."""
    assert printed["scipy"] == "False"


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["models", "models.base"])
def test_registered_networks_are_found_without_further_imports(origin: str, printed: dict[str, str]) -> None:
    assert printed[origin] == (
        "adm adm_encoder adm_superres correlated_gaussian ddpm ddpm_1d ddpmpp dit edm2 edm_adm edm_ddpmpp edm_ncsnpp "
        "gaussian gaussian_mixture mlp ncsn ncsnpp ncsnv2_128 ncsnv2_256 ncsnv2_64 DDPM"
    )


@pytest.mark.slow
def test_a_network_of_ones_own_may_not_take_a_name_of_ours(printed: dict[str, str]) -> None:
    """The message names the class that comes too late, though ours is not yet imported."""
    assert printed["own"] == (
        "model 'ddpm' is already registered by models.networks.ddpm.DDPM; register __main__.Mine under "
        "another name=."
    )


def test_a_provider_that_fails_is_asked_again() -> None:
    """An import that fails once, as of a missing library, must not leave the registry empty for ever."""
    registry: Registry[object] = Registry("thing")
    calls: list[int] = []

    def provider() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ImportError("not now")
        registry(name="found")(object)

    registry.provided_by(provider)
    with pytest.raises(ImportError, match="not now"):
        "found" in registry  # noqa: B015
    provider.__module__ = object.__module__.partition(".")[0]
    assert "found" in registry
    assert len(calls) == 2
