"""Predictor-corrector samplers, training and likelihoods for score-based and diffusion models.

``from score_pc.samplers import PCSampler`` and the like. In a wheel the packages lie in this one. An editable
install leaves them in the checkout under their bare names, and ``score_pc.samplers`` is the module ``samplers``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

PACKAGES = ("sde_lib", "models", "samplers", "losses", "likelihood", "configs", "run_lib")

if Path(__file__).with_name("_checkout.py").exists():
    from score_pc._checkout import use_bare_names

    CHECKOUT: Path | None = use_bare_names((*PACKAGES, "main"))
    """Root of the repository in an editable install."""
else:
    CHECKOUT = None


def __getattr__(name: str) -> ModuleType | str:
    if name == "__version__":
        return importlib.metadata.version("score-pc")
    if name in PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
