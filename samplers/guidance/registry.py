"""Guidance wrappers by name."""

from __future__ import annotations

from collections.abc import Callable

from models.prediction.noise_model import Model
from samplers.guidance.autoguidance import Autoguidance
from samplers.guidance.cfg_plus_plus import CFGPlusPlus
from samplers.guidance.classifier import ClassifierGuidance
from samplers.guidance.classifier_free import ClassifierFreeGuidance
from samplers.guidance.projected import ProjectedGuidance
from sde_lib.registry import Registry

register_guidance: Registry[Callable[..., Model]] = Registry("guidance")
"""Functions or classes that wrap a ``model``. By these names they are given ``classifier``, the classifier that
``guidance.classifier`` names; ``guide``, the model that ``guidance.guide`` names, and ``told``, whether that is told a
class; ``null_label``, the label that stands for no class; and ``conditional``, whether the model itself is told a
class. Every other parameter is a setting."""

register_guidance(name="classifier")(ClassifierGuidance)
register_guidance(name="classifier_free")(ClassifierFreeGuidance)
register_guidance(name="cfg_plus_plus")(CFGPlusPlus)
register_guidance(name="projected")(ProjectedGuidance)
register_guidance(name="autoguidance")(Autoguidance)
