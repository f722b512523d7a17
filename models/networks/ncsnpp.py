"""NCSN++ and DDPM++ by name: the defaults that their papers train with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from models.base import register_model
from models.networks.progressive import ProgressiveUNet


@final
@register_model(name="ncsnpp")
class NCSNpp(ProgressiveUNet):
    """NCSN++, every option; defaults of the ancestor's continuous VE on CIFAR-10 (``ProgressiveUNet``)."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int | None = None,
        image_size: int | Sequence[int] = 32,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 4,
        attention_resolutions: Sequence[int] = (16,),
        resample_with_conv: bool = True,
        dropout: float = 0.1,
        nonlinearity: str = "swish",
        conditional: bool = True,
        centered: bool = False,
        embedding: str = "fourier",
        fourier_scale: float = 16.0,
        fir_kernel: Sequence[float] | None = (1, 3, 3, 1),
        resblock: str = "biggan",
        skip_rescale: bool = True,
        progressive: str = "none",
        progressive_input: str = "residual",
        progressive_combine: str = "sum",
        init_scale: float = 0.0,
        scale_by_sigma: bool = True,
        sigmas: Sequence[float] | Tensor | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            image_size=image_size,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            resample_with_conv=resample_with_conv,
            dropout=dropout,
            nonlinearity=nonlinearity,
            conditional=conditional,
            centered=centered,
            embedding=embedding,
            fourier_scale=fourier_scale,
            fir_kernel=fir_kernel,
            resblock=resblock,
            skip_rescale=skip_rescale,
            progressive=progressive,
            progressive_input=progressive_input,
            progressive_combine=progressive_combine,
            init_scale=init_scale,
            scale_by_sigma=scale_by_sigma,
            sigmas=sigmas,
            num_classes=num_classes,
        )


@final
@register_model(name="ddpmpp")
class DDPMpp(ProgressiveUNet):
    """DDPM++: the blocks for VP and subVP, no filters, no pyramids (Song et al. 2021, appendix H)."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int | None = None,
        image_size: int | Sequence[int] = 32,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 4,
        attention_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        nonlinearity: str = "swish",
        conditional: bool = True,
        centered: bool = True,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            image_size=image_size,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            resample_with_conv=True,
            dropout=dropout,
            nonlinearity=nonlinearity,
            conditional=conditional,
            centered=centered,
            embedding="positional",
            fourier_scale=16.0,
            fir_kernel=None,
            resblock="biggan",
            skip_rescale=True,
            progressive="none",
            progressive_input="none",
            progressive_combine="sum",
            init_scale=0.0,
            scale_by_sigma=False,
            sigmas=None,
            num_classes=num_classes,
        )
