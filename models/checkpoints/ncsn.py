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

import torch
from torch import Tensor

from models.base import Network
from models.blocks.refinenet import RefineNet
from models.checkpoints.base import Family, register_family, table_error
from models.checkpoints.misfits import AveragesError

MARKS = frozenset({"begin_conv.weight", "refine1.adapt_convs.0.1_1_conv.weight"})
LIST_ENTRIES = ("model", "optimizer", "epoch", "step", "ema")
# the references' numbers of the residual stages from the shallowest, and of the refinement blocks
# from the deepest stage, by how many there are
RES_NAMES = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "3", "31", "4", "5")}
REFINE_NAMES = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "31", "3", "4", "5")}


def _bare(state: Any) -> dict[str, Any]:
    """The entries of a state dict without DataParallel's prefix; empty for anything else."""
    if not isinstance(state, Mapping):
        return {}
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _entries(payload: Any) -> dict[str, Any]:
    """The parts of the file by score_sde_pytorch's names for them; none of a list that is longer than theirs."""
    if isinstance(payload, (list, tuple)):
        names = LIST_ENTRIES[: len(payload)]
        return dict(zip(names, payload, strict=True)) if len(names) == len(payload) else {}
    if isinstance(payload, Mapping) and "model" in payload:
        return dict(payload)
    return {"model": payload}


def _model_state(payload: Any) -> dict[str, Any]:
    """The raw model's state dict, wherever the file keeps it."""
    return _bare(_entries(payload).get("model"))


def _averages(payload: Any, names: list[str]) -> dict[str, Tensor]:
    """The averaged parameters by name; empty where the file has none."""
    averages = _bare(_entries(payload).get("ema"))
    if "shadow_params" not in averages:
        return averages
    shadow = averages["shadow_params"]
    if len(shadow) != len(names):
        raise AveragesError(
            f"the file averages {len(shadow)} parameters and its model has {len(names)}; they cannot be matched by "
            f"position."
        )
    return dict(zip(names, shadow, strict=True))


def _check_sigmas(table: Tensor | None, network: Network) -> None:
    """Refuse another table of noise levels than the network's: the output would be scaled wrongly."""
    ours = getattr(network, "sigmas", None)
    if table is None or ours is None or ours.is_meta:
        return
    if table.shape != ours.shape or not torch.allclose(table.to(ours), ours, rtol=table_error(table)):
        raise ValueError(
            f"the file was trained with {len(table)} noise levels from {float(table[0]):g} to "
            f"{float(table[-1]):g}, the network has {len(ours)} from {float(ours[0]):g} to "
            f"{float(ours[-1]):g}; set sigma_max, sigma_min and num_scales to the file's."
        )


@final
@register_family(name="ncsn")
class NCSNFamily(Family):
    """NCSN and NCSNv2 as their authors saved them, and score_sde_pytorch's files of them."""

    name: ClassVar[str] = "ncsn"

    @staticmethod
    def _parameters(payload: Any) -> list[str]:
        return [name for name in _model_state(payload) if name != "sigmas"]

    def recognises(self, payload: Any) -> bool:
        return _model_state(payload).keys() >= MARKS

    def tensors(self, payload: Any, *, ema: bool) -> dict[str, Tensor]:
        state, names = _model_state(payload), self._parameters(payload)
        model = {name: state[name] for name in names}
        averages = _averages(payload, names) if ema else {}
        if not averages:  # trained without averaging (NCSN was): the raw weights are all there is
            return model
        if averages.keys() != model.keys():
            differing = sorted(averages.keys() ^ model.keys())
            raise AveragesError(
                f"the averaged weights and the model differ in {len(differing)} names, first "
                f"{', '.join(differing[:3])}."
            )
        return averages

    def left_out(self, payload: Any, network: Network, *, ema: bool) -> dict[str, str]:
        table = _model_state(payload).get("sigmas")
        _check_sigmas(table, network)
        averaged = bool(_averages(payload, self._parameters(payload)))
        reasons = {"sigmas": "a table that follows from the config"} if table is not None else {}
        if averaged:
            other = "averaged" if ema else "raw"
            reasons["model" if ema else "ema"] = f"the {other} weights are used"
        held = _entries(payload)
        if "optimizer" in held:
            reasons["optimizer"] = "the optimizer's state is no weight"
        reasons |= {name: "progress of the training" for name in ("epoch", "step") if name in held}
        return reasons

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
