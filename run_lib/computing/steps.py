"""What is done again and again with a network, compiled together with it: steps of a sampler, velocities of a flow."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from likelihood.divergence import Divergence
from likelihood.flow import Flow, Velocity, velocity
from models.prediction.noise_model import Model
from run_lib.computing.numerics import compiles_steps
from samplers.base import Advance, Memory, Predictor, take_step
from sde_lib.noise import Noise
from sde_lib.timetable import Timetable, place_of

R = TypeVar("R")

KINDS = 64
"""Graphs that a process may make of one function: settings of a sweep, orders with which methods begin."""


class _Compiled:
    """A function that evaluates a model, compiled when it is first called, for each size of batch.

    Args:
        function: of tensors and of what holds them; its evaluations are counted.
    """

    def __init__(self, function: Callable[..., R]) -> None:
        self._function = function

    @functools.cached_property
    def _compiled(self) -> Callable[..., Any]:
        return torch.compile(self._function, dynamic=False)

    def __call__(self, model: Model, *arguments: object) -> Any:
        """The function of ``arguments``, the model among them."""
        with _traced_whole(), model.counting_anew():
            return self._compiled(*arguments)


class Steps:
    """Takes the steps of a sampler; those that the arithmetic in use says are compiled, with the evaluations in them.

    The first step of each kind in a run is taken as it is. It makes the tables from which the others have their
    coefficients (``sde_lib.timetable``), so that these are inputs of one graph; and of the kinds with which a
    multistep method begins a run has no other.
    """

    def __init__(self) -> None:
        self._step = _Compiled(take_step)
        self._run: Timetable | None = None
        self._seen = set[Hashable]()

    def __call__(
        self,
        predictor: Predictor,
        model: Model,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        noise: Noise,
        memory: Memory,
        /,
    ) -> Advance:
        if not compiles_steps(len(x)) or not (predictor.one_graph and model.one_graph):
            return take_step(predictor, model, x, t, s, noise, memory)
        if self._is_first((id(predictor), len(memory.past), memory.fresh is None), t):
            return take_step(predictor, model, x, t, s, noise, memory)
        found: Advance = self._step(model, predictor, model, x, t, s, noise, memory)
        return found

    def _is_first(self, kind: Hashable, t: Tensor) -> bool:
        """Of its kind in the run of a time; times of one's own have no tables."""
        place = place_of(t)
        run = None if place is None else place.run
        if run is not self._run:
            self._run, self._seen = run, set()
        first = kind not in self._seen
        self._seen.add(kind)
        return first


class Velocities:
    """Evaluates a flow; where the arithmetic in use says so, value and divergence are one compiled graph."""

    def __init__(self) -> None:
        self._velocity = _Compiled(velocity)

    def __call__(
        self,
        flow: Flow,
        model: Model,
        cond: dict[str, Tensor],
        u: Tensor,
        y: Tensor,
        dtype: torch.dtype,
        divergence: Divergence,
        probes: Tensor,
        /,
    ) -> Velocity:
        if not compiles_steps(len(u)) or not model.one_graph:
            return velocity(flow, model, cond, u, y, dtype, divergence, probes)
        found: Velocity = self._velocity(model, flow, model, cond, u, y, dtype, divergence, probes)
        return found


@contextlib.contextmanager
def _traced_whole() -> Iterator[None]:
    """Gradients within a function are part of its graph, where torch knows how; and a sweep has many kinds of steps."""
    import torch._dynamo

    config: Any = torch._dynamo.config
    more = {"trace_autograd_ops": True} if hasattr(config, "trace_autograd_ops") else {}
    with config.patch({"recompile_limit": KINDS, **more}):
        yield
