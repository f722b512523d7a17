"""DDPM++, NCSN++'s settings for VP and subVP."""

from __future__ import annotations

from models.base import register_model
from models.networks.ncsnpp import NCSNpp
from models.networks.variant import Variant

DDPMpp = register_model(name="ddpmpp")(
    Variant(
        NCSNpp,
        """DDPM++, the blocks of NCSN++ for VP and subVP: no filters and no pyramids (Song et al. 2021, appendix H).

        It is ``NCSNpp`` with sinusoids of the label and without the settings of filters and pyramids.
        """,
        defaults={"centered": True},
        fixed={
            "resample_with_conv": True,
            "embedding": "positional",
            "fourier_scale": 16.0,
            "fir_kernel": None,
            "resblock": "biggan",
            "skip_rescale": True,
            "progressive": "none",
            "progressive_input": "none",
            "progressive_combine": "sum",
            "class_features": False,
            "init_scale": 0.0,
            "scale_by_sigma": False,
            "sigmas": None,
        },
    )
)
