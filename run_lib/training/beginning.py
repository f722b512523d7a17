"""What a training sets out from: its data, and the state of the latest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from run_lib.config.training import TrainingPlan
from run_lib.data.classes import Numbering, numbered
from run_lib.data.split import Split
from run_lib.fingerprint import of_split
from run_lib.run import Run
from run_lib.training.state import TrainState
from run_lib.training.team import Team


@dataclass(frozen=True)
class Beginning:
    """A training that is about to start.

    Attributes:
        plan: with the classes of the data numbered as the weights do.
        state: of the latest checkpoint, or new.
        held_out: data for the validation loss; None: there are none.
    """

    plan: TrainingPlan
    state: TrainState
    held_out: Split | None


def begin(plan: TrainingPlan, run: Run, team: Team) -> Beginning:
    """Load the data and the state, and check that they belong together.

    Raises:
        ValueError: nothing to train, missing data, a checkpoint that does not fit.
    """
    subject = plan.subject
    if not subject.trainable:
        raise ValueError(
            "this configuration's model is an exact score: there is nothing to train; use eval or sample."
        )
    arrays = subject.data.load("train")
    held_out = subject.data.load_if_any("test", "the validation loss")
    for split, data in (("train", arrays), ("test", held_out)):
        if data is not None:
            plan.task.check(data, f"the {split} split of {subject.data.name}")
    learned = subject.training.process.learned
    team.take(subject.network, [*subject.network.apart(), *(() if learned is None else learned.parameters())])
    with team.processes.main_first(), team.processes.notes_once():  # what is damaged is set aside once
        state = run.new_state(plan, team)
        run.resume(state, subject)
        plan = agree_on_classes(plan, state)
        agree_on_data(plan, state)
    if held_out is not None:
        held_out = plan.subject.data.load("test")  # by the numbers of the weights
    run.check_checkpoints()
    return Beginning(plan, state, held_out)


def agree_on_classes(plan: TrainingPlan, state: TrainState) -> TrainingPlan:
    """The plan with the classes of the data numbered as the weights do; weights that know no names take those of the
    training split.

    Raises:
        ValueError: the training split has a class that the weights do not know.
    """
    if not plan.subject.num_classes:
        return plan
    known = Numbering(state.weights.classes, "the checkpoint that training goes on from")
    plan = numbered(plan, known)
    trained = plan.subject.data.load("train").classes
    plan = numbered(plan, Numbering(plan.subject.data.numbering.names or trained, "the training split"))
    state.weights.classes = plan.subject.data.numbering.names
    return plan


def agree_on_data(plan: TrainingPlan, state: TrainState) -> None:
    """Know what the weights are trained on from here; of weights that have been trained, that it is the same.

    Raises:
        ValueError: the training split has another content, or is in another order.
    """
    now = of_split(plan.subject.data, "train")
    plan.subject.agreement.check_data(state.weights.data, now, plan.subject.data.name)
    state.weights.data = now
