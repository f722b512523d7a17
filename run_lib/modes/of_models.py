"""The modes of the program that work with a model.

Plans and loops are imported by the mode that runs: a mistake on the command line is told before them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from run_lib.config.configuration import Configuration
from run_lib.config.mode import Mode, register_mode
from run_lib.processes import Processes
from sde_lib.finite import NotFiniteError
from sde_lib.settings import Range

if TYPE_CHECKING:
    from run_lib.config import plans
    from run_lib.config.converting import ConversionPlan, WrittenPlan
    from run_lib.config.editing import ControlPlan, ReconstructionPlan
    from run_lib.config.evaluation import EvaluationPlan
    from run_lib.config.sampling import SamplingPlan
    from run_lib.config.showing import ShowPlan
    from run_lib.config.training import TrainingPlan
    from run_lib.config.tuning import TuningPlan
    from run_lib.run import Run


@register_mode(name="train")
@dataclass(frozen=True)
class Train(Mode):
    """Trains to ``training.n_iters``, from the latest checkpoint if there is one; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "the same command goes on from the latest checkpoint"

    def plan(self, configuration: Configuration) -> TrainingPlan:
        from run_lib.config import plans

        return plans.training(configuration)

    def writes(self, plan: TrainingPlan, run: Run) -> Iterable[Path]:
        run.check_checkpoints()
        return (run.checkpoints.folder,) if Processes.from_environment().is_main else ()

    def work(self, plan: TrainingPlan, run: Run) -> None:
        from run_lib.training.loop import train

        train(plan, run)


@register_mode(name="check")
@dataclass(frozen=True)
class Check(Mode):
    """Does each part of a training once, and prints what it takes: seconds, memory, room for a batch, disk."""

    def plan(self, configuration: Configuration) -> TrainingPlan:
        from run_lib.config import plans

        return plans.training(configuration)

    def writes(self, plan: TrainingPlan, run: Run) -> Iterable[Path]:
        run.check_checkpoints()
        return (run.checkpoints.folder,)

    def work(self, plan: TrainingPlan, run: Run) -> None:
        from run_lib.training.check import check

        check(plan, run)


@register_mode(name="sample")
@dataclass(frozen=True)
class Sample(Mode):
    """Draws ``sampling.num_samples`` samples, and a picture of the first; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "unfinished samples are not kept, and the same command begins anew"

    def plan(self, configuration: Configuration) -> SamplingPlan:
        from run_lib.config import plans

        return plans.sampling(configuration)

    def writes(self, plan: SamplingPlan, run: Run) -> Iterable[Path]:
        return (run.samples,) if Processes.from_environment().is_main else ()

    def work(self, plan: SamplingPlan, run: Run) -> None:
        from run_lib.sample import sample

        sample(plan, run)


@register_mode(name="eval")
@dataclass(frozen=True)
class Evaluate(Mode):
    """Evaluates checkpoints: loss, bits/dim, sample quality; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "the batches that are done are kept, and the same command goes on after them"

    def plan(self, configuration: Configuration) -> EvaluationPlan:
        from run_lib.config import plans

        return plans.evaluation(configuration)

    def writes(self, plan: EvaluationPlan, run: Run) -> Iterable[Path]:
        return plan.writes(run) if Processes.from_environment().is_main else ()

    def work(self, plan: EvaluationPlan, run: Run) -> None:
        from run_lib.evaluation.evaluate import evaluate
        from run_lib.pages.page import reported

        with reported(run.workdir):
            evaluate(plan, run)


@register_mode(name="all")
@dataclass(frozen=True)
class Everything(Mode):
    """Trains, samples and evaluates, in this order."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = (
        "checkpoints and evaluated batches are kept, and the same command goes on after them"
    )

    def plan(self, configuration: Configuration) -> plans.CompletePlan:
        from run_lib.config import plans

        return plans.complete(configuration)

    def writes(self, plan: plans.CompletePlan, run: Run) -> Iterable[Path]:
        run.check_checkpoints()
        if not Processes.from_environment().is_main:
            return ()
        parts = ((plan.training, run.checkpoints.folder), (plan.sampling, run.samples))
        return (*(folder for part, folder in parts if part is not None), *plan.evaluation.writes(run))

    def work(self, plan: plans.CompletePlan, run: Run) -> None:
        from run_lib.pages.page import reported

        group = Processes.from_environment().process_group(plan.evaluation.subject.placement.device)
        with group, reported(run.workdir):
            self._all(plan, run)

    def _all(self, plan: plans.CompletePlan, run: Run) -> None:
        from run_lib.evaluation.evaluate import check, evaluate
        from run_lib.sample import sample
        from run_lib.training.loop import train

        check(plan.evaluation)
        if plan.training is not None:
            train(plan.training, run)
        lost = None
        if plan.sampling is not None:
            try:
                sample(plan.sampling, run)
            except NotFiniteError as error:  # the weights have other numbers
                lost = error
        evaluate(plan.evaluation, run)
        if lost is not None:
            raise lost
        samples = f"samples      {run.workdir / 'samples' / 'samples.png'}\n" if plan.sampling else ""
        print(
            f"\ncheckpoint   {run.checkpoints.latest() or 'none: an exact score'}\n{samples}"
            f"curves       tensorboard --logdir {run.workdir / 'tensorboard'}\n"
            f"report       {run.workdir / run.eval_folder / 'report.json'}"
        )


@register_mode(name="tune")
@dataclass(frozen=True)
class Tune(Mode):
    """Sweeps settings of the sampler over the same seeds, or finds a time grid; several processes share the sweep."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "the sets that are scored are kept, and the same command scores the rest"

    def plan(self, configuration: Configuration) -> TuningPlan:
        from run_lib.config import plans

        return plans.tuning(configuration)

    def writes(self, plan: TuningPlan, run: Run) -> Iterable[Path]:
        folder = run.folder(plan.settings.folder, "config.tune.folder")
        return (folder,) if Processes.from_environment().is_main else ()

    def work(self, plan: TuningPlan, run: Run) -> None:
        from run_lib.pages.page import reported
        from run_lib.tuning.tune import tune

        with reported(run.workdir):
            tune(plan, run)


@register_mode(name="show")
@dataclass(frozen=True)
class Show(Mode):
    """Serves a page to browsers of this machine: samples as they are made, with seed, steps and snr changed by hand.

    Args:
        port: of the address; 0: any that is free.
    """

    uses_workdir: ClassVar[bool] = False
    kept: ClassVar[str] = "nothing was written"

    port: Annotated[int, Range(least=0, most=65535)] = 0

    def plan(self, configuration: Configuration) -> ShowPlan:
        from run_lib.config import plans

        return plans.showing(configuration)

    def work(self, plan: ShowPlan, run: Run) -> None:
        from run_lib.showing.show import show

        show(plan, run, self.port)


@register_mode(name="control")
@dataclass(frozen=True)
class Control(Mode):
    """Inpainting, super-resolution and other work on given images; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "there is no report, and the same command begins anew"

    def plan(self, configuration: Configuration) -> ControlPlan:
        from run_lib.config import plans

        return plans.control(configuration)

    def writes(self, plan: ControlPlan, run: Run) -> Iterable[Path]:
        from run_lib.editing.control import output_folder

        return (output_folder(plan, run),) if Processes.from_environment().is_main else ()

    def work(self, plan: ControlPlan, run: Run) -> None:
        from run_lib.editing.control import control
        from run_lib.pages.page import reported

        with reported(run.workdir):
            control(plan, run)


@register_mode(name="reconstruct")
@dataclass(frozen=True)
class Reconstruct(Mode):
    """Takes images to noise and back (DIRE), and measures how far they return; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "the images that are done are kept, and the same command goes on with the rest"

    def plan(self, configuration: Configuration) -> ReconstructionPlan:
        from run_lib.config import plans

        return plans.reconstruction(configuration)

    def writes(self, plan: ReconstructionPlan, run: Run) -> Iterable[Path]:
        from run_lib.editing.reconstruct import output_folder

        return (output_folder(plan, run),) if Processes.from_environment().is_main else ()

    def work(self, plan: ReconstructionPlan, run: Run) -> None:
        from run_lib.editing.reconstruct import reconstruct

        reconstruct(plan, run)


@register_mode(name="describe")
@dataclass(frozen=True)
class Describe(Mode):
    """Prints the experiment: data, network, sampler, memory, time, what is written; ``describe layers``: the layers."""

    takes_arguments: ClassVar[bool] = True
    uses_workdir: ClassVar[bool] = False
    tells: ClassVar[bool] = True

    def plan(self, configuration: Configuration) -> plans.DescriptionPlan:
        from run_lib.config import plans

        return plans.description(configuration)

    def work(self, plan: plans.DescriptionPlan, run: Run) -> None:
        from run_lib.describe import describe

        describe(plan, run)


@register_mode(name="ema")
@dataclass(frozen=True)
class PostHocAverages(Mode):
    """Makes averaged weights of any width from the snapshots that a training left (post-hoc EMA)."""

    def plan(self, configuration: Configuration) -> plans.PostHocPlan:
        from run_lib.config import plans

        return plans.post_hoc(configuration)

    def writes(self, plan: plans.PostHocPlan, run: Run) -> Iterable[Path]:
        return (run.workdir / "ema",)

    def work(self, plan: plans.PostHocPlan, run: Run) -> None:
        from run_lib.post_hoc import make_averages

        make_averages(plan, run)


@register_mode(name="convert")
@dataclass(frozen=True)
class Convert(Mode):
    """Writes weights in our own format, safetensors, score_sde's, DiT's or diffusers', or a file's configuration."""

    needs_configuration: ClassVar[bool] = False

    def plan(self, configuration: Configuration) -> ConversionPlan | WrittenPlan:
        from run_lib.config import plans

        return plans.conversion(configuration)

    def writes(self, plan: ConversionPlan | WrittenPlan, run: Run) -> Iterable[Path]:
        return () if plan.settings.path else (run.folder("converted"),)

    def work(self, plan: ConversionPlan | WrittenPlan, run: Run) -> None:
        from run_lib.config.converting import WrittenPlan
        from run_lib.convert import convert, write_configuration

        if isinstance(plan, WrittenPlan):
            write_configuration(plan, run)
        else:
            convert(plan, run)
