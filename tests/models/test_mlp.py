"""The perceptron of vectors, and the U-Net preset of signals."""

from __future__ import annotations

import pytest
import torch

from models import MLP, count_parameters, register_model
from models.networks.ddpm import DDPM

X, LABELS = torch.linspace(-1, 1, 6).reshape(3, 2), torch.tensor([1.0, 500.0, 900.0])


def started(**settings: object) -> MLP:
    """With last layers that are not near zero, as after training."""
    torch.manual_seed(0)
    network = MLP(in_channels=2, channels=16, num_res_blocks=2, **settings)  # type: ignore[arg-type]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def test_its_weights_are_counted() -> None:
    """C = 16, E = 64, D = 2: C E + E + E E + E of the time, 7 C + 2 of the ends, 4 C + 2 C C + C (E + 1) of a block."""
    time, ends, block = (
        16 * 64 + 64 + 64 * 64 + 64,
        3 * 16 + 2 * 16 + 2 * 16 + 2,
        2 * 16 + 2 * 16 * 17 + 16 * 65,
    )
    assert count_parameters(started()) == time + ends + 2 * block
    assert count_parameters(started(num_classes=5)) == time + ends + 2 * block + 5 * 64
    assert started(out_channels=4)(X, LABELS).shape == (3, 4)


def test_it_starts_at_zero() -> None:
    assert MLP(in_channels=2)(X, LABELS).abs().max() < 1e-4


def test_each_row_is_its_own_and_told_its_time_and_class() -> None:
    network, y = started(num_classes=3), torch.tensor([0, 1, 2])
    together = network(X, LABELS, y=y)
    alone = network(X[1:2], LABELS[1:2], y=y[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-6)
    assert not torch.allclose(together, network(X, LABELS + 10, y=y), atol=1e-3)
    assert not torch.allclose(together, network(X, LABELS, y=y.flip(0)), atol=1e-3)


def test_what_it_cannot_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"mlp takes vectors of 2 numbers and samples have the shape \(1, 8, 8\)"
    ):
        started().check_shape((1, 8, 8))
    started().check_shape((2,))
    with pytest.raises(ValueError, match="knows no classes"):
        started()(X, LABELS, y=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="integers from 0 to 2"):
        started(num_classes=3).check_classes(torch.tensor([3]))
    with pytest.raises(ValueError, match="unknown conditioning low_res"):
        started()(X, LABELS, low_res=X)


def test_the_preset_of_signals_is_a_ddpm_of_one_axis() -> None:
    network = register_model["ddpm_1d"](in_channels=2)
    assert isinstance(network, DDPM)
    network.check_shape((2, 64))
    assert network(torch.ones(3, 2, 64), LABELS).shape == (3, 2, 64)
    with pytest.raises(ValueError, match="8"):
        network.check_shape((2, 60))
