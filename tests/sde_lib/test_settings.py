"""Settings read from signatures, against a table written by hand; what they refuse, and in which words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from sde_lib.registry import Registry
from sde_lib.settings import REQUIRED, Range, Setting, check_settings, checked, settings_of

if TYPE_CHECKING:
    from nowhere import Unknown

Colour = Literal["red", "green", "blue"]
register_tool: Registry[Any] = Registry("tool")


@register_tool(name="brush")
@dataclass(frozen=True)
class Paintbrush:
    """Paints.

    Args:
        width: of the stroke,
            in pixels: any.
        low, high: where it paints.
        colour: of the paint.
        weights: one a bristle.

    Raises:
        ValueError: a width: that is none.
    """

    needs: ClassVar[type] = int
    width: Annotated[float, Range(above=0, most=8)]
    low: Annotated[float, Range(least=0)] = 0.0
    angle: Annotated[float, Range(words="an angle is a number; {name} is {value}")] = 0.0
    high: Annotated[float, Range(least=0, finite=False)] = math.inf
    colour: Colour = "red"
    bristles: Annotated[int, Range(least=1)] | None = None
    weights: Sequence[Annotated[float, Range(least=0)]] = (1.0,)
    dry: bool = False
    name: str = "brush"
    size: int | str = 1
    tips: Sequence[Sequence[float]] = field(default_factory=tuple)
    area: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        check_settings(self)


class Roller:
    """Rolls.

    Args:
        length: of the roll.
    """

    @checked
    def __init__(
        self, length: Annotated[int, Range(least=2)], *extra: Any, wet: bool = True, **more: Any
    ) -> None:
        """Begin.

        Args:
            wet: before it rolls.
        """


@register_tool(name="spray")
@checked
def spray(
    shape: Sequence[int], *, mist: Annotated[float, Range(above=0, below=1)], by: Unknown = None
) -> float:
    return mist


FACTORIES: dict[str, tuple[Callable[..., Any], list[Setting]]] = {
    "dataclass": (
        Paintbrush,
        [
            Setting("width", float, range=Range(above=0, most=8), doc="of the stroke, in pixels: any."),
            Setting("low", float, False, 0.0, range=Range(least=0), doc="where it paints."),
            Setting("angle", float, False, 0.0, range=Range(words="an angle is a number; {name} is {value}")),
            Setting("high", float, False, math.inf, range=Range(0, finite=False), doc="where it paints."),
            Setting("colour", str, False, "red", ("red", "green", "blue"), doc="of the paint."),
            Setting("bristles", int, True, None, range=Range(least=1)),
            Setting(
                "weights", tuple, False, (1.0,), range=Range(least=0), doc="one a bristle.", element=float
            ),
            Setting("dry", bool, False, False),
            Setting("name", str, False, "brush"),
            Setting("size", int | str, False, 1),
            Setting("tips", tuple, False, (), element=tuple),
        ],
    ),
    "constructor": (
        Roller,
        [
            Setting("length", int, range=Range(least=2), doc="of the roll."),
            Setting("wet", bool, False, True, doc="before it rolls."),
        ],
    ),
    "function": (
        spray,
        [
            Setting("shape", tuple, element=int),
            Setting("mist", float, range=Range(above=0, below=1)),
            Setting("by", object, True, None),
        ],
    ),
}


@pytest.mark.parametrize(("factory", "expected"), FACTORIES.values(), ids=FACTORIES)
def test_settings_are_read_from_the_signature(factory: Callable[..., Any], expected: list[Setting]) -> None:
    assert list(settings_of(factory)) == expected
    assert repr(expected[0].default) == "REQUIRED" and expected[0].default is REQUIRED


def test_a_field_whose_hint_cannot_be_resolved_hides_no_other() -> None:
    @dataclass(frozen=True)
    class Mine(Paintbrush):  # fields of two classes
        damping: float = 0.5
        by: Unknown = None

    found = {setting.name: setting for setting in settings_of(Mine)}
    assert found["damping"] == Setting("damping", float, False, 0.5)
    assert found["by"].type is object
    assert found["low"].range == Range(least=0)


@pytest.mark.parametrize(
    ("bounds", "text", "requirement", "inside", "outside"),
    [
        (Range(above=0, most=1), "in (0, 1]", "lies in (0, 1]", [1e-9, 1], [0, 1.1, math.nan]),
        (Range(least=0, below=1), "in [0, 1)", "lies in [0, 1)", [0], [1, -1e-9]),
        (Range(above=0, below=1), "in (0, 1)", "lies between 0 and 1", [0.5], [0, 1, -math.inf]),
        (Range(above=0), "> 0", "must be positive", [1e-300], [0, math.inf]),
        (Range(least=1), ">= 1", "must be at least 1", [1], [0]),
        (Range(least=0), ">= 0", "must be 0 or more", [0], [-1]),
        (Range(above=2), "> 2", "must be above 2", [3], [2]),
        (Range(most=2), "<= 2", "must be at most 2", [2], [3, -math.inf]),
        (Range(below=2), "< 2", "must be below 2", [1], [2]),
        (Range(), "", "must be a finite number", [-1e300], [math.inf, math.nan]),
        (Range(finite=False), "", "must be a number", [math.inf], [math.nan]),
        (Range(least=0, words="is a share"), ">= 0", "is a share", [0], [-1]),
    ],
)
def test_ranges(bounds: Range, text: str, requirement: str, inside: list, outside: list) -> None:
    assert (str(bounds), bounds.requirement) == (text, requirement)
    assert all(bounds.contains(value) for value in inside)
    assert not any(bounds.contains(value) for value in outside)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("width", 2, 2.0),
        ("width", np.float32(0.5), 0.5),
        ("high", math.inf, math.inf),
        ("bristles", np.int64(3), 3),
        ("bristles", None, None),
        ("weights", [1, 2], (1.0, 2.0)),
        ("tips", [[1], [2, 3]], ((1,), (2, 3))),
        ("size", "big", "big"),
        ("size", 2, 2),
    ],
)
def test_values_are_coerced_to_the_declared_type(name: str, value: Any, expected: Any) -> None:
    found = {s.name: s for s in settings_of(Paintbrush)}[name].check(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 9}, r"^brush's width lies in \(0, 8\], got 9\.$"),
        ({"width": math.nan}, r"^brush's width lies in \(0, 8\], got nan\.$"),
        ({"width": "4"}, r"^brush's width must be a number, got '4'\.$"),
        ({"width": True}, "must be a number, got True"),
        ({"width": None}, "must be a number, got None"),
        ({"low": math.inf}, "low must be a finite number, got inf"),
        ({"angle": math.inf}, "^an angle is a number; brush's angle is inf$"),
        ({"high": math.nan}, "high must be 0 or more, got nan"),
        ({"colour": "gren"}, r"colour is one of red, green, blue; got 'gren'\. Did you mean 'green'\?$"),
        ({"bristles": 2.0}, r"bristles must be a whole number or None, got 2\.0"),
        ({"bristles": 0}, "bristles must be at least 1, got 0"),
        ({"weights": 1.0}, r"weights must be a sequence, got 1\.0"),
        ({"weights": "12"}, "weights must be a sequence, got '12'"),
        ({"weights": (1.0, -1.0)}, r"weights must be 0 or more, got -1\.0"),
        ({"weights": ("a",)}, "weights holds a number in each place, got 'a'"),
        ({"dry": 1}, "dry must be True or False, got 1"),
        ({"name": 3}, "name must be a string, got 3"),
        ({"size": 1.5}, r"size must be a whole number or a string, got 1\.5"),
    ],
)
def test_values_outside_the_declaration_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Paintbrush(**{"width": 1.0, **values})


def test_a_dataclass_keeps_what_it_was_given() -> None:
    brush = Paintbrush(2, weights=[1.0])
    assert brush.width == 2
    assert brush.weights == [1.0]
    assert dataclasses.replace(brush, colour="blue").colour == "blue"


def test_two_choices_are_both_named() -> None:
    setting = Setting("norm", str, choices=("sample", "batch"))
    with pytest.raises(ValueError, match=r"^norm is 'sample' or 'batch', got 'mean'\.$"):
        setting.check("mean")
    assert Setting("n", int, choices=(0, 1)).check(1) == 1
    with pytest.raises(ValueError, match="0 or 1, got True"):
        Setting("n", int, choices=(0, 1)).check(True)


def test_functions_and_constructors_check_their_arguments() -> None:
    assert spray((1, 2), mist=0.5) == 0.5
    with pytest.raises(ValueError, match=r"^spray's mist lies between 0 and 1, got 2\.$"):
        spray((1, 2), mist=2)
    with pytest.raises(ValueError, match="spray's shape must be a sequence, got 3"):
        spray(3, mist=0.5)  # type: ignore[arg-type]
    Roller(2, "extra", more=1)
    with pytest.raises(ValueError, match=r"^Roller's length must be at least 2, got 1\.$"):
        Roller(1)
    with pytest.raises(TypeError, match="missing 1 required"):
        spray((1, 2))  # type: ignore[call-arg]
