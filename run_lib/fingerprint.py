"""A hash of a network's weights, by which results made with other weights are recognised."""

from __future__ import annotations

import hashlib

from torch import nn


def fingerprint(network: nn.Module) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a network's parameters and buffers.

    It depends on their names and values alone: not on the device, the memory format (channels last), the order in
    which layers were made, or a floating-point type wide enough to hold the values.
    """
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode())
        # ``tobytes`` walks the elements in the order of their indices, wherever they lie.
        sha.update(value.detach().cpu().double().numpy().tobytes())
    return sha.hexdigest()[:16]
