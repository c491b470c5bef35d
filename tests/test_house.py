"""How the package is built: who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_omics

PACKAGE = Path(airflow_omics.__file__).parent
FLOORS = (
    ("_service",),
    ("_airflow", "jobs"),
    ("exceptions", "links"),
    ("_values",),
    ("_arguments",),
    ("_aws",),
    ("hooks",),
    ("_waiting",),
    ("triggers",),
    ("_starting", "sensors"),
    ("operators",),
    ("local",),
)
"""Rooms and modules, from the lowest: each imports from its own floor and from those below it."""
FACE = {"hooks", "operators", "sensors", "triggers", "links", "exceptions", "jobs", "get_provider_info", "local"}
MODULES = sorted(each.relative_to(PACKAGE) for each in PACKAGE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 300, 40


def name_of(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def imported(module: Path) -> Iterator[str]:
    """Yield the modules of this package that a module imports when it is run, also within functions."""
    tree = ast.parse((PACKAGE / module).read_text())
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            statement.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_omics"):
            base = (node.module or "").removeprefix("airflow_omics").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                is_module = importlib.util.find_spec(f"airflow_omics.{inner}") if base in ("", *ROOMS) else None
                yield inner if is_module else base


ROOMS = {each.name for each in PACKAGE.iterdir() if (each / "__init__.py").exists()}
GRAPH = {name_of(module): set(imported(module)) - {""} for module in MODULES}


def floor(name: str) -> int:
    room = name.split(".", maxsplit=1)[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("name", [each for each in GRAPH if each not in ("", "__init__", "get_provider_info")])
def test_knowledge_flows_one_way(name: str) -> None:
    above = [each for each in GRAPH[name] if floor(each) > floor(name)]
    assert not above, f"{name} imports from above: {above}"
    room = name.split(".", maxsplit=1)[0]
    beside = [each for each in GRAPH[name] if floor(each) == floor(name) and not f"{each}.".startswith(f"{room}.")]
    assert not beside, f"{name} imports from beside: {beside}"


@pytest.mark.parametrize("name", GRAPH)
def test_no_circle(name: str) -> None:
    seen, coming = set[str](), list(GRAPH[name])
    while coming:
        each = coming.pop()
        if each not in seen:
            seen.add(each)
            coming += GRAPH.get(each, ())
    assert name not in seen


def test_what_is_public_is_the_face_and_nothing_else() -> None:
    names = {each.stem for each in PACKAGE.iterdir() if each.suffix == ".py" or each.name in ROOMS}
    assert {each for each in names if not each.startswith("_")} == FACE


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_is_too_long_to_read(module: Path) -> None:
    text = (PACKAGE / module).read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - (node.body[0].lineno if has_docstring(node) else node.lineno)
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


def has_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node) is not None


@pytest.mark.parametrize("module", [each for each in MODULES if each.parts[0] == "_service"], ids=str)
def test_what_healthomics_is_takes_the_standard_library_alone(module: Path) -> None:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert not name.startswith(("airflow.", "boto", "jinja2")), f"{module} imports {name}"
