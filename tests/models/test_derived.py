"""Weights that layers compute from their parameters are computed once where these stay as they are."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from models.blocks.derived import derived_once
from models.blocks.magnitude import MPLayer
from run_lib.computing.numerics import Arithmetic
from tests.models.test_inference import LABELS, gradients, inputs
from tests.models.test_one_graph import CONDITIONING, made
from tests.samplers.test_kernels import Kernels


def layer() -> MPLayer:
    torch.manual_seed(0)
    return MPLayer(3, 4)


def normalisations(of: MPLayer, x: Tensor, gain: Tensor | float = 1.0) -> int:
    with Kernels() as counted:
        of(x, gain)
    return counted.names.count("aten::linalg_vector_norm")


@torch.no_grad()
def test_a_weight_is_normalised_once_for_each_precision_and_gain() -> None:
    one, x, gain = layer(), torch.ones(2, 3), torch.tensor(0.5)
    wanted = one(x), one(x, gain), one(x.double())
    with derived_once():
        assert [normalisations(one, x) for _ in range(3)] == [1, 0, 0]
        assert [normalisations(one, x, gain) for _ in range(2)] == [1, 0]
        assert [normalisations(one, x.double()) for _ in range(2)] == [1, 0]
        assert normalisations(layer(), x) == 1, "another layer has its own"
        for found, plain in zip((one(x), one(x, gain), one(x.double())), wanted, strict=True):
            assert torch.equal(found, plain)
    assert [normalisations(one, x) for _ in range(2)] == [1, 1]


@torch.no_grad()
def test_the_next_work_finds_weights_that_have_changed() -> None:
    one, x = layer(), torch.ones(2, 3)
    with derived_once():
        before = one(x)
    one.weight.neg_()
    with derived_once():
        torch.testing.assert_close(one(x), -before)


def test_gradients_are_of_the_parameters_themselves() -> None:
    """Within the same work, after an evaluation without gradients."""
    network, x, cond = made("edm2"), inputs("edm2"), CONDITIONING["edm2"]
    wanted = gradients(deepcopy(network), x, cond)
    with derived_once():
        with torch.no_grad():
            found = network(x, LABELS, **cond)
        assert torch.equal(found, network(x, LABELS, **cond))
        for ours, theirs in zip(gradients(network, x, cond), wanted, strict=True):
            assert (ours is None and theirs is None) or torch.equal(ours, theirs)


@pytest.mark.parametrize(("constant", "expected"), [(True, [1, 0]), (False, [1, 1])])
@torch.no_grad()
def test_works_with_weights_that_stay_have_them_once(constant: bool, expected: list[int]) -> None:
    one, x = layer(), torch.ones(2, 3)
    with Arithmetic(constant=constant).used():
        assert [normalisations(one, x) for _ in range(2)] == expected
