"""The state of training: weights, their averages and the optimiser, and the checkpoints that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from losses.learned import LearnedParts
from losses.times import TimeSampler, UniformTimes
from models.base import Network
from models.checkpoints.damage import out_of_memory
from models.checkpoints.ours import CHECKPOINT as FORMAT
from models.ema import EMA, Average
from models.parts import shared_like
from models.power_average import PowerAverage
from run_lib.data.classes import UNKNOWN, Numbering
from run_lib.files import as_json
from run_lib.training.checkpoints import read_checkpoint
from run_lib.training.team import Team
from run_lib.training.watch import Watch


@dataclass(frozen=True)
class Continued:
    """How much of a checkpoint's state is taken under a configuration that may differ from the one it was made with.

    Attributes:
        optimizer, times, learned: whether the optimiser's moments, the learnt times and what the loss learns go with
            the configuration's; else they begin afresh.
        averages: whether further averages must be those of the configuration; else those of other rates set out from
            the first.
        scale: whether the scale of the loss is the checkpoint's.
        built_before: makes the optimiser that the checkpoint was made with; None: with the same settings.
    """

    optimizer: bool = True
    times: bool = True
    learned: bool = True
    averages: bool = True
    scale: bool = True
    built_before: Callable[[Network], torch.optim.Optimizer] | None = None


Check = Callable[[Path, str], Continued]
"""Given a checkpoint's path and the record of its configuration, JSON: how much of it is taken, or a ValueError."""


@dataclass
class Weights:
    """A network's weights and their moving averages.

    Attributes:
        network: the network, with the weights of the last step.
        ema: the average that samples and evaluations use.
        step: number of training steps taken.
        averages: further averages by their rate, without ``ema``.
        record: of the configuration that they were made with, JSON; empty: they are no checkpoint's of ours.
        classes: names of the classes that labels stand for; empty: there are none, or they are not known.
        numbering: of the classes of a network that is told any, for what is done with the weights.
        data: hash of the data that they were trained on; empty: it is not known.
        profiles: averages of power functions by their relative width, from which others are made after training.
        learned: what the loss has learned beside them; empty: nothing.
    """

    network: Network
    ema: EMA
    step: int = 0
    averages: dict[float, EMA] = field(default_factory=dict)
    record: str = ""
    classes: tuple[str, ...] = ()
    numbering: Numbering = UNKNOWN
    data: str = ""
    profiles: dict[float, PowerAverage] = field(default_factory=dict)
    learned: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls,
        network: Network,
        rate: float,
        further: Sequence[float],
        warmup: bool,
        widths: Sequence[float] = (),
    ) -> Weights:
        """The weights of step 0: every average starts at the network's own weights."""
        return cls(
            network,
            EMA(network, rate, warmup),
            averages={r: EMA(network, r, warmup) for r in further},
            profiles={width: PowerAverage(network, width) for width in widths},
        )

    @property
    def tracked(self) -> Iterator[Average]:
        """Every average that a step of training moves."""
        yield from (self.ema, *self.averages.values(), *self.profiles.values())

    def use(self, rate: float) -> Weights:
        """The same with another average, of the given rate, for samples and evaluations."""
        return replace(self, ema=self.averages[rate])

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block, the network has its averaged weights."""
        return self.ema.average(self.network)

    def load(self, path: Path, check: Check) -> tuple[dict[str, Any], Continued]:
        """Restore weights and averages from a checkpoint, strictly; returns all that it holds, and what is taken.

        Raises:
            ValueError: the file is missing, truncated, of another format or of another architecture, or was made with
                a configuration that the check refuses.
        """
        payload = read_checkpoint(path)
        continued = check(path, payload["config"])
        check_names(self.network, payload["model"], path)
        if payload["averages"].keys() != self.averages.keys() and continued.averages:
            raise ValueError(
                f"{path} has averages of the rates {sorted(payload['averages'])} beside the first, the configuration "
                f"{sorted(self.averages)}: set model.ema_rates as it was."
            )
        held = payload.get("profiles", {})  # checkpoints of earlier versions have none
        if self.profiles and held.keys() != self.profiles.keys() and continued.averages:
            raise ValueError(
                f"{path} has averages of the relative widths {sorted(held)}, the configuration "
                f"{sorted(self.profiles)}: set model.ema_stds as it was."
            )
        self.network.load_state_dict(payload["model"])
        self.classes = tuple(payload.get("classes", ()))
        self.data = payload.get("data", "")  # checkpoints of earlier versions have none
        self.learned = payload.get("learned", {})  # likewise
        self.ema.load_state_dict(payload["ema"])
        for rate, average in self.averages.items():
            average.load_state_dict(payload["averages"].get(rate, payload["ema"]))
        for width in held.keys() & self.profiles.keys():
            self.profiles[width].load_state_dict(held[width])
        self.step, self.record = int(payload["step"]), payload["config"]
        return payload, continued


@dataclass
class TrainState:
    """All that training carries from step to step: weights, their averages, and the optimiser.

    Everything random in training is a function of (seed, step), so nothing else is needed to continue.

    Attributes:
        weights: the weights and averages, and the number of steps taken.
        optimizer: the optimiser, with its moments.
        scaler: scales the loss in half precision.
        times: the distribution of times in the loss, which may learn from the losses.
        watch: which steps were skipped; not saved.
        team: of the processes that train; not saved.
        learned: what the loss learns beside the network's weights; it may be empty.
    """

    weights: Weights
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    times: TimeSampler = field(default_factory=UniformTimes)
    watch: Watch = field(default_factory=Watch)
    team: Team = field(default_factory=Team)
    learned: LearnedParts = field(default_factory=LearnedParts)

    @property
    def network(self) -> Network:
        return self.weights.network

    @property
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The network's, and those of what the loss learns."""
        yield from self.network.named_parameters()
        yield from self.learned.named_parameters(prefix="training.objective")

    @property
    def ema(self) -> EMA:
        return self.weights.ema

    @property
    def averages(self) -> dict[float, EMA]:
        return self.weights.averages

    @property
    def step(self) -> int:
        return self.weights.step

    def save(self, path: Path, config: Mapping[str, Any]) -> None:
        """Write atomically: a temporary file, flushed to disk, then renamed over ``path``. All processes do so."""
        self.team.write(path, self._content(config))

    def _content(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "step": self.step,
            "classes": list(self.weights.classes),
            "data": self.weights.data,
            "model": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": {rate: average.state_dict() for rate, average in self.averages.items()},
            "profiles": {width: kept.state_dict() for width, kept in self.weights.profiles.items()},
            "scaler": self.scaler.state_dict(),
            "times": self.times.state_dict(),
            "learned": self.learned.state_dict(),
            "config": as_json(dict(config)),
            "processes": self.team.size,
        }

    @property
    def bytes(self) -> int:
        """Of the tensors in a checkpoint, whatever each of several processes holds of them."""
        return _bytes(self._content({}))

    def load(self, path: Path, check: Check) -> int:
        """Restore every part, strictly; returns the number of the processes that have written it.

        Raises:
            ValueError: as of ``Weights.load``.
        """
        payload, continued = self.weights.load(path, check)
        make = continued.built_before
        before = None if make is None else make(self.network)
        ours = self.scaler.state_dict()
        # Moments are those of what the loss learns, too.
        learns = bool(payload.get("learned") or self.learned.state_dict())
        moments = continued.optimizer and (continued.learned or not learns)
        kept = ["growth_interval"] if continued.scale else ["growth_interval", "scale"]
        for entry, wanted, load in (
            ("optimizer", moments, partial(load_optimizer, self.optimizer, before=before)),
            (
                "scaler",
                bool(payload["scaler"]),
                lambda held: self.scaler.load_state_dict(held | {k: ours[k] for k in kept if k in ours}),
            ),
            ("times", continued.times, self.times.load_state_dict),
            ("learned", continued.learned, self.learned.load_state_dict),
        ):
            try:
                if wanted:
                    load(payload.get(entry, {}))  # checkpoints of earlier versions have nothing learned
            except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
                if out_of_memory(error):
                    raise
                # Only what is said in words of ours.
                why = f" ({error})" if isinstance(error, ValueError) else ""
                raise ValueError(
                    f"{path}: its entry {entry!r} does not go with the configuration{why}. Use the one it was "
                    f"trained with, or another --workdir."
                ) from error
        return int(payload.get("processes", 1))  # checkpoints of earlier versions do not say


def _bytes(content: Any) -> int:
    match content:
        case torch.Tensor():
            return content.numel() * content.element_size()
        case dict():
            return sum(map(_bytes, content.values()))
        case list():
            return sum(map(_bytes, content))
    return 0


MACHINE = ("fused", "foreach", "capturable", "differentiable")
"""Settings of torch's optimisers that say how a step is computed and not which: always the program's own."""


def load_optimizer(
    optimizer: torch.optim.Optimizer, state: dict[str, Any], before: torch.optim.Optimizer | None = None
) -> None:
    """Restore an optimiser's state, each moment in the memory format of its weight.

    A fused optimiser walks over a weight and its moments in the order of memory: in another format (channels last
    beside contiguous) it would pair elements that do not belong together.

    Args:
        optimizer: with the settings that are to hold from now on.
        state: of the checkpoint, with the settings that held.
        before: an optimiser with those settings as it is when it is made; what differs in ``optimizer`` is a setting
            that was changed, and what does not is kept: it may be state. None: nothing was changed.

    Raises:
        ValueError: it is another number of groups of parameters.
    """
    ours = optimizer.state_dict()["param_groups"]
    made = ours if before is None else before.state_dict()["param_groups"]
    if len(ours) != len(state["param_groups"]):
        raise ValueError(
            f"the checkpoint's optimizer has {len(state['param_groups'])} groups of parameters and the configuration's "
            f"{len(ours)}: set optim.optimizer as it was, or begin its moments afresh with --config.resume_anyway."
        )
    groups = []
    for own, first, held in zip(ours, made, state["param_groups"], strict=True):
        changed = {key: value for key, value in own.items() if key != "params" and first.get(key) != value}
        computed = {key: own[key] for key in MACHINE if key in own}
        groups.append({**own, **held, **changed, **computed})
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, held in optimizer.state.items():
        for name, moment in held.items():
            if isinstance(moment, torch.Tensor) and moment.shape == parameter.shape:
                shared = shared_like(moment, parameter)
                held[name] = torch.empty_like(parameter, dtype=moment.dtype).copy_(shared)


def check_names(network: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Refuse weights of another architecture.

    Raises:
        ValueError: names or shapes differ; the first of each kind are listed.
    """
    ours = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    theirs = {name: tuple(w.shape) for name, w in weights.items()}
    missing, extra = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    shapes = [
        f"{n} {theirs[n]} in the file, {ours[n]} here" for n in ours if n in theirs and ours[n] != theirs[n]
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(keys)} {what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
            for what, keys in (
                ("missing from the file", missing),
                ("unknown to the network", extra),
                ("of another shape", shapes),
            )
            if keys
        ]
        raise ValueError(
            f"{path} holds another architecture than the configuration's network; {'; '.join(parts)}. "
            f"Use the configuration it was trained with, or another --workdir."
        )
