"""Names of components."""

from __future__ import annotations

import re

import pytest

from sde_lib.registry import Registry, snake_case


class MyPredictor:
    """Something to register."""


@pytest.mark.parametrize(
    "spelling", ["MyPredictor", "my_predictor", "my-predictor", "MY_PREDICTOR", "myPredictor"]
)
def test_bare_registration_is_found_under_every_spelling(spelling: str) -> None:
    """The ancestor stores ``MyPredictor``, looks up lower case, and raises ``KeyError``."""
    register: Registry[object] = Registry("predictor")
    assert register(MyPredictor) is MyPredictor
    assert register[spelling] is MyPredictor
    assert spelling in register


def test_name_is_normalised_when_given_too() -> None:
    register: Registry[object] = Registry("predictor")
    register(name="DDIM-Fast")(MyPredictor)
    assert register["ddim_fast"] is register["ddim-fast"] is MyPredictor
    assert register.name_of(MyPredictor) == "ddim_fast"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("subVPSDE", "sub_vpsde"),
        ("DDIM", "ddim"),
        ("ReverseDDIM", "reverse_ddim"),
        ("LogSNR", "log_snr"),
        ("DPMSolver2", "dpm_solver2"),
        ("Uniform", "uniform"),
    ],
)
def test_camel_case_becomes_snake_case(name: str, key: str) -> None:
    assert snake_case(name) == key == snake_case(key)


def registry_of(*names: str) -> Registry[object]:
    register: Registry[object] = Registry("predictor")
    for name in names:
        register(name=name)(MyPredictor)
    return register


def test_unknown_name_is_answered_with_the_nearest() -> None:
    message = "unknown predictor 'ddmi'; registered: ancestral_sampling, ddim, none. Did you mean 'ddim'?"
    with pytest.raises(ValueError, match=re.escape(message)):
        registry_of("ddim", "none", "ancestral_sampling")["ddmi"]


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(ValueError, match=r"registered: ddim\.$"):
        registry_of("ddim")["xyzzy"]


def test_one_name_for_two_classes_is_refused() -> None:
    register = registry_of("ddim")
    with pytest.raises(ValueError, match=r"'ddim' is already registered by .*MyPredictor; register"):

        @register(name="ddim")
        class Other: ...


def test_names_are_listed_in_order() -> None:
    assert list(registry_of("b", "c", "a")) == ["a", "b", "c"]
