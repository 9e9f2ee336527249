"""Automatic mutants of reference solutions: every small change of a solution cell that the operators below make.

A mutant is killed where the hidden suite takes its task's points away. Tools for mutation testing change modules, not
cells of notebooks, hence this set of operators on syntax trees; each is one function from a node to its replacements.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course_flows.grading import notebooks
from course_flows.grading.course import Course
from course_flows.grading.hidden import grade_source
from course_flows.grading.pool import WorkerPool

Place = tuple[tuple[str, int | None], ...]
Variants = Iterator[tuple[str, ast.AST]]

ARITHMETIC: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
}
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
NAMES = {
    "exp": ["log"],
    "log": ["exp"],
    "log1p": ["log"],
    "logsigmoid": ["sigmoid"],
    "sigmoid": ["tanh"],
    "sum": ["mean"],
    "mean": ["sum"],
    "logsumexp": ["mean"],
    "any": ["all"],
    "all": ["any"],
    "zeros": ["ones"],
    "ones": ["zeros"],
    "zeros_like": ["ones_like"],
    "ones_like": ["zeros_like"],
    "tril": ["triu"],
    "triu": ["tril"],
    "min": ["max"],
    "max": ["min"],
    "logabsdet": ["sign"],
    "sign": ["logabsdet"],
}
DROPPED_CALLS = {
    *("abs", "exp", "log", "sign", "norm", "sum", "cumsum", "diag", "inverse"),
    *("flip", "argsort", "sorted", "reversed", "tril", "triu", "flatten"),
    *("clone", "contiguous", "detach", "requires_grad_", "to", "as_tensor"),
}


@dataclass(frozen=True)
class Mutant:
    """One change of one solution cell: the cell's text after it, and the change as lines."""

    exercise: str
    task: str
    operator: str
    source: str
    diff: str
    repeat: int = 0

    @property
    def name(self) -> str:
        """A name that stays the same as long as the change does; ``repeat`` tells equal changes of a cell apart."""
        digest = hashlib.sha256(f"{self.exercise}/{self.task}\n{self.diff}{self.repeat or ''}".encode()).hexdigest()[:8]
        return f"{self.exercise}/{self.task}/{digest}"


def mutants_of(course: Course, exercise: str) -> list[Mutant]:
    """Return the mutants of every solution cell of an exercise, in order, each text once."""
    found: dict[str, Mutant] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for cell in course.solution(exercise)["cells"]:
        if notebooks.is_solution(cell):
            for mutant in of_cell(exercise, notebooks.grade_id(cell) or "", notebooks.source_of(cell)):
                if mutant.source not in found:
                    found[mutant.source] = replace(mutant, repeat=seen[mutant.task, mutant.diff])
                    seen[mutant.task, mutant.diff] += 1
    return list(found.values())


def load_equivalent() -> dict[str, str]:
    """Return, by name, why a surviving mutant answers the task as well as the reference solution does."""
    entries = json.loads((Path(__file__).parent / "equivalent_mutants.json").read_text(encoding="utf-8"))
    return {entry["mutant"]: entry["why"] for entry in entries}


def survivors(course: Course, exercise: str, some: Sequence[Mutant], pool: WorkerPool) -> list[Mutant]:
    """Grade mutants, those of different tasks in one notebook; return those whose task kept its points.

    No task without a mutant may lose its own.
    """
    tasks: dict[str, list[Mutant]] = {}
    for mutant in some:
        tasks.setdefault(mutant.task, []).append(mutant)
    alive = []
    for n in range(max(map(len, tasks.values()), default=0)):
        hand = {task: mutants[n] for task, mutants in tasks.items() if n < len(mutants)}
        outcome = grade_source(course, exercise, {task: mutant.source for task, mutant in hand.items()}, pool)
        kept = {task for task, points in outcome.points.items() if points == outcome.max_points[task]}
        if lost := outcome.points.keys() - kept - hand.keys():
            names = ", ".join(mutant.name for mutant in hand.values())
            raise AssertionError(f"the mutants {names} cost the task {', '.join(sorted(lost))} its points")
        alive += [mutant for task, mutant in hand.items() if task in kept]
    return alive


def of_cell(exercise: str, task: str, source: str) -> Iterator[Mutant]:
    """Yield the mutants of one cell's text."""
    tree = ast.parse(source)
    plain = ast.unparse(tree)
    for place, node in _nodes(tree, ()):
        for make in OPERATORS:
            for operator, new in make(node):
                changed = copy.deepcopy(tree)
                _put(changed, place, new)
                text = ast.unparse(ast.fix_missing_locations(changed))
                if text != plain:
                    yield Mutant(exercise, task, operator, text, _diff(plain, text))


def _nodes(node: ast.AST, place: Place) -> Iterator[tuple[Place, ast.AST]]:
    """Yield every node with its place, except texts, docstrings, signatures and what is raised."""
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.FunctionDef) and name not in ("body",):
            continue
        if isinstance(value, ast.AST):
            yield from _node(value, (*place, (name, None)))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _node(item, (*place, (name, index)))


def _node(node: ast.AST, place: Place) -> Iterator[tuple[Place, ast.AST]]:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if docstring or isinstance(node, ast.JoinedStr):
        return
    yield place, node
    if not isinstance(node, ast.Raise):
        yield from _nodes(node, place)


def _put(tree: ast.AST, place: Place, new: ast.AST) -> None:
    *above, (name, index) = place
    parent: Any = tree
    for step, at in above:
        parent = getattr(parent, step) if at is None else getattr(parent, step)[at]
    if index is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[index] = new


def _diff(before: str, after: str) -> str:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "\n".join(line.rstrip() for line in lines if line[:1] in "+-")


def _with(node: ast.AST, **fields: Any) -> Any:
    new = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def arithmetic(node: ast.AST) -> Variants:
    """``+`` ↔ ``-``, ``*`` ↔ ``/``, other operators to ``*``; operands swapped, or one of them dropped."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in ARITHMETIC.get(type(node.op), ()):
            yield "operator", _with(node, op=other())
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult)):
            yield "operands swapped", _with(node, left=node.right, right=node.left)
        yield "right operand dropped", node.left
        yield "left operand dropped", node.right


def comparison(node: ast.AST) -> Variants:
    """Comparisons turned round or made strict, ``and`` ↔ ``or``."""
    if isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield "comparison", _with(node, ops=[other(), *node.ops[1:]])
    if isinstance(node, ast.BoolOp):
        yield "and, or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def constant(node: ast.AST) -> Variants:
    """Numbers one up and one down, True ↔ False."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield "flag", _with(node, value=not node.value)
        elif isinstance(node.value, (int, float)):
            for change in (1, -1):
                yield "constant", _with(node, value=node.value + change)


def unary(node: ast.AST) -> Variants:
    """A minus or ``not`` dropped; a minus put before what is returned."""
    if isinstance(node, ast.UnaryOp):
        yield "sign dropped", node.operand
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Tuple):
        yield "result negated", _with(node, value=ast.UnaryOp(ast.USub(), node.value))
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        for n, part in enumerate(node.value.elts):
            parts: list[ast.expr] = list(node.value.elts)
            parts[n] = ast.UnaryOp(ast.USub(), part)
            yield "result negated", _with(node, value=ast.Tuple(parts, ast.Load()))
        yield "results swapped", _with(node, value=ast.Tuple(node.value.elts[::-1], ast.Load()))


def call(node: ast.AST) -> Variants:
    """Arguments swapped or dropped, the call of a method or function dropped, transposes dropped, names exchanged."""
    if isinstance(node, ast.Attribute):
        if node.attr in ("T", "mT", "H"):
            yield "transpose dropped", node.value
        for other in NAMES.get(node.attr, ()):
            yield "name", _with(node, attr=other)
    if not isinstance(node, ast.Call):
        return
    if len(node.args) > 1:
        yield "arguments swapped", _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for n in range(len(node.keywords)):
        yield "keyword dropped", _with(node, keywords=[k for m, k in enumerate(node.keywords) if m != n])
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in DROPPED_CALLS:
        is_method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
        if is_method:
            yield "call dropped", node.func.value
        elif node.args:
            yield "call dropped", node.args[0]


def _is_module(node: ast.AST) -> bool:
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id in ("torch", "math", "numpy")


def index(node: ast.AST) -> Variants:
    """Bounds of slices dropped, an index dropped."""
    if isinstance(node, ast.Slice):
        for side in ("lower", "upper", "step"):
            if getattr(node, side) is not None:
                yield "bound dropped", _with(node, **{side: None})
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield "index dropped", node.value


def statement(node: ast.AST) -> Variants:
    """A statement removed; a condition always true, or never; a loop left after its first round."""
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.If, ast.For, ast.While, ast.Raise)):
        yield "statement removed", ast.Pass()
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        for value in (True, False):
            yield "condition", _with(node, test=ast.Constant(value))
    if isinstance(node, (ast.For, ast.While)):
        yield "one round only", _with(node, body=[*node.body, ast.Break()])
    if isinstance(node, ast.With):
        yield "with dropped", ast.If(ast.Constant(True), node.body, [])


OPERATORS: tuple[Callable[[ast.AST], Variants], ...] = (arithmetic, comparison, constant, unary, call, index, statement)
