"""Linear operators: what they measure, as matrices written a second time; adjoints, inverses, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from samplers.operators import (
    Downsample,
    Fourier,
    Grey,
    LinearOperator,
    Mask,
    Matrix,
    check_adjoint,
    register_operator,
)
from samplers.operators.krylov import conjugate_gradients
from sde_lib import Noise

SHAPE = (3, 4, 6)
EVEN = torch.tensor([[1, 1, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0]])
OPERATORS: dict[str, LinearOperator] = {
    "box": register_operator["mask_box"](SHAPE, height=2, width=3),
    "half": register_operator["mask_half"](SHAPE, unknown="right"),
    "random": register_operator["mask_random"](SHAPE, fraction=0.4, seed=3),
    "grey": register_operator["grey"](SHAPE),
    "downsample": register_operator["downsample"](SHAPE, factor=2),
    "circular": register_operator["blur"](SHAPE, std=0.6),
    "reflect": register_operator["blur"](SHAPE, std=0.8, boundary="reflect"),
    "orthonormal": register_operator["compressed_sensing"](SHAPE, measurements=9),
    "gaussian": register_operator["compressed_sensing"](SHAPE, measurements=9, kind="gaussian"),
    "lines": register_operator["fourier"](SHAPE, lines=3, centre=1),
    "paired": Fourier(EVEN),
}


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return Noise(seed, range(shape[0]), dtype=torch.float64).normal(shape)


def dense(operator: LinearOperator) -> np.ndarray:
    size = int(np.prod(SHAPE))
    return operator.apply(torch.eye(size, dtype=torch.float64).reshape(size, *SHAPE)).flatten(1).T.numpy()


@dataclass(frozen=True)
class Wave(LinearOperator):
    """A user's operator that writes the two methods it must: running sums along the last axis."""

    def apply(self, x: Tensor) -> Tensor:
        return x.cumsum(-1)

    def adjoint(self, y: Tensor) -> Tensor:
        return y.flip(-1).cumsum(-1).flip(-1)


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint_passes_the_dot_product_test(name: str) -> None:
    check_adjoint(OPERATORS[name], (2, *SHAPE), tolerance=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_closed_forms_are_those_of_the_matrix(name: str) -> None:
    """Pseudo-inverse, ridge and gain against numpy's of the dense matrix."""
    operator, matrix = OPERATORS[name], dense(OPERATORS[name])
    y = operator.apply(draw((2, *SHAPE), 1)) + operator.restrict(
        draw(operator.apply(draw((2, *SHAPE))).shape, 2)
    )
    flat = y.flatten(1).numpy()
    inverse = operator.pseudo_inverse(y).flatten(1).numpy()
    assert np.allclose(inverse, flat @ np.linalg.pinv(matrix, rcond=1e-3).T, atol=1e-9)
    scale, shift = torch.tensor([0.5, 2.0]).double(), torch.tensor([0.1, 3.0]).double()
    ridge = operator.ridge(y, scale, shift).flatten(1).numpy()
    for k in range(2):
        gram = float(scale[k]) * matrix @ matrix.T + float(shift[k]) * np.eye(len(matrix))
        # The blur's patterns that count as not measured are below 1e-3 of the largest: none at these widths.
        assert np.allclose(ridge[k], matrix.T @ np.linalg.solve(gram, flat[k]), atol=1e-9)
    values = np.linalg.svd(matrix, compute_uv=False)
    values = values[values > 1e-9]
    if operator.gain is None:
        assert values.min() < 0.99 * values.max()
    else:
        assert np.allclose(values**2, operator.gain)


@pytest.mark.parametrize("name", OPERATORS)
def test_replacing_makes_the_state_measure_what_it_should(name: str) -> None:
    """A (x - A^+ (A x - y)) = y for y in the range, and nothing else changes: a second time changes nothing."""
    operator, x = OPERATORS[name], draw((2, *SHAPE), 1)
    y = operator.apply(draw((2, *SHAPE), 2))
    replaced = operator.replace(x, y)
    assert torch.allclose(operator.apply(replaced), y, atol=1e-9)
    assert torch.allclose(operator.replace(replaced, y), replaced, atol=1e-9)
    moved = (replaced - x).flatten(1).numpy()
    assert np.allclose(moved @ (np.eye(72) - np.linalg.pinv(dense(operator)) @ dense(operator)), 0, atol=1e-8)


def test_mask_keeps_known_pixels_bit_for_bit() -> None:
    """In float32, where x - (x - y) is not y."""
    operator, x, y = OPERATORS["random"], draw((2, *SHAPE)).float(), 1000 * draw((2, *SHAPE), 1).float()
    known = torch.as_tensor(operator.known).expand(2, *SHAPE)  # type: ignore[attr-defined]
    assert torch.equal(operator.replace(x, y)[known], y[known])
    assert torch.equal(operator.replace(x, y)[~known], x[~known])


def test_masks_hide_what_they_say() -> None:
    box = register_operator["mask_box"]((1, 4, 5), height=2, width=1, top=1, left=3).known[0].int()
    assert box.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1]]
    lower = register_operator["mask_half"]((1, 4, 2)).known[0].int()
    assert lower.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    left = register_operator["mask_half"]((1, 2, 4), unknown="left").known[0].int()
    assert left.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    known = register_operator["mask_random"]((3, 8, 8), fraction=0.25, seed=5).known
    assert int(known.sum()) == 16
    assert not torch.equal(known, register_operator["mask_random"]((3, 8, 8), fraction=0.25, seed=6).known)


def test_grey_replaced_is_the_ancestors_decoupling() -> None:
    """score_sde rotates the channels by an orthogonal M with first column constant and replaces that coordinate."""
    M = np.linalg.qr(np.array([[1.0, -1, 0], [1, 0.5, 1], [1, 0.5, -1]]))[0]
    x, grey = draw((2, *SHAPE)), draw((2, *SHAPE), 1).mean(1, keepdim=True)
    rotated = np.einsum("bihw,ij->bjhw", x.numpy(), M)
    rotated[:, 0] = np.einsum("bihw,ij->bjhw", grey.expand(2, *SHAPE).numpy(), M)[:, 0]
    expected = np.einsum("bjhw,ij->bihw", rotated, M)
    assert np.allclose(Grey().replace(x, grey).numpy(), expected)


def test_downsampling_averages_blocks() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert Downsample(2).apply(x)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


@pytest.mark.parametrize("boundary", ["circular", "reflect"])
def test_blur_of_a_point_is_a_gaussian_and_of_a_constant_the_constant(boundary: str) -> None:
    """Far from the edges the two boundaries agree; weights sum to one everywhere."""
    operator = register_operator["blur"]((1, 21, 21), std=1.5, boundary=boundary)
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    weights = np.exp(-0.5 * (np.arange(-10, 11) / 1.5) ** 2)
    expected = np.outer(weights, weights) / weights.sum() ** 2
    # Weights beyond seven standard deviations wrap around: exp(-0.5 49) = 2e-11.
    assert np.allclose(operator.apply(point)[0, 0].numpy(), expected, atol=1e-10)
    ones = torch.ones(1, 1, 21, 21, dtype=torch.float64)
    assert torch.allclose(operator.apply(ones), ones, atol=1e-12)


def test_reflecting_blur_mirrors_the_image_at_its_edges() -> None:
    """Against a circular blur of the image unfolded to twice its size."""
    x = draw((1, 1, 8, 8))
    unfolded = torch.cat([x, x.flip(-1)], -1)
    unfolded = torch.cat([unfolded, unfolded.flip(-2)], -2)
    whole = register_operator["blur"]((1, 16, 16), std=1.2).apply(unfolded)
    folded = register_operator["blur"]((1, 8, 8), std=1.2, boundary="reflect").apply(x)
    assert torch.allclose(folded, whole[..., :8, :8], atol=1e-12)


def test_strong_blur_is_inverted_stably_in_single_precision() -> None:
    """Singular values fall to 1e-15; what the blur keeps comes back, the rest stays out."""
    operator = register_operator["blur"]((1, 32, 32), std=3.0)
    x = operator.pseudo_inverse(operator.apply(draw((1, 1, 32, 32)).float()))
    again = operator.pseudo_inverse(operator.apply(x))
    # Rounding errors of 6e-8 are magnified by at most 1 / tolerance = 1000.
    assert torch.allclose(again, x, atol=1e-3)
    assert x.abs().max() < 10


def test_fourier_measures_the_transform() -> None:
    x = draw((2, *SHAPE))
    y = Fourier(EVEN).apply(x).numpy()
    spectrum = np.fft.fft2(x.numpy()) / np.sqrt(24) * EVEN.numpy()
    assert np.allclose(y[:, :3] + 1j * y[:, 3:], spectrum)


def test_scanner_reads_the_lowest_lines_and_some_others() -> None:
    known = register_operator["fourier"]((1, 8, 6), lines=4, centre=3).known
    rows = known.any(1)
    assert known.all(1).equal(rows)
    assert int(rows.sum()) == 4
    assert rows[[0, 1, 7]].all()  # frequencies 0, 1 and -1


def test_conjugate_gradients_solve_each_sample_exactly() -> None:
    """With as many iterations as eigenvalues; a sample of another scale, and one of zeros, do not disturb."""
    root = draw((3, 5, 5))
    matrix = root @ root.mT + 0.1 * torch.eye(5)
    b = draw((3, 5), 1) * torch.tensor([[1.0], [1e6], [0.0]])
    x = conjugate_gradients(lambda v: (matrix @ v[..., None])[..., 0], b, 20)
    assert torch.allclose(x, torch.linalg.solve(matrix, b), rtol=1e-8)


def test_operator_of_two_methods_has_the_rest() -> None:
    """By conjugate gradients; its inverse is the difference of neighbours."""
    x = draw((2, 3, 4))
    check_adjoint(Wave(), (2, 3, 4), tolerance=1e-12)
    assert torch.allclose(Wave().pseudo_inverse(x.cumsum(-1)), x, atol=1e-8)


def test_measured_noise_has_its_size_and_only_where_something_is_measured() -> None:
    operator = register_operator["mask_half"]((1, 64, 64))
    y = operator.measure(torch.zeros(4, 1, 64, 64), Noise(0, range(4)), 0.3)
    # 8192 values: standard error 0.3 / sqrt(2 8192) = 0.0023; four of them.
    assert y[:, :, :32].std().item() == pytest.approx(0.3, abs=0.01)
    assert (y[:, :, 32:] == 0).all()


def test_tables_move_without_changing_their_precision() -> None:
    for operator in OPERATORS.values():
        moved = operator.to("meta")
        assert moved.apply(torch.empty(2, *SHAPE, device="meta")).is_meta
        assert moved.pseudo_inverse(moved.apply(torch.empty(2, *SHAPE, device="meta"))).is_meta


@dataclass(frozen=True)
class Lopsided(LinearOperator):
    """Its adjoint is missing a factor of two."""

    def apply(self, x: Tensor) -> Tensor:
        return 2 * x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


@dataclass(frozen=True)
class Misshapen(LinearOperator):
    def apply(self, x: Tensor) -> Tensor:
        return x[..., :2]

    def adjoint(self, y: Tensor) -> Tensor:
        return y


def test_wrong_adjoints_are_refused() -> None:
    with pytest.raises(ValueError, match="adjoint is not the adjoint of apply"):
        check_adjoint(Lopsided(), (2, *SHAPE))
    with pytest.raises(ValueError, match="must map measurements back to samples"):
        check_adjoint(Misshapen(), (2, *SHAPE))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mask_image", {"known": torch.ones(5, 6)}, r"shape \(5, 6\), which does not broadcast"),
        ("mask_image", {"known": torch.full((4, 6), 0.5)}, "1 .known. and 0 .unknown. only"),
        ("mask_box", {"height": 5, "width": 2}, "does not lie in an image of 4 x 6"),
        ("mask_half", {"unknown": "bottom"}, "one of lower, upper, left, right"),
        ("mask_random", {"fraction": 1.5}, r"lies in \[0, 1\]"),
        ("downsample", {"factor": 4}, "does not divide an image of 4 x 6"),
        ("downsample", {"factor": 0}, "at least 1, got 0"),
        ("blur", {"std": 0.0}, "must be positive"),
        ("blur", {"boundary": "zero"}, "'circular' or 'reflect', got 'zero'"),
        ("blur", {"tolerance": 0.0}, "tolerance lies between 0 and 1"),
        ("compressed_sensing", {"measurements": 73}, "allows 1 to 72 measurements, got 73"),
        ("compressed_sensing", {"measurements": 7, "kind": "binary"}, "'orthonormal' or 'gaussian'"),
        ("fourier", {"lines": 5}, "of 4 lines"),
    ],
)
def test_wrong_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_operator[name](SHAPE, **settings)


def test_samples_of_another_shape_are_refused() -> None:
    x = torch.zeros(2, 1, 4, 4)
    for name, message in [
        ("circular", "build it for their size"),
        ("paired", "build it for their size"),
        ("grey", "the samples have 1"),
        ("orthonormal", r"samples of shape \(3, 4, 6\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            OPERATORS[name].apply(x)
    with pytest.raises(ValueError, match="a grey image is of 2 channels or more"):
        Grey(1)
    with pytest.raises(ValueError, match="needs 72 columns"):
        Matrix(torch.ones(2, 16), SHAPE)
    with pytest.raises(ValueError, match="0 or more; got -1"):
        Mask(torch.ones(4, 6)).measure(torch.zeros(1, 1, 4, 6), Noise(0, [0]), -1)
