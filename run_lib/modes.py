"""The modes of the program, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from run_lib.config import plans
from run_lib.config.configuration import Configuration
from run_lib.config.converting import ConversionPlan
from run_lib.config.editing import ControlPlan, ReconstructionPlan
from run_lib.config.evaluation import EvaluationPlan
from run_lib.config.mode import Mode, register_mode
from run_lib.config.sampling import SamplingPlan
from run_lib.config.training import TrainingPlan
from run_lib.config.tuning import TuningPlan
from run_lib.run import Run


@register_mode(name="train")
@dataclass(frozen=True)
class Train(Mode):
    """Trains to ``training.n_iters``, from the latest checkpoint if there is one."""

    def plan(self, configuration: Configuration) -> TrainingPlan:
        return plans.training(configuration)

    def work(self, plan: TrainingPlan, run: Run) -> None:
        from run_lib.training.loop import train

        train(plan, run)


@register_mode(name="sample")
@dataclass(frozen=True)
class Sample(Mode):
    """Draws ``sampling.num_samples`` samples, and a picture of the first of them."""

    def plan(self, configuration: Configuration) -> SamplingPlan:
        return plans.sampling(configuration)

    def work(self, plan: SamplingPlan, run: Run) -> None:
        from run_lib.sample import sample

        sample(plan, run)


@register_mode(name="eval")
@dataclass(frozen=True)
class Evaluate(Mode):
    """Evaluates checkpoints: loss, bits/dim, sample quality; several processes share the work."""

    many_processes: ClassVar[bool] = True

    def plan(self, configuration: Configuration) -> EvaluationPlan:
        return plans.evaluation(configuration)

    def work(self, plan: EvaluationPlan, run: Run) -> None:
        from run_lib.evaluation.evaluate import evaluate

        evaluate(plan, run)


@register_mode(name="all")
@dataclass(frozen=True)
class Everything(Mode):
    """Trains, samples and evaluates, in this order."""

    def plan(self, configuration: Configuration) -> plans.CompletePlan:
        return plans.complete(configuration)

    def work(self, plan: plans.CompletePlan, run: Run) -> None:
        from run_lib.evaluation.evaluate import check, evaluate
        from run_lib.sample import sample
        from run_lib.training.loop import train

        check(plan.evaluation)
        if plan.training is not None:
            train(plan.training, run)
        if plan.sampling is not None:
            sample(plan.sampling, run)
        evaluate(plan.evaluation, run)
        samples = f"samples      {run.workdir / 'samples' / 'samples.png'}\n" if plan.sampling else ""
        print(
            f"\ncheckpoint   {run.checkpoints.latest() or 'none: an exact score'}\n{samples}"
            f"curves       tensorboard --logdir {run.workdir / 'tensorboard'}\n"
            f"report       {run.workdir / run.eval_folder / 'report.json'}"
        )


@register_mode(name="tune")
@dataclass(frozen=True)
class Tune(Mode):
    """Sweeps settings of the sampler over the same seeds, or finds a time grid for a checkpoint."""

    def plan(self, configuration: Configuration) -> TuningPlan:
        return plans.tuning(configuration)

    def work(self, plan: TuningPlan, run: Run) -> None:
        from run_lib.tuning.tune import tune

        tune(plan, run)


@register_mode(name="control")
@dataclass(frozen=True)
class Control(Mode):
    """Inpainting, colorization, super-resolution and other work on given images."""

    def plan(self, configuration: Configuration) -> ControlPlan:
        return plans.control(configuration)

    def work(self, plan: ControlPlan, run: Run) -> None:
        from run_lib.editing.control import control

        control(plan, run)


@register_mode(name="reconstruct")
@dataclass(frozen=True)
class Reconstruct(Mode):
    """Takes images to noise and back (DIRE), and measures how far from themselves they return."""

    def plan(self, configuration: Configuration) -> ReconstructionPlan:
        return plans.reconstruction(configuration)

    def work(self, plan: ReconstructionPlan, run: Run) -> None:
        from run_lib.editing.reconstruct import reconstruct

        reconstruct(plan, run)


@register_mode(name="describe")
@dataclass(frozen=True)
class Describe(Mode):
    """Prints layers, parameters, GFLOP and memory of the network; needs neither weights nor data."""

    uses_workdir: ClassVar[bool] = False

    def plan(self, configuration: Configuration) -> plans.DescriptionPlan:
        return plans.description(configuration)

    def work(self, plan: plans.DescriptionPlan, run: Run) -> None:
        from run_lib.describe import describe

        describe(plan, run)


@register_mode(name="convert")
@dataclass(frozen=True)
class Convert(Mode):
    """Writes weights in our own format, safetensors, score_sde's or diffusers'."""

    def plan(self, configuration: Configuration) -> ConversionPlan:
        return plans.conversion(configuration)

    def work(self, plan: ConversionPlan, run: Run) -> None:
        from run_lib.convert import convert

        convert(plan, run)


@register_mode(name="list")
@dataclass(frozen=True)
class List(Mode):
    """Prints what can be chosen, or one component's settings: ``--mode list``, ``--mode list unipc``."""

    needs_configuration: ClassVar[bool] = False
    takes_arguments: ClassVar[bool] = True
    uses_workdir: ClassVar[bool] = False

    def plan(self, configuration: Configuration) -> str:
        from run_lib.config.listing import listing

        return listing(configuration.arguments)

    def work(self, plan: str, run: Run) -> None:
        print(plan)
