"""What a configuration's network is told by the process, and the settings that are refused."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from ml_collections import ConfigDict

from run_lib.config import plans
from run_lib.config.configuration import complete
from tests.run_lib.planned import planned, subject, with_fields


def config_of(path: str, **fields: Any) -> ConfigDict:
    config: ConfigDict = importlib.import_module(f"configs.{path}").get_config()
    return with_fields(config, fields)


@pytest.mark.parametrize("path", ["ncsnv2.cifar10", "ddpm.cifar10_ve", "ncsnpp.cifar10_ve"])
def test_division_by_the_noise_level_of_the_state(path: str) -> None:
    """The network's table at the label that it is fed is the process's own sigma, in training on the chain
    and in sampling at the SDE's time: a table the wrong way round would be off by up to 5000."""
    narrow = {"model__nf": 32, "model__num_res_blocks": 1, "model__num_scales": 50}
    found = subject(config_of(path, **narrow))
    table = found.network.sigmas
    for model, times in (
        (found.training, torch.arange(50)),
        (found.sampling, torch.linspace(0, 1, 50, dtype=torch.float64)[1:]),
    ):
        fed = table[model.time.labels(times).long()]  # type: ignore[index]
        torch.testing.assert_close(fed.double(), model.process.marginal(times).sigma, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("ncsn.cifar10", {"training__continuous": True}, "counted from the largest.*continuous=False"),
        (
            "ncsnv2.cifar10",
            {"training__sde": "vpsde", "model__scale_by_sigma": None},
            "counted from the largest",
        ),
        ("ncsnpp.cifar10_ve", {"model__embedding_type": "fourier"}, "logarithm of a noise level.*positional"),
        ("ncsnpp.cifar10_vp", {"model__scale_by_sigma": True}, "networks give eps"),
        ("ddpm.cifar10_ve", {"training__continuous": True}, "each label of ddpm.*continuous=False"),
        ("ncsn.cifar10", {"model__interpolation": "nearest"}, "interpolation='nearest'.*'bilinear' always"),
        ("ncsn.cifar10", {"model__scale_by_sigma": True}, "scale_by_sigma=True.*'ncsn' has it False always"),
        ("ddpm.cifar10", {"model__normalization": "InstanceNorm++"}, "has it 'GroupNorm' always"),
        ("ddpm.cifar10", {"model__attention_type": "linear"}, "has it 'ddpm' always"),
        ("ddpm.cifar10", {"model__fir": True}, "config.model.fir is set, but network 'ddpm'"),
        ("ddpm.cifar10", {"model__num_head_channels": 32}, "config.model.num_head_channels is set"),
        (
            "ncsnpp.celeba_ve",
            {"model__sigma_begin": 50.0},
            "another spelling of config.model.sigma_max, which is 90",
        ),
        ("ddpm.cifar10", {"training__loss": "vesde"}, "another spelling of config.training.sde"),
    ],
)
def test_settings_that_would_be_ignored_or_wrong(path: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(config_of(path), plans.complete, fields)


def test_division_by_sigma_is_the_default_for_scores_only() -> None:
    """Unset, NCSN++ divides where its output is a score, and does not where it is eps."""
    assert subject(config_of("ncsnpp.cifar10_ve_continuous"), weights=False).network.scale_by_sigma
    assert not subject(config_of("ncsnpp.cifar10_vp_continuous"), weights=False).network.scale_by_sigma


def test_steps_are_the_levels_unless_set() -> None:
    """score_sde samples in ``num_scales`` steps."""
    assert complete(config_of("ncsnv2.bedroom")).sampling.num_steps == 1086
    assert complete(config_of("ncsnv2.bedroom", sampling__num_steps=20)).sampling.num_steps == 20


def test_configuration_built_from_nothing() -> None:
    """A file may define its own fields alone; the others have their defaults."""
    config = ConfigDict({"training": {"sde": "vesde"}, "model": {"name": "ncsnpp", "nf": 32}})
    plan = planned(config, plans.training)
    assert plan.settings.batch_size == 128
    assert plan.subject.record.values["model"]["nf"] == 32
