"""The mutants of a file: which there are, which there are not, and that each is the change that it says."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.reached import Reached
from tests.mutation.trial import Functions

SOURCE = '''"""A docstring with 1 < 2."""
LIMIT: Annotated[int, Range(least=1)] = 3


def scaled(x: "1 < 2", factor=2.0):
    """Not 3 + 4."""
    if x < LIMIT and not factor == 0:
        raise ValueError(f"{x + 1} is less than {LIMIT - 1}" + "!")
    print(x + 5)
    with locked():
        total = call(x, a=1, note=7)
        total += 1
    return total * factor if x else -x
'''
CHANGES = [
    ("argument dropped", "least=1", ""),
    ("constant", "1", "(2)"),
    ("constant", "3", "(4)"),
    ("constant", "2.0", "(4.0)"),
    ("condition negated", "x < LIMIT and not factor == 0", "(not (x < LIMIT and not factor == 0))"),
    ("comparison", "<", "<="),
    ("boolean", "and", "or"),
    ("condition negated", "not factor == 0", "(bool(factor == 0))"),
    ("comparison", "==", "!="),
    ("constant", "0", "(1)"),
    ("statement removed", 'raise ValueError(f"{x + 1} is less than {LIMIT - 1}" + "!")', "pass"),
    ("context removed", "locked()", '__import__("contextlib").nullcontext()'),
    ("argument dropped", ", a=1", ""),
    ("constant", "1", "(2)"),
    ("statement removed", "total += 1", "pass"),
    ("arithmetic", "+=", "-="),
    ("constant", "1", "(2)"),
    ("return value", "total * factor if x else -x", "None"),
    ("arithmetic", "*", "/"),
    ("condition negated", "x", "(not (x))"),
    ("arithmetic", "-x", "(x)"),
]
"""Of the source, from its beginning to its end; a larger change after those within it."""


def test_mutants_of_a_file() -> None:
    """Docstrings, hints, messages and notes have none; a declared range and a default have."""
    found = mutants_of("a.py", SOURCE.encode())
    assert sorted((m.operator, m.before, m.after) for m in found) == sorted(CHANGES)
    for mutant in found:
        changed = mutant.applied(SOURCE.encode()).decode()
        assert changed == SOURCE[: mutant.start] + mutant.after + SOURCE[mutant.end :]
    assert {m.function for m in found if m.lines[0] > 5} == {"scaled"}
    assert {m.function for m in found if m.lines[0] <= 5} == {""}


def test_a_mutant_of_several_lines_moves_no_line_after_it() -> None:
    source = b"def f():\n    call(\n        1,\n    )\n    return 5\n"
    (mutant,) = [m for m in mutants_of("a.py", source) if m.operator == "statement removed"]
    assert mutant.applied(source) == b"def f():\n    pass\n\n\n    return 5\n"


def test_tests_of_a_mutant() -> None:
    """Those that reach its statement, the quickest first; of code that runs at import, those that reach the module."""

    def mutant(function: str, first: int, last: int) -> Mutant:
        return Mutant("a.py", function, (first, last), "constant", 0, 1, "", "")

    reached = Reached(
        {"slow": 2.0, "quick": 1.0, "other": 0.5}, {"a.py": {3: ["slow"], 4: ["slow", "quick"], 9: ["other"]}}
    )
    assert reached.tests(mutant("f", 3, 4)) == ["quick", "slow"]
    assert reached.tests(mutant("f", 5, 6)) == []
    assert reached.tests(mutant("", 1, 1)) == ["other", "quick", "slow"]


def test_a_function_gets_the_changed_code_wherever_it_is_held(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    source = "def outer(x):\n    def inner(y):\n        return y + 1\n    return inner(x)\n"
    file.write_text(source)
    names: dict[str, object] = {}
    exec(compile(source, str(file), "exec"), names)
    held = names["outer"]
    assert callable(held)
    (mutant,) = [m for m in mutants_of("module.py", source.encode()) if m.operator == "arithmetic"]
    functions = Functions(tmp_path)
    assert held(5) == 6
    assert functions.swap(file, mutant.applied(source.encode()), "outer")
    assert held(5) == 4
    assert not functions.swap(file, source.encode(), "another")
