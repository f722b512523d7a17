"""The classes of a data set by name: which number each has, and whose numbering holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from run_lib.data.labels import NO_LABEL
from sde_lib.rebuilding import INSIDE, Rebuilding
from sde_lib.words import listed

if TYPE_CHECKING:
    from run_lib.data.split import Split

T = TypeVar("T")


def class_names(names: Iterable[str]) -> tuple[str, ...]:
    """The classes of files, each the name of the folder that holds it, in alphabetical order.

    Args:
        names: paths relative to the folder of all. A file that lies in no subfolder has no class.
    """
    return tuple(sorted({PurePosixPath(name).parent.name for name in names} - {""}))


def labels_of(names: Sequence[str], classes: Sequence[str]) -> Tensor:
    """The number of each file's class (N,), ``NO_LABEL`` for a file that lies in no subfolder."""
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([numbers.get(PurePosixPath(name).parent.name, NO_LABEL) for name in names])


def numbered_as(split: Split, trained: Sequence[str]) -> Split:
    """The same samples, each class with the number that it has in training; classes that training lacks come last.

    Args:
        split: with names of its classes; without, it stays as it is.
        trained: names of the classes of training, in the order of their numbers; empty: it has none.
    """
    if not split.classes or not trained or (split.classes == tuple(trained) and not split.strange):
        return split
    known = set(trained)
    strange = [name for name in split.classes if name not in known]
    classes = (*trained, *strange)
    numbers = {name: number for number, name in enumerate(classes)}
    new = torch.tensor([*(numbers[name] for name in split.classes), NO_LABEL])  # the last entry is that of -1
    return replace(split, labels=new[split.labels], classes=classes, strange=len(strange))


@dataclass(frozen=True)
class Numbering:
    """Which class each label of a network stands for: label k is the class ``names[k]``.

    It comes with a network's weights, as their values do, and with a classifier that guides. Until it is known, and for
    weights that do not say, the training split's own numbers hold.

    Attributes:
        names: of the classes, in the order of their labels; empty: they are not known.
        source: who says so, for messages.
    """

    names: tuple[str, ...] = ()
    source: str = ""

    def agreed(self, other: Numbering) -> Numbering:
        """What two sources know, of which either may know nothing.

        Raises:
            ValueError: they know otherwise.
        """
        found = other.names
        if self.names and found and found != self.names:
            k = next(k for k in range(len(found) + 1) if found[k : k + 1] != self.names[k : k + 1])
            ours, theirs = (repr(held[k]) if k < len(held) else "no class" for held in (self.names, found))
            raise ValueError(
                f"label {k} is {ours} in {self.source}, and {theirs} in {other.source}: they must know the same "
                f"classes in the same order, which are {in_quotes(self.names)} and {in_quotes(found)}."
            )
        return self if self.names else other

    def label(self, name: str) -> int:
        """The label of a class.

        Raises:
            ValueError: no class has the name, or the names are not known.
        """
        if name not in self.names:
            known = f"the classes are {in_quotes(self.names)}."
            unknown = "the weights do not say what their classes are called: give their numbers."
            raise ValueError(
                f"guidance.labels asks for the class {name!r}, and {known if self.names else unknown}"
            )
        return self.names.index(name)

    def number(self, split: Split, where: str, *, labelled: bool) -> Split:
        """The same samples with the labels of the network.

        Args:
            split: numbered by its training split.
            where: it comes from, for messages.
            labelled: whether labels mean anything here; where they do not, there may be any classes.

        Raises:
            ValueError: a class that the network, or the training split, does not know.
        """
        numbered = numbered_as(split, self.names)
        if numbered.strange and (labelled or self.names):
            known = numbered.classes[: -numbered.strange]
            lacking = numbered.classes[-numbered.strange :]
            many = len(lacking) > 1
            raise ValueError(
                f"{where} has the class{'es' if many else ''} {in_quotes(lacking)}, which "
                f"{self.source or 'its training split'} lacks: its classes are {in_quotes(known)}. Take the folder"
                f"{'s' if many else ''} out, or name {'them' if many else 'it'} as training does."
            )
        return numbered


UNKNOWN = Numbering()
"""Of data before any weights are loaded, and of weights that do not say."""


def numbered(held: T, known: Numbering) -> T:
    """The same plan, or part of one, whose data and requested classes are numbered as weights say that are loaded.

    Dataclasses, tuples and dictionaries that hold a numbering are made anew, since they are frozen; the rest is shared.

    Raises:
        ValueError: what is held knows otherwise.
    """
    return _Renumbering(known)(held) if known.names else held


class _Renumbering(Rebuilding):
    def __init__(self, known: Numbering) -> None:
        super().__init__()
        self._known = known

    def replacement(self, part: Any) -> Any:
        return part.agreed(self._known) if type(part) is Numbering else INSIDE


def in_quotes(names: Sequence[str]) -> str:
    """Names in quotation marks, the first twelve of them."""
    return listed([repr(name) for name in names], 12)
