"""Mutants of a Python file: small changes of its source, each of which some test should notice.

What a reader is told is left alone: docstrings, type hints, messages (the arguments of ``raise`` and ``print``,
f-strings, notes) and assertions. A range that is declared in a hint, ``Annotated[int, Range(least=1)]``, is more
than a hint.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
MESSAGES = ("print", "warn", "Progress", "cast", "TypeVar")
NOTES = ("note", "desc")
NO_CONTEXT = '__import__("contextlib").nullcontext()'


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, from the root of the repository.
        function: qualified name of the outermost function that it lies in; empty for code that runs at import.
        lines: first and last line of the statement, or of a compound statement's head.
        operator: the kind of change.
        start, end: bytes of the source that are replaced.
        before, after: what they were, and become.
    """

    path: str
    function: str
    lines: tuple[int, int]
    operator: str
    start: int
    end: int
    before: str
    after: str

    def applied(self, source: bytes) -> bytes:
        """The changed source. Line numbers stay what they were."""
        lost = source[self.start : self.end].count(b"\n") - self.after.count("\n")
        return source[: self.start] + self.after.encode() + b"\n" * lost + source[self.end :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:60] for text in (self.before, self.after))
        return (
            f"{self.path}:{self.lines[0]} {self.operator}: {before or '(nothing)'} -> {after or '(nothing)'}"
        )


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a file that is still Python, in the order of the source."""
    found = sorted(
        set(_Finder(path, source).statements(ast.parse(source).body)), key=lambda m: (m.start, m.end, m.after)
    )
    return [mutant for mutant in found if _compiles(mutant.applied(source))]


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.function, self.scope, self.lines = "", "", (1, 1)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Bytes of a node."""
        place: ast.expr = node  # type: ignore[assignment]
        assert place.end_lineno is not None and place.end_col_offset is not None
        return (
            self.starts[place.lineno - 1] + place.col_offset,
            self.starts[place.end_lineno - 1] + place.end_col_offset,
        )

    def mutant(self, operator: str, start: int, end: int, after: str) -> Mutant:
        before = self.source[start:end].decode()
        return Mutant(self.path, self.function, self.lines, operator, start, end, before, after)

    def of(self, operator: str, node: ast.AST, after: str) -> Mutant:
        return self.mutant(operator, *self.span(node), after)

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def statements(self, body: list[ast.stmt]) -> Iterator[Mutant]:
        for statement in body:
            yield from self.statement(statement)

    def statement(self, node: ast.stmt) -> Iterator[Mutant]:
        assert node.end_lineno is not None
        self.lines = (node.lineno, node.end_lineno)
        match node:
            case ast.FunctionDef(args=arguments, name=name, body=body):
                yield from self.defaults(arguments)
                yield from self.inside(name, body, function=True)
            case ast.ClassDef(name=name, body=body):
                yield from self.inside(name, body, function=False)
            case ast.If(test=test, body=body, orelse=orelse):
                if "TYPE_CHECKING" in self.text(test):
                    return
                yield from self.condition(test, node)
                yield from self.statements(body + orelse)
            case ast.While(test=test, body=body):
                yield from self.condition(test, node)
                yield from self.statements(body)
            case ast.For(iter=values, body=body, orelse=orelse):
                self.lines = (node.lineno, values.end_lineno or node.lineno)
                yield from self.expression(values)
                yield from self.statements(body + orelse)
            case ast.With(items=items, body=body):
                self.lines = (node.lineno, items[-1].context_expr.end_lineno or node.lineno)
                for item in items:
                    if item.optional_vars is None:
                        yield self.of("context removed", item.context_expr, NO_CONTEXT)
                    yield from self.expression(item.context_expr)
                yield from self.statements(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                yield from self.statements(body)
                for handler in handlers:
                    yield from self.statements(handler.body)
                yield from self.statements(orelse + final)
            case ast.Raise():
                yield self.of("statement removed", node, "pass")
            case ast.Return(value=ast.expr() as value):
                if not (isinstance(value, ast.Constant) and value.value is None):
                    yield self.of("return value", value, "None")
                yield from self.expression(value)
            case ast.Expr(value=value) if not isinstance(value, ast.Constant) and not _is_message(value):
                if not isinstance(value, ast.Yield):
                    yield self.of("statement removed", node, "pass")
                yield from self.expression(value)
            case ast.Assign(targets=targets, value=value):
                if all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets):
                    yield self.of("statement removed", node, "pass")
                yield from self.expression(value)
            case ast.AugAssign(op=op, target=target, value=value):
                yield self.of("statement removed", node, "pass")
                if type(op) in ARITHMETIC:
                    sign, other = ARITHMETIC[type(op)]
                    yield from self.between("arithmetic", target, value, f"{sign}=", f"{other}=")
                yield from self.expression(value)
            case ast.AnnAssign(annotation=annotation, value=value):
                yield from self.ranges(annotation)
                if value is not None:
                    yield from self.expression(value)
            case ast.Continue() | ast.Break():
                yield self.of("statement removed", node, "pass")

    def inside(self, name: str, body: list[ast.stmt], *, function: bool) -> Iterator[Mutant]:
        """The body of a function or class, with its name in the qualified name of what is within."""
        held = self.function, self.scope
        self.scope = f"{self.scope}.{name}" if self.scope else name
        if function and not self.function:
            self.function = self.scope
        yield from self.statements(body)
        self.function, self.scope = held

    def defaults(self, arguments: ast.arguments) -> Iterator[Mutant]:
        """Defaults of parameters, and ranges in their hints; both are of the function's head."""
        every = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
        values = [default for default in arguments.defaults + arguments.kw_defaults if default is not None]
        for argument in every:
            if argument.annotation is not None:
                yield from self.ranges(argument.annotation)
        for value in values:
            yield from self.expression(value)

    def ranges(self, hint: ast.expr) -> Iterator[Mutant]:
        for node in ast.walk(hint):
            if isinstance(node, ast.Call):
                yield from self.expression(node)

    def condition(self, test: ast.expr, node: ast.stmt | None = None) -> Iterator[Mutant]:
        if node is not None:
            self.lines = (node.lineno, test.end_lineno or node.lineno)
        yield self.of("condition negated", test, f"(not ({self.text(test)}))")
        yield from self.expression(test)

    def between(self, operator: str, a: ast.expr, b: ast.expr, sign: str, other: str) -> Iterator[Mutant]:
        """The sign between two operands replaced."""
        first, last = self.span(a)[1], self.span(b)[0]
        at = self.source[first:last].find(sign.encode())
        if at >= 0:
            yield self.mutant(operator, first + at, first + at + len(sign), other)

    def expression(self, node: ast.expr) -> Iterator[Mutant]:
        match node:
            case ast.JoinedStr():
                return
            case ast.Call() if _is_message(node):
                return
            case ast.Constant(value=bool() as value):
                yield self.of("constant", node, str(not value))
            case ast.Constant(value=int() as value):
                yield self.of("constant", node, f"({value + 1})")
            case ast.Constant(value=float() as value):
                yield self.of("constant", node, f"({2 * value if value else 1.0!r})")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                yield self.of("arithmetic", node, f"({self.text(operand)})")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self.of("condition negated", node, f"(bool({self.text(operand)}))")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC and not _is_text(
                left, right
            ):
                yield from self.between("arithmetic", left, right, *ARITHMETIC[type(op)])
            case ast.Compare(left=left, ops=ops, comparators=others):
                for (a, b), sign in zip(pairwise([left, *others]), ops, strict=True):
                    yield from self.between("comparison", a, b, *COMPARISONS[type(sign)])
            case ast.BoolOp(op=op, values=values):
                signs = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for a, b in pairwise(values):
                    yield from self.between("boolean", a, b, *signs)
            case ast.IfExp(test=test):
                yield self.of("condition negated", test, f"(not ({self.text(test)}))")
            case ast.Call():
                yield from self.dropped(node)
        for child in ast.iter_child_nodes(node):
            yield from self.child(child)

    def child(self, node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.expr):
            yield from self.expression(node)
        elif isinstance(node, ast.keyword) and node.arg not in NOTES:
            yield from self.expression(node.value)
        elif isinstance(node, ast.comprehension):
            yield from self.expression(node.iter)
            for test in node.ifs:
                yield from self.condition(test)
        elif isinstance(node, ast.arguments):
            yield from self.defaults(node)

    def dropped(self, call: ast.Call) -> Iterator[Mutant]:
        """Keyword arguments left out, each with the comma before it, or else after it."""
        given = sorted([*call.args, *call.keywords], key=self.span)
        for place, argument in enumerate(given):
            if isinstance(argument, ast.keyword) and argument.arg is not None and argument.arg not in NOTES:
                start, end = self.span(argument)
                if place:
                    start = self.span(given[place - 1])[1]
                elif len(given) > 1:
                    end = self.span(given[1])[0]
                else:
                    end = self.span(call)[1] - 1
                yield self.mutant("argument dropped", start, end, "")


def _is_message(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in MESSAGES


def _is_text(*operands: ast.expr) -> bool:
    return any(
        isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        for one in operands
    )
