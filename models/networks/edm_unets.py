"""The U-Nets that EDM trains: DDPM++, NCSN++ and ADM, told classes and augmentation as there.

Karras et al. 2022, appendix F.1 and table 7. A preconditioning wraps them (``config.model.preconditioning``): they take
the state as it is given, whatever the range of the data.
"""

from __future__ import annotations

from models.base import register_model
from models.networks.adm import ADM
from models.networks.ncsnpp import NCSNpp
from models.networks.variant import Variant

_SONG = {
    "resample_with_conv": True,
    "nonlinearity": "swish",
    "conditional": True,
    "centered": True,
    "fourier_scale": 16.0,
    "resblock": "biggan",
    "skip_rescale": True,
    "progressive": "none",
    "progressive_combine": "sum",
    "init_scale": 0.0,
    "scale_by_sigma": False,
    "sigmas": None,
    "class_features": True,
}
_TRAINED = {"channel_mult": (2, 2, 2), "dropout": 0.13}
"""Where EDM's training of CIFAR-10 differs from score_sde's."""

EDMDDPMpp = register_model(name="edm_ddpmpp")(
    Variant(
        NCSNpp,
        """EDM's DDPM++: sinusoids of the label, the class told with them, no filters and no pyramids.

        The label ``num_classes`` stands for no class.
        """,
        defaults=_TRAINED,
        fixed={**_SONG, "embedding": "positional", "fir_kernel": None, "progressive_input": "none"},
        says={"spare_label": True},
    )
)

EDMNCSNpp = register_model(name="edm_ncsnpp")(
    Variant(
        NCSNpp,
        """EDM's NCSN++: Fourier features of the logarithm of the label, filters, and a residual pyramid of the input.

        The label ``num_classes`` stands for no class.
        """,
        defaults=_TRAINED,
        fixed={**_SONG, "embedding": "fourier", "fir_kernel": (1, 3, 3, 1), "progressive_input": "residual"},
        says={"spare_label": True},
    )
)

EDMADM = register_model(name="edm_adm")(
    Variant(
        ADM,
        """EDM's ADM: blocks that resample, FiLM, and heads of 64 channels at every block of a level with attention.

        The label ``num_classes`` stands for no class.
        """,
        defaults={
            "channels": 192,
            "channel_mult": (1, 2, 3, 4),
            "num_res_blocks": 3,
            "attention_resolutions": (32, 16, 8),
            "num_head_channels": 64,
            "dropout": 0.1,
        },
        fixed={
            "num_heads": 1,
            "num_heads_upsample": None,
            "use_new_attention_order": False,
            "use_scale_shift_norm": True,
            "resblock_updown": True,
            "conv_resample": True,
            "upsample": "nearest",
            "spare_label": True,
        },
        says={"spare_label": True},
    )
)
