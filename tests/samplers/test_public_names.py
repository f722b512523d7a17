"""What ``from samplers import ...`` and its sisters offer."""

from __future__ import annotations

import inspect
from importlib import resources
from types import ModuleType

import pytest

import likelihood
import losses
import samplers
import sde_lib
from losses import register_weighting
from samplers import register_corrector, register_posterior, register_predictor
from sde_lib import Registry, register_grid, register_sde

PACKAGES = [sde_lib, samplers, losses, likelihood]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_public_names_exist_once_and_the_package_is_typed(package: ModuleType) -> None:
    assert len(set(package.__all__)) == len(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert resources.files(package).joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    ("package", "registry"),
    [
        (sde_lib, register_grid),
        (sde_lib, register_sde),
        (samplers, register_predictor),
        (samplers, register_corrector),
        (samplers, register_posterior),
        (losses, register_weighting),
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_registered_classes_are_public(package: ModuleType, registry: Registry) -> None:
    """Those that the package itself registers; functions are named by what they build."""
    classes = [registry[name] for name in registry if inspect.isclass(registry[name])]
    ours = [cls for cls in classes if cls.__module__.split(".")[0] == package.__name__]
    assert ours
    assert [cls.__name__ for cls in ours if getattr(package, cls.__name__, None) is not cls] == []
    assert [cls.__name__ for cls in ours if cls.__name__ not in package.__all__] == []
