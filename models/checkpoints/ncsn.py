"""Checkpoints of NCSN and NCSNv2, from their authors' code and from score_sde_pytorch.

Parameters have the same names in both (``res2.0.conv1.weight``, ``refine1.crp.convs.0.weight``, with
``module.`` before them from DataParallel); the files differ:

- ncsnv2's training file is a *list* [model, optimizer, epoch, step] and, where it averaged, a fifth
  entry: averaged parameters by name (without ``module.``).
- score_sde_pytorch's is its dict {model, ema, optimizer, step}, the averages a list in the order of
  the model's parameters. It never built these networks itself, so such a file was written by a
  repaired copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

from torch import Tensor

from models.base import Network
from models.checkpoints.base import Family, register_family
from models.refinenet import RefineNet

MARKS = frozenset({"begin_conv.weight", "refine1.adapt_convs.0.1_1_conv.weight"})
BUFFERS = frozenset({"sigmas"})
# the references' numbers of the residual stages from the shallowest, and of the refinement blocks
# from the deepest stage, by how many there are
RES_NAMES = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "3", "31", "4", "5")}
REFINE_NAMES = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "31", "3", "4", "5")}


def _bare(state: Any) -> dict[str, Any]:
    """The entries of a state dict without DataParallel's prefix; empty for anything else."""
    if not isinstance(state, Mapping):
        return {}
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _model_state(payload: Any) -> dict[str, Any]:
    """The raw model's state dict, wherever the file keeps it."""
    if isinstance(payload, (list, tuple)):
        return _bare(payload[0]) if payload else {}
    if isinstance(payload, Mapping) and "model" in payload:
        return _bare(payload["model"])
    return _bare(payload)


def _averages(payload: Any, names: list[str]) -> dict[str, Tensor]:
    """The averaged parameters by name; empty where the file has none."""
    if isinstance(payload, (list, tuple)):
        return _bare(payload[4]) if len(payload) > 4 else {}
    if "model" not in payload or not isinstance(payload.get("ema"), Mapping):
        return {}
    shadow = payload["ema"].get("shadow_params", [])
    if len(shadow) != len(names):
        raise ValueError(
            f"the file averages {len(shadow)} parameters and its model has {len(names)}; they cannot be "
            "matched by position. Load the raw weights (ema=False) instead."
        )
    return dict(zip(names, shadow))


@final
@register_family(name="ncsn")
class NCSNFamily(Family):
    """NCSN and NCSNv2 as their authors saved them, and score_sde_pytorch's files of them."""

    name: ClassVar[str] = "ncsn"

    def recognises(self, payload: Any) -> bool:
        return _model_state(payload).keys() >= MARKS

    def tensors(self, payload: Any, *, ema: bool) -> dict[str, Tensor]:
        model = {name: value for name, value in _model_state(payload).items() if name not in BUFFERS}
        averages = _averages(payload, list(model)) if ema else {}
        if not averages:  # trained without averaging (NCSN was): the raw weights are all there is
            return model
        if averages.keys() != model.keys():
            differing = sorted(averages.keys() ^ model.keys())
            raise ValueError(
                f"the averaged weights and the model differ in {len(differing)} names, first "
                f"{', '.join(differing[:3])}. Load the raw weights (ema=False) instead."
            )
        return averages

    def key_map(self, network: Network) -> dict[str, str]:
        trunk = getattr(network, "trunk", None)
        if not isinstance(trunk, RefineNet):
            raise ValueError(
                f"checkpoint family 'ncsn' holds RefineNets, not {type(network).__name__}; "
                "use the models ncsn, ncsnv2_64, ncsnv2_128 or ncsnv2_256."
            )
        theirs = {name: _their_name(name, len(trunk.stages)) for name, _ in network.named_parameters()}
        return dict(sorted(theirs.items(), key=lambda names: _refine_rank(names[1])))


def _refine_rank(name: str) -> int:
    """Place of a refinement block in the references' order: 1, 2, 3, 31, 4, 5 (anything else first).

    They register refine31 after refine3 but run it before. *Their* order matters where a file lists by
    position (averages, optimizer states).
    """
    block = re.match(r"refine(\d+)\.", name)
    return int(block[1].ljust(2, "0")) if block else 0


def _their_name(name: str, num_stages: int) -> str:
    """``trunk.refine.0.output_convs.units.3.conv.weight`` -> ``refine1.output_convs.2_2_conv.weight``."""
    name = name.removeprefix("trunk.")
    if stage := re.match(r"stages\.(\d+)\.", name):
        return f"res{RES_NAMES[num_stages][int(stage[1])]}.{name[stage.end() :]}"
    if block := re.match(r"refine\.(\d+)\.", name):
        name = f"refine{REFINE_NAMES[num_stages][int(block[1])]}.{name[block.end() :]}"
    return re.sub(
        r"units\.(\d+)\.(norm|conv)", lambda m: f"{int(m[1]) // 2 + 1}_{int(m[1]) % 2 + 1}_{m[2]}", name
    )
