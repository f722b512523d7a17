"""NCSN: the noise-conditional score network with a normalisation per noise level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, final

from torch import Tensor

from models.base import Network, register_model
from models.blocks.conditioning import refuse_unknown
from models.blocks.level_normalization import get_normalization
from models.blocks.ranges import Channels
from models.blocks.refinenet import RefineNet, Stage, make_kit
from sde_lib.ranges import Range

STAGES = (Stage(1), Stage(2, pool=True), Stage(2, dilation=2), Stage(2, dilation=4))


def check_sizes(shape: Sequence[int], *, in_channels: int, dims: int, factor: int) -> None:
    """Refuse a sample shape (C, ...) that halving ``log2(factor)`` times does not fit.

    Raises:
        ValueError: with the offending size and the sizes that are allowed.
    """
    channels, *sizes = shape
    if channels != in_channels or len(sizes) != dims:
        raise ValueError(
            f"sample shape {tuple(shape)}: this network takes {in_channels} channels and {dims} spatial "
            f"sizes; build it with in_channels={channels}, dims={len(sizes)}."
        )
    for size in sizes:
        if size % factor or size < 1:
            raise ValueError(
                f"sample shape {tuple(shape)}: every spatial size must be a multiple of {factor}, "
                f"{size} is not; pad or crop to {-(-max(size, 1) // factor) * factor}."
            )


@final
@register_model(name="ncsn")
class NCSN(Network):
    """NCSN, the noise conditional score network (Song & Ermon 2019): it outputs the score itself.

    Labels are indices into the rows of its conditional normalisations: 0 for the largest noise, as
    the label of the discrete VE process descends with time. They may come as floats and are rounded.

    Source: Song & Ermon 2019, appendix A.

    Args:
        in_channels: channels of the state and of the score.
        channels: base width (the references' ``nf`` or ``ngf``).
        num_scales: number of noise levels, hence of labels.
        normalization: see ``models.blocks.level_normalization.get_normalization``.
        nonlinearity: elu, relu, lrelu or swish.
        centered: the data are centred already (in [-1, 1], or logits); otherwise [0, 1] is mapped
            to [-1, 1] inside. NCSNv2's ``rescaled`` and ``logit_transform`` both mean this.
        dims: spatial dimensions.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.

    Raises:
        ValueError: an unknown normalisation or non-linearity, or dims outside 1, 2, 3.
    """

    output_kind = "score"
    time_label = "level"
    keeps_nothing = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Channels = 128,
        num_scales: Annotated[int, Range(least=1)] = 10,
        normalization: str = "InstanceNorm++",
        nonlinearity: str = "elu",
        centered: bool = False,
        dims: int = 2,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.dims, self.centered = in_channels, dims, centered
        norm = get_normalization(normalization, num_levels=num_scales)
        kit = make_kit(
            dims=dims, nonlinearity=nonlinearity, norm=norm, conditional=True, checkpointed=use_checkpoint
        )
        self.trunk = RefineNet(in_channels=in_channels, width=channels, stages=STAGES, kit=kit)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "none")
        score: Tensor = self.trunk(x if self.centered else 2 * x - 1, labels.round().long())
        return score

    def check_shape(self, shape: Sequence[int]) -> None:
        check_sizes(shape, in_channels=self.in_channels, dims=self.dims, factor=2**self.trunk.pools)
