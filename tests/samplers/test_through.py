"""Measurements of what a map makes of samples: of a linear map those of the product of both, else its derivative."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.posterior_toys import SHAPE, SIZE, STD, dense, model
from models.prediction.noise_model import NoiseModel
from samplers.inverse import DPS, MomentMatching, PosteriorModel, PseudoInverseGuidance
from samplers.operators import LinearOperator, Measurement, Through, check_adjoint, register_operator
from samplers.operators.compressed_sensing import Matrix
from sde_lib import VPSDE
from tests.samplers.test_inverse_models import OPERATORS, Problem, draw

MIX = torch.eye(SIZE, dtype=torch.float64) + 0.2 * draw(5, 16).flatten(1)


def mixed(z: Tensor) -> Tensor:
    return (z.flatten(1) @ MIX.to(z.dtype).T).reshape(z.shape)


def bent(z: Tensor) -> Tensor:
    return mixed(z).tanh()


def attending(z: Tensor) -> Tensor:
    """Rows of a sample attend to one another, as in the middle of an autoencoder."""
    rows = z[:, 0]
    attended: Tensor = F.scaled_dot_product_attention(rows, 2 * rows, rows.sin())
    return attended[:, None]


METHODS: dict[str, Callable[[NoiseModel, Measurement], PosteriorModel]] = {
    "dps": lambda m, a: DPS(m, a, noise_std=0.1, weight="likelihood"),
    "pseudo_inverse": lambda m, a: PseudoInverseGuidance(m, a, noise_std=0.1, data_std=STD),
    "moment_matching": lambda m, a: MomentMatching(m, a, noise_std=0.1, iterations=16),
}


@pytest.mark.parametrize("operator", ["downsample", "gaussian"])
@pytest.mark.parametrize("method", METHODS)
def test_through_a_matrix_it_is_the_product(method: str, operator: str) -> None:
    """Every method: that of the matrix A M, whose closed forms it takes there, and conjugate gradients here."""
    problem = Problem("correlated", "vp", operator, 0.1, 0.4)
    product = Matrix(dense(problem.operator) @ MIX, SHAPE)
    through = Through(problem.operator, mixed)
    y = problem.y
    ours = METHODS[method](problem.model, through)(problem.x, problem.t, measurement=y).x0
    theirs = METHODS[method](problem.model, product)(problem.x, problem.t, measurement=y.flatten(1)).x0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)
    without = METHODS[method](problem.model, problem.operator)(problem.x, problem.t, measurement=y).x0
    assert (ours - without).abs().max() > 1e-3


@pytest.mark.parametrize("operator", OPERATORS)
def test_moment_matching_through_a_matrix_is_exact_on_gaussians(operator: str) -> None:
    problem = Problem("correlated", "vp", operator, 0.1, 0.4)
    problem.A = problem.A @ MIX.numpy()
    guided = MomentMatching(problem.model, Through(problem.operator, mixed), noise_std=0.1, iterations=16)
    assert problem.agree(guided, problem.conditioned())


@pytest.mark.parametrize("f", [bent, attending])
def test_its_derivative_is_that_of_differences(f: Callable[[Tensor], Tensor]) -> None:
    """And the adjoint is the adjoint of that."""
    through, x, v = Through(OPERATORS["downsample"], f), draw(0), draw(1)
    near, h = through.at(x), 1e-5
    torch.testing.assert_close(near.image, through.apply(x))
    difference = (through.apply(x + h * v) - through.apply(x - h * v)) / (2 * h)
    torch.testing.assert_close(near.operator.apply(v), difference, rtol=1e-7, atol=1e-8)
    check_adjoint(near.operator, x.shape, tolerance=1e-10)


def test_dps_through_a_map_is_the_gradient_of_its_residual() -> None:
    """-grad |y - A f(x0(x))|^2 / (2 noise_std^2), by differences."""
    prior, operator = model("mixture", VPSDE()), OPERATORS["mask"]
    guided = DPS(prior, Through(operator, bent), noise_std=0.3, weight="likelihood")
    x, y, t = draw(0, 1), operator.apply(draw(1, 1)), torch.full((1,), 0.4, dtype=torch.float64)
    step = 1e-5 * torch.eye(SIZE, dtype=torch.float64).reshape(SIZE, *SHAPE)

    def cost(states: Tensor) -> Tensor:
        found = prior(states, t.expand(len(states))).x0
        residual = y - operator.apply(bent(found))
        return residual.square().flatten(1).sum(1) / (2 * 0.3**2)

    gradient = ((cost(x + step) - cost(x - step)) / 2e-5).reshape(x.shape)
    shift = guided(x, t, measurement=y).score - prior(x, t).score
    torch.testing.assert_close(shift, -gradient, rtol=1e-5, atol=1e-6)


def test_a_map_without_gradients_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes a decoder that passes gradients on, .*'replacement'"):
        Through(OPERATORS["mask"], torch.no_grad()(mixed)).at(draw(0))


def test_its_tables_move_with_it() -> None:
    moved = Through(OPERATORS["mask"], mixed).map(lambda table: table.to("meta"))
    assert moved.operator.known.is_meta  # type: ignore[attr-defined]


@pytest.mark.parametrize(("unknown", "known"), [("lower", [[1, 1], [0, 0]]), ("right", [[1, 0], [1, 0]])])
def test_a_mask_of_blocks(unknown: str, known: list[list[int]]) -> None:
    mask = register_operator["mask_half"]((3, 4, 6), unknown=unknown).of_cells((3, 4, 6), (2, 2))
    assert mask is not None
    assert mask.apply(torch.ones(1, 5, 2, 2)).tolist() == [[known] * 5]


def test_a_block_is_known_where_all_of_its_pixels_are() -> None:
    box = register_operator["mask_box"]((1, 4, 4), height=1, width=1, top=1, left=2)
    mask = box.of_cells((1, 4, 4), (2, 2))
    assert mask is not None
    assert mask.apply(torch.ones(1, 1, 2, 2))[0, 0].tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("name", ["downsample", "blur", "compressed_sensing", "fourier", "grey"])
def test_what_mixes_pixels_has_no_blocks(name: str) -> None:
    settings = {"blur": {"std": 1.0}, "compressed_sensing": {"measurements": 4}, "fourier": {"lines": 2}}
    operator: LinearOperator = register_operator[name]((3, 4, 4), **settings.get(name, {}))
    assert operator.of_cells((3, 4, 4), (2, 2)) is None
