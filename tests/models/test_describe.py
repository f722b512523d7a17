"""The cost of a network, against what one counts by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.base import Network
from models.describe import LayerGroup, count_parameters, describe
from models.networks.ncsnv2 import NCSNv2For64


class Mlp(Network):
    """4 -> 8 -> 2, the activation shared by two places."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.first = nn.Sequential(nn.Linear(4, 8), self.act)
        self.parts = nn.ModuleList([nn.Linear(8, 2)])

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return self.parts[0](self.first(x))


class ConvNet(Network):
    """A strided convolution, a product outside any submodule, and conditioning on it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.mix = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        h = self.conv(x).flatten(2) * cond["scale"][:, None, None]
        return self.mix.detach() @ h


def test_linear_layers_by_hand() -> None:
    """Parameters in * out + out, FLOP 2 * in * out; saved: the input (4 floats) and the ReLU's output (8)."""
    rows = describe(Mlp(), (4,)).rows
    assert rows == (
        LayerGroup("first", parameters=40, flop=2 * 4 * 8, activation_bytes=4 * (4 + 8)),
        LayerGroup("parts.0", parameters=18, flop=2 * 8 * 2, activation_bytes=0),
    )


def test_convolution_by_hand() -> None:
    """8x6 at stride 2 gives 4x3 places: 2 * 27 * 5 * 12 FLOP inside conv, 2 * 5 * 5 * 12 outside.

    Saved: the convolution's input (144 floats) and, outside, the scale (1). The product keeps the
    mixing matrix, which is a parameter's memory and so no activation.
    """
    rows = describe(ConvNet(), (3, 8, 6), scale=torch.ones(1)).rows
    assert rows == (
        LayerGroup("conv", parameters=27 * 5 + 5, flop=2 * 27 * 5 * 12, activation_bytes=4 * 144),
        LayerGroup("(other)", parameters=25, flop=2 * 5 * 5 * 12, activation_bytes=4 * 1),
    )


def test_a_real_network_is_described_without_computing() -> None:
    """On the meta device; the closed form of NCSNv2's first layers, and the table has every group."""
    with torch.device("meta"):
        network = NCSNv2For64(channels=128)
    described = describe(network, (3, 32, 32))
    rows = {row.name: row for row in described.rows}
    positions, kernel = 32 * 32, 9 * 128 * 128
    assert rows["trunk.begin_conv"].flop == 2 * 27 * 128 * positions
    assert rows["trunk.stages.0"].parameters == 4 * (kernel + 128) + 4 * 3 * 128
    assert rows["trunk.stages.0"].flop == 4 * 2 * kernel * positions
    # adapt 2 x 4, fuse 2, pool 2, output 6 convolutions; one of adapt's inputs and its fusion are at 16 x 16
    assert rows["trunk.refine.3"].parameters == 18 * kernel + 2 * 128
    assert described.parameters == count_parameters(network)
    table = described.table()
    assert all(name in table for name in rows)
    assert f"{described.parameters:,}" in table.splitlines()[-1]


def test_weights_stay_as_they_are() -> None:
    network = Mlp()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    describe(network, (4,))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())
