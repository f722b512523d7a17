"""Draws what is asked for, one picture at a time, and keeps the pictures of its way in memory."""

from __future__ import annotations

import io
import itertools
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from run_lib.config.sampling import SamplingPlan
from run_lib.config.showing import ShowPlan
from run_lib.pictures import picture
from run_lib.run import Run
from run_lib.seeds import Use, stream_seed
from run_lib.showing.asked import Asked
from run_lib.training.state import Weights
from samplers.pc import PCSampler
from sde_lib.noise import Noise

MOST_FRAMES, MOST_IMAGES, MOST_POINTS = 60, 16, 1000
"""Of a trajectory, and on a picture: images, or samples that are points of it."""


@dataclass
class Drawing:
    """A picture on its way.

    Attributes:
        number: of all that were asked for, from 1.
        asked: what it is of.
        checkpoint: the step of its weights; None until they are loaded.
        frames: PNG files of the states so far, evenly along the way; the last one is the result when it is done.
        total: steps of the sampler; 0 until it is planned.
        taken: steps so far.
        nfe, seconds: that it took.
        done: whether nothing follows.
        error: why there is no result; empty: there is one, or it is on its way.
    """

    number: int
    asked: Asked
    checkpoint: int | None = None
    frames: list[bytes] = field(default_factory=list)
    total: int = 0
    taken: int = 0
    nfe: int = 0
    seconds: float = 0.0
    done: bool = False
    error: str = ""


class Studio:
    """A thread that draws the last picture that was asked for; one that is on its way is left for it.

    Args:
        plan: what can be asked for.
        run: whose latest weights are taken.
    """

    def __init__(self, plan: ShowPlan, run: Run) -> None:
        self._plan, self._run = plan, run
        self._wanted = threading.Condition()
        self._numbers = itertools.count(1)
        self._next: Drawing | None = None
        self.now: Drawing | None = None
        self._weights: Weights | None = None
        self._loaded: object = self  # which checkpoint, that none is equal to at first
        threading.Thread(target=self._work, daemon=True, name="studio").start()

    def ask(self, what: Asked) -> Drawing:
        """Have it drawn with the latest weights. The same once more, with the same weights, is not drawn again."""
        with self._wanted:
            now = self._next or self.now
            same = now is not None and now.asked == what and not now.error
            if now is not None and same and self._loaded == self._run.checkpoints.latest():
                return now
            self._next = Drawing(next(self._numbers), what)
            self._wanted.notify()
            return self._next

    def latest(self) -> Drawing | None:
        """The one that was asked for last."""
        with self._wanted:
            return self._next or self.now

    def _work(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._next is not None)
                drawing, self.now, self._next = self._next, self._next, None
            assert drawing is not None
            try:
                self._draw(drawing)
            except (ValueError, RuntimeError, OSError, MemoryError) as error:
                drawing.error = str(error)
            drawing.done = True

    def _draw(self, drawing: Drawing) -> None:
        subject = self._plan.sampling.subject
        if self._weights is None or self._loaded != self._run.checkpoints.latest():
            self._loaded = self._run.checkpoints.latest()
            self._weights = self._run.weights(subject)
        drawing.checkpoint = self._weights.step
        plan = self._plan.asked(subject, drawing.asked.steps, drawing.asked.snr)
        plan = subject.placement.place(plan)
        with self._weights.averaged(), plan.arithmetic.used():
            self._follow(plan, drawing)

    def _follow(self, plan: SamplingPlan, drawing: Drawing) -> None:
        sampler = plan.sampler
        assert isinstance(sampler, PCSampler), "planning refuses others"
        most = MOST_IMAGES if len(plan.data.shape) == 3 else MOST_POINTS
        count, before, began = min(plan.settings.grid_size, most), plan.model.nfe, time.perf_counter()
        noise = Noise(stream_seed(drawing.asked.seed, Use.SAMPLING), range(count), plan.device)
        x = sampler.prior((count, *plan.data.shape), noise)
        drawing.frames.append(_png(plan, x))
        drawing.total = len(sampler)
        kept = set(np.linspace(0, len(sampler) - 1, MOST_FRAMES).round().astype(int).tolist())
        conditions = plan.task.sampling_conditions(range(count), plan.device)
        for k, step in enumerate(sampler.iterate(x, noise, **conditions)):
            if self._next is not None:
                drawing.error = "another one was asked for"
                return
            if k in kept:
                if not bool(step.x.isfinite().all()):
                    raise ValueError(
                        f"a value became NaN or infinite in step {k + 1} of {len(sampler)}: take more steps or a lower "
                        f"snr."
                    )
                drawing.frames.append(_png(plan, step.x))
            drawing.taken, drawing.nfe = k + 1, plan.model.nfe - before
            drawing.seconds = time.perf_counter() - began


def _png(plan: SamplingPlan, x: object) -> bytes:
    held = io.BytesIO()
    Image.fromarray(picture(plan.data.to_levels(x).cpu(), plan.data.shown)).save(held, format="PNG")  # type: ignore[arg-type]
    return held.getvalue()
