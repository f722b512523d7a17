"""The RefineNet of NCSN and NCSNv2: dilated residual stages, then refinement from deep to shallow.

Source: Lin et al. 2017 (RefineNet), as adapted by Song & Ermon 2019 (NCSN, appendix A) and 2020
(NCSNv2, appendix B). Blocks are called ``block(x, level)``, the level in the place of a U-Net's
embedding; it reaches the conditional normalisations and is not looked at elsewhere. Works in one,
two and three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks.activation import activation
from models.blocks.block import Block, ModuleList
from models.blocks.convolution import Convolution, conv
from models.blocks.level_normalization import NormFactory, no_norm


@dataclass(frozen=True)
class Stage:
    """Two residual blocks at one scale.

    Attributes:
        width: channels as a multiple of the network's base width.
        pool: halve the size on entry.
        dilation: of the 3x3 convolutions; a dilated stage sees further without losing resolution.
    """

    width: int
    pool: bool = False
    dilation: int = 1


@dataclass(frozen=True)
class Kit:
    """The settings that all blocks of one network share."""

    dims: int  # spatial dimensions
    act: nn.Module  # without parameters or state, so one serves everywhere
    norm: NormFactory  # in the residual stages and before the last convolution
    refine_norm: NormFactory  # before every convolution of the refinement blocks
    average_pool: bool  # chained pooling by average instead of maximum
    checkpointed: bool = False  # see ``Block``; the fusions between blocks store what they need

    def conv(self, width_in: int, width_out: int, *, dilation: int = 1, bias: bool = True) -> Convolution:
        """A 3x3 convolution that keeps the size."""
        return conv(self.dims, width_in, width_out, dilation=dilation, bias=bias)

    def pool5(self) -> nn.Module:
        kinds = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d) if self.average_pool else (
            nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)  # fmt: skip
        return kinds[self.dims - 1](5, stride=1, padding=2)


@final
class ConvMeanPool(nn.Module):
    """A convolution, then the mean of every 2x2 cell."""

    def __init__(self, kit: Kit, width_in: int, width_out: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = conv(kit.dims, width_in, width_out, kernel=kernel_size)
        self.pool = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[kit.dims - 1](2)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.conv(x))
        return pooled


@final
class ResidualBlock(Block):
    """A residual block, x + conv(act(norm(conv(act(norm(x)))))); its shortcut is convolved where a stage begins.

    A dilated stage begins with a dilated 3x3 shortcut, a pooling one with 1x1 and mean pooling.
    """

    def __init__(
        self, kit: Kit, width_in: int, width_out: int, *, begins: bool, pool: bool, dilation: int
    ) -> None:
        super().__init__()
        self.checkpointed = kit.checkpointed
        assert begins or width_in == width_out
        self.act = kit.act
        self.conv1 = kit.conv(width_in, width_in, dilation=dilation)
        self.normalize2 = kit.norm(width_in)
        self.shortcut: nn.Module
        if begins and pool:
            self.conv2: nn.Module = ConvMeanPool(kit, width_in, width_out, 3)
            self.shortcut = ConvMeanPool(kit, width_in, width_out, 1)
        else:
            self.conv2 = kit.conv(width_in, width_out, dilation=dilation)
            self.shortcut = kit.conv(width_in, width_out, dilation=dilation) if begins else nn.Identity()
        self.normalize1 = kit.norm(width_in)

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        out = self.conv1(self.act(self.normalize1(h, emb)))
        out = self.conv2(self.act(self.normalize2(out, emb)))
        total: Tensor = self.shortcut(h) + out
        return total


@final
class RefineUnit(nn.Module):
    """Normalisation, activation and convolution: conv(act(norm(x)))."""

    def __init__(self, kit: Kit, width: int) -> None:
        super().__init__()
        self.act = kit.act
        self.norm = kit.refine_norm(width)
        self.conv = kit.conv(width, width, bias=False)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        out: Tensor = self.conv(self.act(self.norm(x, level)))
        return out


@final
class ResidualConvUnits(Block):
    """A row of ``num_blocks`` residual blocks x + unit(unit(x)) (RefineNet's residual convolution unit)."""

    def __init__(self, kit: Kit, width: int, num_blocks: int) -> None:
        super().__init__()
        self.checkpointed = kit.checkpointed
        self.units = nn.ModuleList(RefineUnit(kit, width) for _ in range(2 * num_blocks))

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        for first, second in zip(self.units[::2], self.units[1::2], strict=True):
            h = h + second(first(h, emb), emb)
        return h


@final
class ChainedPooling(Block):
    """Chained residual pooling: act(x) plus a chain of pooled and convolved copies of it, whose windows grow."""

    def __init__(self, kit: Kit, width: int) -> None:
        super().__init__()
        self.checkpointed = kit.checkpointed
        self.act, self.pool = kit.act, kit.pool5()
        self.convs = nn.ModuleList(kit.conv(width, width, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(kit.refine_norm(width) for _ in range(2))

    def evaluate(self, h: Tensor, emb: Tensor | None) -> Tensor:
        h = path = self.act(h)
        for norm, layer in zip(self.norms, self.convs, strict=True):
            path = layer(self.pool(norm(path, emb)))
            h = h + path
        return h


@final
class Fusion(nn.Module):
    """Multi-resolution fusion: the sum of several maps, each convolved and interpolated to one size."""

    def __init__(self, kit: Kit, widths: Sequence[int], width_out: int) -> None:
        super().__init__()
        self.mode = ("linear", "bilinear", "trilinear")[kit.dims - 1]
        self.convs = nn.ModuleList(kit.conv(width, width_out) for width in widths)
        self.norms = nn.ModuleList(kit.refine_norm(width) for width in widths)

    def forward(self, xs: Sequence[Tensor], level: Tensor, size: Sequence[int]) -> Tensor:
        maps = [layer(norm(x, level)) for x, norm, layer in zip(xs, self.norms, self.convs, strict=True)]
        resized = [F.interpolate(h, size=list(size), mode=self.mode, align_corners=True) for h in maps]
        return sum(resized[1:], resized[0])


@final
class RefineBlock(nn.Module):
    """A RefineNet block: residual units on each input, fusion at the first one's size, pooling, residual units."""

    def __init__(self, kit: Kit, widths: Sequence[int], width_out: int, *, last: bool) -> None:
        super().__init__()
        self.adapt_convs = nn.ModuleList(ResidualConvUnits(kit, width, 2) for width in widths)
        self.output_convs = ResidualConvUnits(kit, width_out, 3 if last else 1)
        self.msf = Fusion(kit, widths, width_out) if len(widths) > 1 else None
        self.crp = ChainedPooling(kit, width_out)

    def forward(self, xs: Sequence[Tensor], level: Tensor) -> Tensor:
        hs = [adapt(x, level) for adapt, x in zip(self.adapt_convs, xs, strict=True)]
        h = hs[0] if self.msf is None else self.msf(hs, level, xs[0].shape[2:])
        out: Tensor = self.output_convs(self.crp(h, level), level)
        return out


@final
class RefineNet(nn.Module):
    """The network of NCSN and NCSNv2, from a state to an output of the same shape.

    ``stages`` run from shallow to deep. ``refine[0]`` belongs to the deepest stage; each further one
    fuses the next shallower stage with what came before.

    Args:
        in_channels: channels of the state and of the output.
        width: base width (the references' ``ngf`` or ``nf``).
        stages: the residual stages.
        kit: what blocks are made with.
    """

    def __init__(self, *, in_channels: int, width: int, stages: Sequence[Stage], kit: Kit) -> None:
        super().__init__()
        self.pools = sum(stage.pool for stage in stages)
        self.act = kit.act
        self.begin_conv = kit.conv(in_channels, width)
        self.normalizer = kit.norm(width)
        self.end_conv = kit.conv(width, in_channels)
        widths = [width * stage.width for stage in stages]
        self.stages: ModuleList[ModuleList[ResidualBlock]] = ModuleList()
        for i, stage in enumerate(stages):
            before, dilation = widths[max(i - 1, 0)], stage.dilation
            self.stages.append(ModuleList([
                ResidualBlock(kit, before, widths[i], begins=i > 0, pool=stage.pool, dilation=dilation),
                ResidualBlock(kit, widths[i], widths[i], begins=False, pool=False, dilation=dilation),
            ]))  # fmt: skip
        self.refine = nn.ModuleList()
        for i in reversed(range(len(stages))):
            deepest = i == len(stages) - 1
            inputs = [widths[i]] if deepest else [widths[i], widths[i]]
            self.refine.append(RefineBlock(kit, inputs, widths[max(i - 1, 0)], last=i == 0))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h, features = self.begin_conv(x), []
        for blocks in self.stages:
            for block in blocks:
                h = block(h, level)
            features.append(h)
        fused: list[Tensor] = []
        for refine, feature in zip(self.refine, reversed(features), strict=True):
            fused = [refine([feature, *fused], level)]
        out: Tensor = self.end_conv(self.act(self.normalizer(fused[0], level)))
        return out


def make_kit(
    *, dims: int, nonlinearity: str, norm: NormFactory, conditional: bool, checkpointed: bool
) -> Kit:
    """The settings of NCSN's blocks if ``conditional`` (normalised refinement, average pooling), else NCSNv2's.

    Raises:
        ValueError: an unknown non-linearity, or not one to three dimensions.
    """
    if dims not in (1, 2, 3):
        raise ValueError(f"samples of {dims} spatial axes: this network has 1, 2 or 3 of them.")
    refine_norm = norm if conditional else no_norm
    return Kit(dims, activation(nonlinearity), norm, refine_norm, conditional, checkpointed)
