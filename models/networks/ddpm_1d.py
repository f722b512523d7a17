"""A preset of the DDPM U-Net for signals."""

from __future__ import annotations

from models.base import register_model
from models.networks.ddpm import DDPM
from models.networks.variant import Variant

DDPM1D = register_model(name="ddpm_1d")(
    Variant(
        DDPM,
        "The DDPM U-Net for signals (B, C, L), L a multiple of 8, with attention at 16 positions and below.",
        defaults={
            "in_channels": 1,
            "image_size": (64,),
            "channels": 32,
            "channel_mult": (1, 2, 2, 2),
            "num_res_blocks": 1,
            "attention_resolutions": (8, 16),
            "dropout": 0.0,
        },
    )
)
