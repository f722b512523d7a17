"""score_sde_pytorch's ``checkpoint_N.pth``: layers by position, averaged weights as a list.

``{"optimizer", "model", "ema", "step"}``. ``model`` is a state dict, usually with DataParallel's
``module.`` in front, whose layers are ``all_modules.<position>``; ``ema["shadow_params"]`` is a list of
the trainable parameters, in the state dict's order without the buffers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.blocks.residual import ResBlock
from models.checkpoints.base import Family, TrainingParts, register_family, table_error
from models.checkpoints.misfits import AveragesError
from models.checkpoints.score_sde_names import score_sde_names

_BUFFER = "sigmas"
_BESIDE = frozenset({"ema", "optimizer", "step"})
_LAYER = re.compile(r"(module\.)?all_modules\.")
# The Fourier features' frequencies: a parameter that is not trained, hence not averaged.
_FROZEN = re.compile(r"all_modules\.\d+\.W")
# score_sde's pointwise layers multiply from the right: (in, out).
_TRANSPOSED = re.compile(r".*\.NIN_\d\.W")


@final
@register_family(name="score_sde")
class ScoreSDE(Family):
    """Checkpoints of score_sde_pytorch (Song et al. 2021), for the networks that ``score_sde_names`` knows."""

    name: ClassVar[str] = "score_sde"

    def recognises(self, payload: Any) -> bool:
        if not isinstance(payload, Mapping) or not _names_layers(_model(payload)):
            return False
        # Another script's wrapping of one state dict, or of two, has none of what score_sde keeps beside its model.
        return "model" not in payload or (
            bool(payload.keys() & _BESIDE) and not _names_layers(payload.get("ema"))
        )

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights; pointwise matrices turned to (out, in), as ours are."""
        weights = _raw(payload)
        if ema and "model" in payload:  # a bare state dict has one set of weights
            weights |= _averaged(payload, weights)
        return {name: to_ours(name, weight) for name, weight in weights.items()}

    def key_map(self, network: Network) -> dict[str, str]:
        return score_sde_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        other = (
            "raw weights, the averaged ones are used" if ema else "averaged weights, the raw ones are used"
        )
        _check_sigmas(_model(payload), network)
        reasons = {
            "optimizer": "the optimizer's state is no weight",
            "step": "the number of training steps, reported apart",
            "model" if ema else "ema": other,
            _BUFFER: "a table that follows from the config",
            f"model.{_BUFFER}": "a table that follows from the config",
        }
        reasons = {name: reason for name, reason in reasons.items() if _holds(payload, name)}
        if all(block.layers.embedding is None for block in network.modules() if isinstance(block, ResBlock)):
            # score_sde builds these layers all the same, and never calls them.
            untold = "time projection of an unconditional network"
            reasons |= {name: untold for name in _raw(payload) if ".Dense_0." in name}
        return reasons

    def training(self, payload: Mapping[str, Any], network: Network) -> TrainingParts:
        ema, step = payload.get("ema"), payload.get("step")
        if not isinstance(ema, Mapping) or not isinstance(step, int):
            raise ValueError(
                "the score_sde checkpoint lacks 'ema' or 'step', so its training cannot be continued; start from "
                "its weights with init_from."
            )
        updates = int(ema.get("num_updates") or 0)
        return TrainingParts(optimizer_state(payload, network), updates, step)


def _names_layers(state: Any) -> bool:
    return isinstance(state, Mapping) and any(_LAYER.match(str(name)) for name in state)


def _holds(payload: Mapping[str, Any], name: str) -> bool:
    head, _, rest = name.partition(".")
    if not rest:
        return head in payload
    return head in payload and any(key.removeprefix("module.") == rest for key in payload[head])


def _check_sigmas(model: Mapping[str, Tensor], network: Network) -> None:
    """Refuse a table of noise levels other than the network's: its output would be scaled wrongly."""
    theirs = next((table for name, table in model.items() if name.removeprefix("module.") == _BUFFER), None)
    ours = getattr(network, _BUFFER, None)
    if theirs is None or ours is None:
        return
    if theirs.shape != ours.shape or not torch.allclose(theirs.to(ours), ours, rtol=table_error(theirs)):
        in_file, here = (f"{len(s)} from {float(s[0]):g} to {float(s[-1]):g}" for s in (theirs, ours))
        raise ValueError(
            f"the score_sde checkpoint's noise levels are {in_file}, the network's {here}; "
            "set sigma_min, sigma_max and num_scales as it was trained."
        )


def _model(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict: the entry ``model``, or the file itself."""
    model = payload.get("model", payload)
    return model if isinstance(model, Mapping) else {}


def _raw(payload: Mapping[str, Any]) -> dict[str, Tensor]:
    names = {name.removeprefix("module."): weight for name, weight in _model(payload).items()}
    names.pop(_BUFFER, None)
    return names


def _averaged(payload: Mapping[str, Any], raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights by name: the list is matched with the trainable names, one by one."""
    ema = payload.get("ema")
    if not isinstance(ema, Mapping) or not isinstance(ema.get("shadow_params"), list | tuple):
        raise AveragesError("the score_sde checkpoint has no averaged weights (ema.shadow_params).")
    shadow = ema["shadow_params"]
    trainable = [name for name in raw if not _FROZEN.fullmatch(name)]
    if len(shadow) != len(trainable):
        raise AveragesError(
            f"the score_sde checkpoint lists {len(shadow)} averaged weights for {len(trainable)} trainable "
            "parameters, so they cannot be told apart."
        )
    for name, average in zip(trainable, shadow, strict=True):
        if average.shape != raw[name].shape:
            raise AveragesError(
                "the score_sde checkpoint's averaged weights are out of order: "
                f"{name} is {tuple(raw[name].shape)}, the average in its place {tuple(average.shape)}."
            )
    return dict(zip(trainable, shadow, strict=True))


def to_ours(name: str, weight: Tensor) -> Tensor:
    """A weight of score_sde's in our orientation; its own inverse."""
    return weight.T if _TRANSPOSED.fullmatch(name) else weight


def export(
    network: Network,
    averaged: Mapping[str, Tensor] | None = None,
    *,
    sigmas: Tensor | None = None,
    optimizer: Mapping[str, Any] | None = None,
    step: int = 0,
    decay: float = 0.9999,
    num_updates: int = 0,
) -> dict[str, Any]:
    """score_sde's training checkpoint of ``network``; ``torch.save`` of it is its ``checkpoint_N.pth``.

    Args:
        averaged: averaged weights by our names; the weights themselves where there are none.
        sigmas: the config's noise levels, which score_sde stores; default the network's own, if any.
        optimizer: the state of an optimizer over ``network.parameters()``, in torch's form.
        step: training steps done.
        decay: of the average.
        num_updates: of the average.

    Raises:
        ValueError: score_sde has no such network, or ``averaged`` lacks a trainable parameter.
    """
    names = score_sde_names(network)
    weights = dict(network.named_parameters())
    trainable = [ours for ours in names if weights[ours].requires_grad]
    averaged = weights if averaged is None else averaged
    if lacking := [ours for ours in trainable if ours not in averaged]:
        raise ValueError(
            f"the averaged weights lack {len(lacking)} parameters, first {lacking[0]}; pass them all."
        )

    def theirs(ours: str, weight: Tensor) -> Tensor:
        return to_ours(names[ours], weight.detach()).cpu().contiguous()

    table = getattr(network, _BUFFER, None) if sigmas is None else sigmas
    model = {} if table is None else {f"module.{_BUFFER}": table.cpu()}
    model |= {f"module.{name}": theirs(ours, weights[ours]) for ours, name in names.items()}
    return {
        "optimizer": {"state": {}, "param_groups": []} if optimizer is None else _reorder(optimizer, network),
        "model": model,
        "ema": {
            "decay": decay,
            "num_updates": num_updates,
            "shadow_params": [theirs(ours, averaged[ours]) for ours in trainable],
        },
        "step": step,
    }


def optimizer_state(payload: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """The checkpoint's optimizer state for a torch optimizer over ``network.parameters()``.

    Raises:
        ValueError: the file has no optimizer state of this network's parameters.
    """
    state = payload.get("optimizer")
    if not isinstance(state, Mapping) or not state.get("param_groups"):
        raise ValueError("the score_sde checkpoint has no optimizer state; start a new optimizer.")
    return _reorder(state, network, inverse=True)


def _reorder(state: Mapping[str, Any], network: Network, *, inverse: bool = False) -> dict[str, Any]:
    """Moments numbered by our parameters' order -> numbered by score_sde's, and turned as the weights are.

    A torch optimizer numbers parameters by position, so the numbers follow the orders of the two networks.
    """
    ours = [name for name, _ in network.named_parameters()]
    names = score_sde_names(network)
    position = {name: index for index, name in enumerate(names)}
    groups = state["param_groups"]
    covered = sum(len(group["params"]) for group in groups)
    if len(groups) != 1 or covered != len(ours):
        raise ValueError(
            f"the optimizer's state covers {covered} parameters in {len(groups)} groups; "
            f"the network has {len(ours)}, and score_sde keeps them in one group."
        )
    moved: dict[int, Any] = {}
    for index, name in enumerate(ours):
        source, target = (position[name], index) if inverse else (index, position[name])
        if (held := state["state"].get(groups[0]["params"][source])) is not None:
            moved[target] = {key: _turned(names[name], value) for key, value in held.items()}
    return {"state": moved, "param_groups": [{**groups[0], "params": list(range(len(ours)))}]}


def _turned(name: str, value: Any) -> Any:
    return to_ours(name, value).contiguous() if isinstance(value, Tensor) and value.ndim == 2 else value
