"""What every metric refuses, and that it gives the same number again."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass, replace

import numpy as np
import pytest

from run_lib.metrics.base import InMemory, Output, SetMetric, register_metric
from sde_lib.settings import settings_of

RNG = np.random.default_rng(0)
SMALL = {"kernel": {"subsets": 3, "subset_size": 10}, "inception_score": {"splits": 3}}
METRICS = sorted(register_metric)


def metric(name: str) -> SetMetric:
    found: SetMetric = register_metric[name](**SMALL.get(name, {}))
    return found


def view(count: int, output: Output, dimensions: int = 4) -> InMemory:
    return InMemory({output: RNG.normal(size=(count, dimensions)).astype(np.float32)})


def test_the_metrics_that_there_are() -> None:
    assert METRICS == [
        "density_coverage", "frechet", "inception_score", "kernel", "mmd", "neighbours", "precision_recall", "sfid",
        "sliced_wasserstein",
    ]  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_settings_are_declared(name: str) -> None:
    kind = register_metric[name]
    assert is_dataclass(kind)
    assert all(setting.doc for setting in settings_of(kind))
    assert kind.title and inspect.getdoc(kind)


@pytest.mark.parametrize("name", METRICS)
def test_the_same_sets_and_seed_give_the_same_numbers(name: str) -> None:
    ours = metric(name)
    (output,) = ours.outputs
    samples, reference = view(60, output), view(70, output)
    found = ours.measure(samples, reference, 3)
    assert found == ours.measure(samples, reference, 3)
    assert all(np.isfinite(one.value) for one in found)
    assert len({one.name for one in found}) == len(found)


@pytest.mark.parametrize("name", METRICS)
def test_too_few_images_are_refused_and_enough_are_not(name: str) -> None:
    ours = metric(name)
    (output,) = ours.outputs
    least = ours.least(4)
    with pytest.raises(ValueError, match=rf"needs {least} images or more, and there are {least - 1}\."):
        ours.measure(view(least - 1, output), view(50, output), 0)
    if ours.needs_reference:
        with pytest.raises(ValueError, match=rf"needs {least} images or more, and there are {least - 1}\."):
            ours.measure(view(50, output), view(least - 1, output), 0)
    assert all(np.isfinite(one.value) for one in ours.measure(view(least, output), view(least, output), 0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", METRICS)
def test_features_that_are_not_finite_are_refused(name: str, value: float) -> None:
    ours = metric(name)
    (output,) = ours.outputs
    spoilt = view(50, output)
    spoilt.rows(output)[17, 2] = value
    with pytest.raises(ValueError, match=r"image 17 has .* not finite"):
        ours.measure(spoilt, view(50, output), 0)
    if ours.needs_reference:
        with pytest.raises(ValueError, match="not finite"):
            ours.measure(view(50, output), spoilt, 0)


@pytest.mark.parametrize("name", [name for name in METRICS if register_metric[name].needs_reference])
def test_features_of_other_lengths_are_refused(name: str) -> None:
    ours = metric(name)
    (output,) = ours.outputs
    with pytest.raises(ValueError, match="4 features and the reference 5"):
        ours.measure(view(50, output), view(50, output, 5), 0)


def test_an_output_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="no spatial"):
        metric("sfid").measure(view(50, "features"), view(50, "features"), 0)


def test_whole_sets_may_be_small() -> None:
    whole = replace(register_metric["kernel"](), subset_size=0)
    assert np.isfinite(whole.measure(view(4, "features"), view(4, "features"), 0)[0].value)
