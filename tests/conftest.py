"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sde_lib.registry import Registry
from tests.oracles import CASES, Case

OURS = ("sde_lib", "models", "samplers", "losses", "likelihood", "run_lib")


def registries() -> dict[int, Registry[Any]]:
    """Every registry of ours that has been imported."""
    return {
        id(value): value
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in OURS
        for value in list(vars(module).values())
        if isinstance(value, Registry)
    }


@contextlib.contextmanager
def plugins_forgotten() -> Iterator[None]:
    """What plugins have registered within is gone after it."""
    before = {key: set(registry._entries) for key, registry in registries().items()}
    try:
        yield
    finally:
        for key, registry in registries().items():
            for name, component in list(registry._entries.items()):
                if name not in before.get(key, ()) and component.__module__.partition(".")[0] not in OURS:
                    del registry._entries[name]


@pytest.fixture(autouse=True, scope="module")
def _no_plugin_outlives_its_tests() -> Iterator[None]:
    """What the plugins of a file of tests have registered is gone for the next."""
    with plugins_forgotten():
        yield


@pytest.fixture(autouse=True, scope="module")
def _the_folder_is_what_it_was() -> Iterator[None]:
    """Later tests, and the processes that they start, look for modules in it."""
    before = os.getcwd()
    yield
    assert os.getcwd() == before


def pytest_configure() -> None:
    """One thread a process: tensors here are small, and tests run several processes at a time."""
    torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests are there to the end: garbage is collected once, and not among them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each process takes neighbours, which share what is made once for a file, and at its end half of another's."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Every process of the project beside its oracle."""
    return CASES[request.param]
