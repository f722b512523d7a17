"""Who may import whom, and other rules of the house that a parser can check.

    sde_lib <- models <- {samplers, losses, likelihood} <- run_lib <- main

The three siblings never import one another; configurations know ml_collections and themselves only. What reads a
configuration builds a plan; what works, works from the plan. ``STOREYS`` has the order within the packages.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import statistics
import sys
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["sde_lib", "models", "samplers", "losses", "likelihood", "configs", "run_lib", "main"]
MATHEMATICS = ["sde_lib", "samplers", "losses", "likelihood"]
MAY_IMPORT = {
    "sde_lib": {"sde_lib"},
    "models": {"models", "sde_lib"},
    "samplers": {"samplers", "models", "sde_lib"},
    "losses": {"losses", "models", "sde_lib"},
    "likelihood": {"likelihood", "models", "sde_lib"},
    "configs": {"configs"},
    "run_lib": set(PACKAGES) - {"main"},
    "main": set(PACKAGES),
}
THIRD_PARTY = {
    "sde_lib": {"torch", "numpy", "scipy", "typing_extensions"},
    "samplers": {"torch", "numpy", "scipy"},
    "losses": {"torch", "numpy", "scipy"},
    "likelihood": {"torch", "numpy", "scipy"},
    "configs": {"ml_collections"},
}
HEAVY = ("matplotlib", "sklearn", "skimage", "tensorboard", "torch.utils.tensorboard", "torchvision", "torch_fidelity",
         "diffusers", "transformers")  # fmt: skip
"""Libraries that take longer to import than a message about a misspelt field may."""
STOREYS: dict[str, list[set[str]]] = {
    "models": [
        {"parts"},
        {"base", "ema", "blocks"},
        {"networks", "prediction", "describe"},
        {"exact", "checkpoints"},
    ],
    "samplers": [
        {"base", "operators", "guidance"},
        {"predictors", "correctors"},
        {"automatic", "starting"},
        {"pc"},
        {"constraints", "inverse", "ode"},
        {"score_sde"},
    ],
    "run_lib": [
        # What knows neither configurations nor plans, and stands on nothing of run_lib but itself.
        {
            "computing.compiling",
            "computing.limits",
            "computing.processor",
            "computing.speed",
            "computing.waiting",
            "output",
        },
        {"computing.allocation", "computing.numerics", "fingerprint"},
        {"faults", "stopping"},
        {"startup"},
        {"files"},
        {
            "computing.placement",
            "computing.steps",
            "processes",
            "seeds",
            "statistics",
            "data",
            "training.norms",
            "training.undo",
        },
        {"automatic", "locks", "training.checkpoints", "training.watch"},
        {"ours", "sharing", "training.team"},
        {"metrics"},
        # What a configuration chooses from, and what plans are made of.
        {
            "pictures",
            "training.curves",
            "training.labels",
            "training.optimisers",
            "training.state",
            "tuning.features",
            "tuning.optimised_grid",
            "tuning.scores",
            "editing.restorations",
            "evaluation.fidelity",
            "evaluation.followed",
            "evaluation.likelihood_errors",
            "evaluation.likelihoods",
            "evaluation.report",
            "evaluation.subset",
        },
        {"extractors"},
        {"references", "training.formats", "training.profiles", "training.tasks", "tuning.scorers"},
        # Weights and times that a plan asks for, and scorers that take it.
        {"training.published_profiles", "training.warm_start", "tuning.stored_grids", "tuning.by_metrics"},
        {"run", "sample_folder"},  # the folders of a run
        {"sample"},  # the first of the loops, which the others draw samples by
        {"scoring.asked", "scoring.features"},
        {"scoring.references"},
        {"scoring.measuring"},
        {"scoring.nearest"},
        # Evaluations are chosen by a configuration, so they know plans by their types alone.
        {"evaluation.task"},
        {
            "evaluation.accuracy",
            "evaluation.base",
            "evaluation.dequantisation",
            "evaluation.likelihood_references",
            "evaluation.loss",
            "evaluation.plane",
            "evaluation.restoration",
            "evaluation.sample_sets",
        },
        {"evaluation.ode", "evaluation.pixels"},
        {"evaluation.bound", "evaluation.samples"},
        {"evaluation.builtin"},
        {"config"},  # from a configuration to a plan
        {
            "training",
            "tuning",
            "editing",
            "evaluation",
            "convert",
            "describe",
            "doctor",
            "post_hoc",
            "preparation",
            "scoring",
        },  # the loops, each from its plan
        {"pages"},  # of what the loops have written
        {"showing"},
        {"modes"},
    ],
}
"""Of a package, from the ground up: a module imports its own part of a storey, and storeys below. What no storey
names stands on top of them all: a package's ``__init__``, and modules that combine parts."""
BUILDERS = ("automatic", "configuration", "command_line", "components", "effects", "fields", "files", "parsing",
            "plugins", "roles", "section_files")  # fmt: skip
"""Modules of ``run_lib.config`` that know configurations and not plans."""


def files(package: str) -> list[Path]:
    single = ROOT / f"{package}.py"
    return [single] if single.exists() else sorted((ROOT / package).rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, also inside functions and under ``TYPE_CHECKING``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            yield node.module or ""


def test_there_is_something_to_check() -> None:
    """A renamed package must not make the rules below pass on nothing."""
    assert all(files(package) for package in PACKAGES)
    assert "torch" in set(imported(ROOT / "sde_lib" / "base.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imported(path)
        if name.split(".")[0] in PACKAGES and name.split(".")[0] not in MAY_IMPORT[package]
    ]
    assert not offences


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_mathematics_and_configurations_need_few_libraries(package: str) -> None:
    allowed = THIRD_PARTY[package] | set(PACKAGES) | set(sys.stdlib_module_names)
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imported(path)
        if name.split(".")[0] not in allowed
    ]
    assert not offences


def readers() -> list[Path]:
    """Every file of ours that has no business with configurations: plans are built by others."""
    return [
        path
        for package in PACKAGES
        if package not in ("configs", "main")
        for path in files(package)
        if path.relative_to(ROOT).parts[:2] != ("run_lib", "config")
    ]


def test_only_the_builder_knows_configurations() -> None:
    """``ml_collections`` is imported by configs and by what builds plans, without exception."""
    offences = [
        str(path.relative_to(ROOT))
        for path in readers()
        if any(name.split(".")[0] in ("ml_collections", "configs") for name in imported(path))
    ]
    assert not offences


def handed_a_configuration(path: Path) -> Iterator[str]:
    """Functions with a parameter of that type; a mode's ``plan`` is where building begins."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "plan":
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            hints = [ast.unparse(argument.annotation) for argument in every if argument.annotation]
            if any(kind in hint for hint in hints for kind in ("ConfigDict", "Configuration")):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_nobody_reads_a_configuration_after_building() -> None:
    """What works is handed plans: it has no configuration, and no function that reads or completes one.

    ``tests/test_plans.py`` has the other half: no plan holds a configuration.
    """
    offences = [found for path in readers() for found in handed_a_configuration(path)]
    for path in readers():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("run_lib.config"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                names -= {"run_lib.config.configuration.Configuration"}  # the type, for a mode's ``plan``
                offences += [
                    f"{path.relative_to(ROOT)} imports {name}"
                    for name in names
                    if name.split(".")[2] in BUILDERS or name.endswith("make_plan")
                ]
    assert not offences


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in files(package)
    }


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, inside functions too; those for type checkers alone do not count."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            names, waiting = [], [*waiting, *node.orelse]
        else:
            names, waiting = [], [*waiting, *ast.iter_child_nodes(node)]
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            found.add(name)
    return found - {""}


def test_no_import_circle() -> None:
    """Modules that import nothing are taken away, again and again, until nothing is left."""
    known = modules()
    left = {name: imports_of(path, known) - {name} for name, path in known.items()}
    while ground := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ground:
            del left[name]
    assert not left, "modules of a circle, or on top of one"


def part_of(name: str, parts: Container[str]) -> str:
    """The part that a module belongs to; its package, where it belongs to none."""
    while name not in parts and "." in name:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("package", STOREYS)
def test_storeys_within_a_package(package: str) -> None:
    """A part imports itself and what is below it; so no two folders need one another."""
    known, storeys = modules(), STOREYS[package]
    heights = {f"{package}.{part}": height for height, storey in enumerate(storeys) for part in storey}
    assert not heights.keys() - known.keys(), "a storey names what is not there"
    heights[package] = len(storeys)
    offences = []
    for name in (name for name in known if name.split(".")[0] == package):
        own = part_of(name, heights)
        for needed in imports_of(known[name], known):
            other = part_of(needed, heights)
            if needed.split(".")[0] == package and other != own and heights[other] >= heights[own]:
                offences.append(f"{name} imports {needed}")
    assert not offences


def imported_at_once(path: Path) -> Iterator[str]:
    """Every module imported when the file itself is: outside functions and ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("package", PACKAGES)
def test_heavy_libraries_are_imported_where_they_are_used(package: str) -> None:
    """A wrong command line is answered before they are loaded; ``benchmarks/startup.py`` has the seconds."""
    offences = [
        f"{path.relative_to(ROOT)} imports {name} at its head"
        for path in files(package)
        for name in imported_at_once(path)
        if f"{name}.".startswith(tuple(f"{library}." for library in HEAVY))
    ]
    assert not offences


@pytest.mark.parametrize("package", ["sde_lib", "models", "samplers", "losses", "likelihood"])
def test_nothing_below_the_builder_is_handed_a_configuration(package: str) -> None:
    """No argument of ours is called ``config`` and no ``config.`` is read: plain keyword arguments instead.

    The loaders of published checkpoints read those files' own descriptions, which are dictionaries.
    """
    offences = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files(package)
        if "checkpoints" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name | ast.arg)
        and (node.id if isinstance(node, ast.Name) else node.arg) in ("config", "cfg", "FLAGS")
    ]
    assert not offences


def global_randomness(path: Path) -> Iterator[int]:
    """Lines that draw from torch's global generator."""
    drawing = {"randn", "rand", "randint", "randperm", "randn_like", "rand_like", "randint_like", "normal",
               "bernoulli", "multinomial"}  # fmt: skip
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in drawing
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "torch"
        ):
            yield node.lineno


@pytest.mark.parametrize("package", MATHEMATICS)
def test_randomness_is_an_argument(package: str) -> None:
    """Draws come from ``Noise``; only networks, whose parameters start somewhere, use torch's own."""
    assert not [f"{p.relative_to(ROOT)}:{line}" for p in files(package) for line in global_randomness(p)]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_silent(package: str) -> None:
    """No bare ``except``, no ``nan_to_num``, no weights loaded with ``strict=False``."""
    offences = []
    for path in files(package):
        for node in ast.walk(tree(path)):
            bare = isinstance(node, ast.ExceptHandler) and node.type is None
            called = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
            lax = called == "load_state_dict" and any(
                k.arg == "strict" and isinstance(k.value, ast.Constant) and k.value.value is False
                for k in node.keywords  # type: ignore[attr-defined]
            )
            if bare or lax or called == "nan_to_num":
                offences.append(f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert not offences


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short_and_explained(package: str) -> None:
    """At most 400 lines, 80 in main.py; each begins with its idea, but for empty ``__init__`` files."""
    for path in files(package):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= (80 if package == "main" else 400), path
        assert not text.strip() or ast.get_docstring(tree(path)), path
        assert path.stem != "datasets", "the name would shadow Hugging Face's"


def test_folders_and_files_stay_small() -> None:
    """At most 20 files directly in run_lib; half of all files have at most 90 lines."""
    assert len([path for path in (ROOT / "run_lib").iterdir() if path.is_file()]) <= 20
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules().values()]
    assert statistics.median(length for length in lengths if length) <= 90


@pytest.mark.parametrize("package", [*MATHEMATICS, "models"])
def test_a_class_is_abstract_or_final(package: str) -> None:
    """No class of ours has a concrete class of ours as its base."""
    offences = []
    for path in files(package):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != name:
                continue
            ours = [b for b in cls.__bases__ if b.__module__.split(".")[0] in PACKAGES]
            offences += [f"{name}.{cls.__name__} <- {b.__name__}" for b in ours if not inspect.isabstract(b)]
    assert not offences
