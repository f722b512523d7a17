"""The residual block of DDPM, NCSN++ and ADM."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import final

from torch import Tensor, nn

from models.blocks.block import Block
from models.blocks.convolution import Convolution
from models.blocks.dropout import Dropout
from models.blocks.resample import Resampling


@dataclass(frozen=True)
class ResLayers:
    """The layers of a residual block.

    Attributes:
        norm_in: of the input.
        conv_in: from the input's channels to the output's; 3-wide where the block resamples.
        embedding: from the embedding to a shift per channel, with FiLM to as many scales and shifts; None for
            a block that is told nothing.
        norm_out: between the convolutions.
        conv_out: from the output's channels to as many.
        shortcut: of the input; None where it is added as it is.
    """

    norm_in: nn.Module
    conv_in: Convolution
    embedding: nn.Module | None
    norm_out: nn.Module
    conv_out: nn.Module
    shortcut: nn.Module | None


@dataclass(frozen=True)
class ResNames:
    """The names of a residual block's layers among a network's weights, by which checkpoints hold them."""

    norm_in: str = "norm_in"
    conv_in: str = "conv_in"
    embedding: str = "time_proj"
    norm_out: str = "norm_out"
    conv_out: str = "conv_out"
    shortcut: str = "shortcut"


@final
class ResBlock(Block):
    """Two convolutions with a shortcut, told the time between them.

    ``h = conv_in(r(act(norm_in(x))))``; with e the projected embedding ``h = norm_out(h + e)``, or with FiLM
    and e = (a, b) ``h = norm_out(h) (1 + a) + b``; the output is ``shortcut(r(x)) + conv_out(dropout(act(h)))``,
    with ``skip_rescale`` divided by sqrt 2. ``r`` is the optional change of resolution. The embedding comes activated:
    all blocks begin with the same.

    Ho et al. 2020, appendix B (addition); Song et al. 2021, appendix H (BigGAN's block, ``skip_rescale``);
    Dhariwal & Nichol 2021, section 3 (FiLM, as adaptive group normalisation).

    Args:
        layers: with weights of their own.
        act: the activation.
        dropout: probability, before the last convolution.
        film: scale and shift the second normalisation by the embedding; otherwise it is added before.
        skip_rescale: divide the sum of shortcut and branch by sqrt 2.
        resample: applied to the branch and to the shortcut's input.
        checkpointed: see ``Block``.
        names: of the layers.
    """

    def __init__(
        self,
        layers: ResLayers,
        *,
        act: nn.Module,
        dropout: float = 0.0,
        film: bool = False,
        skip_rescale: bool = False,
        resample: Resampling | None = None,
        checkpointed: bool = False,
        names: ResNames | None = None,
    ) -> None:
        super().__init__()
        self.act = act
        self.film = film
        self.gain = math.sqrt(0.5) if skip_rescale else 1.0
        self.dropout = Dropout(dropout)
        self.resample = resample
        self.checkpointed = checkpointed
        self.names = names or ResNames()
        self._order: tuple[str, ...] = astuple(self.names)
        for name, layer in zip(self._order, vars(layers).values(), strict=True):
            self.add_module(name, layer)

    @property
    def layers(self) -> ResLayers:
        """The layers by their part in the block, whatever their names."""
        return ResLayers(*(getattr(self, name) for name in self._order))

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        layers, x = self.layers, h
        h = self.act(layers.norm_in(h))
        if self.resample is None:
            h = layers.conv_in(h)
        else:
            h, x = self.resample.into(h, layers.conv_in), self.resample(x)
        if layers.embedding is not None:
            e = layers.embedding(emb)
            e = e.reshape(*e.shape, *[1] * (h.ndim - 2))
            if self.film:
                scale, shift = e.chunk(2, dim=1)
                h = layers.norm_out(h) * (1 + scale) + shift
            else:
                h = layers.norm_out(h + e)
        else:
            h = layers.norm_out(h)
        h = layers.conv_out(self.dropout(self.act(h)))
        if layers.shortcut is not None:
            x = layers.shortcut(x)
        return x + h if self.gain == 1.0 else (x + h) * self.gain
