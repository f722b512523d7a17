"""NCSNv2: one network for all noise levels, its output divided by the level's sigma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, final

import torch
from torch import Tensor

from models.base import Network, register_model
from models.blocks.conditioning import refuse_unknown
from models.blocks.level_normalization import get_normalization, over_space
from models.blocks.ranges import Channels
from models.blocks.refinenet import RefineNet, Stage, make_kit
from models.networks.ncsn import check_sizes
from models.networks.variant import Variant
from sde_lib.ranges import Range
from sde_lib.schedules import geometric_sigmas


def noise_levels(sigma_min: float, sigma_max: float, num_scales: int, spacing: str) -> Tensor:
    """The table of sigmas, *descending*: entry 0 is ``sigma_max``. (num_scales,) float32.

    Raises:
        ValueError: an empty or reversed range, or an unknown spacing.
    """
    if not 0 < sigma_min <= sigma_max or num_scales < 1:
        raise ValueError(
            f"noise levels sigma_min={sigma_min}, sigma_max={sigma_max}, num_scales={num_scales}: "
            "need 0 < sigma_min <= sigma_max and num_scales >= 1."
        )
    if spacing == "geometric":
        return geometric_sigmas(num_scales, sigma_min, sigma_max).flip(0).float()
    if spacing == "uniform":
        return torch.linspace(sigma_max, sigma_min, num_scales, dtype=torch.float64).float()
    raise ValueError(f"unknown spacing {spacing!r} of the noise levels; allowed: geometric, uniform.")


_POOLED = Stage(2, pool=True)
_STAGES = {
    64: (Stage(1), _POOLED, Stage(2, dilation=2), Stage(2, dilation=4)),
    128: (Stage(1), _POOLED, _POOLED, Stage(4, dilation=2), Stage(4, dilation=4)),
    256: (Stage(1), _POOLED, _POOLED, _POOLED, Stage(4, dilation=2), Stage(4, dilation=4)),
}
"""The residual stages by the size of image that they are for."""


@final
class NCSNv2(Network):
    """NCSNv2: score(x, i) = refinenet(x) / sigmas[i], where the RefineNet is not told the level i.

    The label i is an index into the table *this network holds* (buffer ``sigmas``), which descends
    from ``sigma_max``, as in both references: label 0 is the largest noise, and the label of the
    discrete VE process descends with time. (score_sde's process holds a second, *ascending* table
    of the same sigmas; labels never index that one.) Labels may come as floats and are rounded; an
    index outside the table is an error.

    Source: Song & Ermon 2020, appendix B; techniques 3 (division by sigma) and 2 (geometric levels).

    Args:
        pixels: the size of image that its depth is for: 64 (below 96 pixels; the original's ``NCSNv2``), 128
            (96 to 128 pixels; ``NCSNv2Deeper``) or 256 (``NCSNv2Deepest``). It halves the size once, twice or
            three times.
        in_channels: channels of the state and of the score.
        channels: base width (the references' ``nf`` or ``ngf``).
        sigma_min: the last, smallest noise level.
        sigma_max: the first, largest noise level.
        num_scales: number of noise levels, hence of labels.
        sigma_spacing: ``geometric`` or ``uniform`` distance between the levels.
        normalization: see ``models.blocks.level_normalization.get_normalization``.
        nonlinearity: elu, relu, lrelu or swish.
        centered: the data are centred already (in [-1, 1], or logits); otherwise [0, 1] is mapped
            to [-1, 1] inside. The original's ``rescaled`` and ``logit_transform`` both mean this.
        dims: spatial dimensions.
        use_checkpoint: gradient checkpointing, which stores only the blocks' inputs for the backward pass and
            computes the rest again.

    Raises:
        ValueError: an unknown depth, normalisation, non-linearity or spacing, an empty range of sigmas, or
            dims outside 1, 2, 3.
    """

    output_kind = "score"
    time_label = "level"
    sigmas: Tensor

    keeps_nothing = True

    def __init__(
        self,
        *,
        pixels: int = 64,
        in_channels: int = 3,
        channels: Channels = 128,
        sigma_min: Annotated[float, Range(above=0)] = 0.01,
        sigma_max: Annotated[float, Range(above=0)] = 50.0,
        num_scales: Annotated[int, Range(least=1)] = 232,
        sigma_spacing: Literal["geometric", "uniform"] = "geometric",
        normalization: str = "InstanceNorm++",
        nonlinearity: str = "elu",
        centered: bool = False,
        dims: int = 2,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if pixels not in _STAGES:
            raise ValueError(f"pixels={pixels}: NCSNv2 is made for images of {', '.join(map(str, _STAGES))}.")
        self.in_channels, self.dims, self.centered = in_channels, dims, centered
        table = noise_levels(sigma_min, sigma_max, num_scales, sigma_spacing)
        self.register_buffer("sigmas", table, persistent=False)
        norm = get_normalization(normalization)
        kit = make_kit(
            dims=dims, nonlinearity=nonlinearity, norm=norm, conditional=False, checkpointed=use_checkpoint
        )
        self.trunk = RefineNet(in_channels=in_channels, width=channels, stages=_STAGES[pixels], kit=kit)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "none")
        level = labels.round().long()
        # index_select refuses a negative index, which would otherwise count from the end
        sigma = self.sigmas.index_select(0, level)
        out: Tensor = self.trunk(x if self.centered else 2 * x - 1, level)
        return out / over_space(sigma[:, None], x)

    def check_shape(self, shape: Sequence[int]) -> None:
        check_sizes(shape, in_channels=self.in_channels, dims=self.dims, factor=2**self.trunk.pools)


def _for_pixels(pixels: int, doc: str) -> Variant[NCSNv2]:
    return register_model(name=f"ncsnv2_{pixels}")(Variant(NCSNv2, doc, fixed={"pixels": pixels}))


NCSNv2For64 = _for_pixels(64, "NCSNv2 for images below 96 pixels; halves the size once.")
NCSNv2For128 = _for_pixels(128, "NCSNv2 for images of 96 to 128 pixels; halves the size twice.")
NCSNv2For256 = _for_pixels(256, "NCSNv2 for images of up to 256 pixels; halves the size three times.")
