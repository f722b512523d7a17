"""The fingerprint of weights: a function of names and values alone."""

from __future__ import annotations

import torch

from run_lib.fingerprint import fingerprint


def layers() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_how_weights_are_stored_does_not_matter() -> None:
    """Another memory format, a wider type, another order of the layers' making: the same weights."""
    network, twin = layers(), layers()
    before = fingerprint(network)
    assert fingerprint(twin) != before
    twin.load_state_dict(network.state_dict())
    assert fingerprint(twin) == before
    assert fingerprint(twin.to(memory_format=torch.channels_last)) == before
    assert not twin[0].weight.is_contiguous(), "the format was changed"
    assert fingerprint(twin.double()) == before
    backwards = torch.nn.ModuleDict({"1": network[1], "0": network[0]})
    assert list(backwards.state_dict()) != list(network.state_dict())
    assert fingerprint(backwards) == before


def test_names_and_buffers_matter() -> None:
    network = layers()
    before = fingerprint(network)
    assert fingerprint(torch.nn.ModuleDict({"0": network[0], "2": network[1]})) != before
    network[1].running_mean[0] += 1
    assert fingerprint(network) != before


def test_weights_of_half_precision() -> None:
    """Types that numpy does not have are read too."""
    network = layers().bfloat16()
    assert fingerprint(network) == fingerprint(network.float())
