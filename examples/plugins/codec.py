"""A codec: blocks of 2x2 pixels by their sums and differences, the Haar wavelets."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F

from run_lib.data.codecs import Codec, register_codec
from sde_lib import Range

HAAR = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


@register_codec(name="haar")
@dataclass(frozen=True)
class Haar(Codec):
    """Latents of four times the channels and half the size: an orthogonal map of each block, times ``gain``.

    Args:
        gain: of the latents.
    """

    gain: Annotated[float, Range(above=0)] = 1.0

    @property
    def fingerprint(self):
        return f"haar, gain {self.gain}"

    def image_shape(self, latent):
        if len(latent) != 3 or latent[0] % 4:
            raise ValueError(
                f"latents of 2x2 blocks have 4 channels for each of an image, not the shape {latent}."
            )
        return (latent[0] // 4, 2 * latent[1], 2 * latent[2])

    def encode(self, x):
        blocks = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4))
        return self.gain * torch.einsum("ij,bcjhw->bcihw", HAAR.to(x), blocks).flatten(1, 2)

    def decode(self, z):
        blocks = torch.einsum("ji,bcjhw->bcihw", HAAR.to(z), z.unflatten(1, (-1, 4)) / self.gain)
        return F.pixel_shuffle(blocks.flatten(1, 2), 2)
