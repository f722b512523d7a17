"""What the blocks of a U-Net have in common, and how they stand in rows and levels."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast, final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

M = TypeVar("M", bound=nn.Module)


class Block(nn.Module, abc.ABC):
    """A map of features (B, C, ...) given the embedding (B, E) of time and class.

    Blocks of every kind are called alike; those that do not depend on the time leave the embedding aside.

    Attributes:
        checkpointed: store only the inputs for the backward pass and compute the rest again (Chen et al.
            2016, gradient checkpointing).
    """

    checkpointed: bool = False

    def forward(self, h: Tensor, emb: Tensor | None = None) -> Tensor:
        if self.checkpointed and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(self.evaluate, h, emb, use_reentrant=False)
            return recomputed
        return self.evaluate(h, emb)

    if TYPE_CHECKING:
        # nn.Module's returns Any.
        def __call__(self, h: Tensor, emb: Tensor | None = None) -> Tensor: ...

    @abc.abstractmethod
    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        """The block's output."""


@final
class Unchanged(Block):
    """The features as they are, where other levels have attention."""

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        return h


@final
class ModuleList(nn.ModuleList, Generic[M]):
    """``nn.ModuleList`` that knows what it holds."""

    def __iter__(self) -> Iterator[M]:
        return cast("Iterator[M]", super().__iter__())


@final
class Stage(nn.Module):
    """Named blocks in a row."""

    def __init__(self, **blocks: Block) -> None:
        super().__init__()
        for name, block in blocks.items():
            self.add_module(name, block)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        for block in self.children():
            h = block(h, emb)
        return h


@final
class Level(nn.Module):
    """The layers of one resolution of a U-Net.

    Args:
        blocks: in running order.
        attentions: after each block, or None.
        resample: to the next level, None at the last.
        pyramid: what the level adds to or takes from the image pyramid of its direction, None for nothing.

    Attributes:
        attends: whether there is attention after any block.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        attentions: Sequence[Block | None],
        resample: Block | None,
        pyramid: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.blocks: ModuleList[Block] = ModuleList(blocks)
        self.attentions: ModuleList[Block] = ModuleList(a or Unchanged() for a in attentions)
        self.resample = resample
        self.pyramid = pyramid
        self._attending = [a is not None for a in attentions]
        self.attends = any(self._attending)

    def units(self) -> Iterator[tuple[Block, Block]]:
        """Each block with what follows it: its attention, or nothing that changes the features."""
        return zip(self.blocks, self.attentions, strict=True)

    def layers(self) -> Iterator[Block]:
        """The blocks and what attention there is, in running order."""
        for (block, attention), attending in zip(self.units(), self._attending, strict=True):
            yield block
            if attending:
                yield attention
