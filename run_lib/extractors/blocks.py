"""Networks are run on blocks of one size, so that an image's features do not depend on its batch-mates.

Products of matrices are added up in another order for other numbers of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from run_lib.metrics.base import Output
from sde_lib.finite import NotFiniteError

ON_CPU, ON_GPU = 8, 64
"""Images of a block."""


@torch.inference_mode()
def in_blocks(
    network: Callable[[Tensor], Mapping[Output, Tensor]],
    images: Tensor,
    outputs: Collection[Output],
    device: torch.device,
) -> dict[Output, np.ndarray]:
    """Outputs (N, D) of images, float32; the last block is filled up with its last image.

    Args:
        network: of images (B, ...) on the device, B always the same.
        images: (N, ...).
        outputs: that are asked for.
        device: where the network is.

    Raises:
        ValueError: the network has no such output, or there are no images.
        NotFiniteError: an output is infinite or NaN.
    """
    if not len(images):
        raise ValueError("there are no images to extract features from.")
    size = ON_CPU if device.type == "cpu" else ON_GPU
    blocks: list[dict[Output, np.ndarray]] = []
    for block in images.split(size):
        filled = torch.cat([block, *[block[-1:]] * (size - len(block))]).to(device)
        found = network(filled)
        if unknown := [name for name in outputs if name not in found]:
            raise ValueError(f"this extractor gives {', '.join(found)}, and no {unknown[0]}.")
        ours = {name: found[name][: len(block)].float() for name in outputs}
        if lost := [name for name, rows in ours.items() if not bool(rows.isfinite().all())]:
            raise NotFiniteError(
                f"the {lost[0]} of an image are not finite: its network, or its weights, are damaged."
            )
        blocks.append({name: rows.cpu().numpy() for name, rows in ours.items()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in outputs}
