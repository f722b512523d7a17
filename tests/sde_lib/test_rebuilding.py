"""Frozen structures are made anew where a part is replaced, and shared where none is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sde_lib.rebuilding import INSIDE, Rebuilding


class Doubling(Rebuilding):
    """Replaces integers."""

    def replacement(self, part: Any) -> Any:
        return 2 * part if type(part) is int else INSIDE


@dataclass(frozen=True)
class Leaf:
    size: int | str

    @cached_property
    def shown(self) -> tuple[int | str]:
        return (self.size,)


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    by_name: dict[str, Leaf]


def test_parts_are_replaced_however_deep_and_stay_shared() -> None:
    leaf, other = Leaf(3), Leaf("three")
    tree = Tree((leaf, other), {"a": leaf})
    found = Doubling()(tree)
    assert found == Tree((Leaf(6), other), {"a": Leaf(6)})
    assert found.leaves[0] is found.by_name["a"], "one part in two places"
    assert found.leaves[1] is other, "nothing in it is replaced"
    assert tree == Tree((Leaf(3), other), {"a": Leaf(3)}), "what was given is as it was"


def test_what_is_kept_beside_the_fields_is_replaced_too() -> None:
    """A property that has been computed and cached."""
    leaf = Leaf(3)
    assert leaf.shown == (3,)
    assert Doubling()(leaf).shown == (6,)


def test_a_structure_without_such_parts_is_itself() -> None:
    tree = Tree((Leaf("a"),), {"b": Leaf("c")})
    assert Doubling()(tree) is tree
