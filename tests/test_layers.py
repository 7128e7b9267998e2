"""The layers point one way: deployments → flows → tasks → dacapo_core; no modules form a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "dacapo_core": {"prefect", "tasks", "flows", "deployments"},
    "tasks": {"flows", "deployments"},
    "flows": {"deployments"},
    "deployments": set[str](),
}


def imported(file: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_layer_imports_one_above_it(layer: str) -> None:
    files = list((REPOSITORY / layer).rglob("*.py"))
    assert files
    upward = {
        str(file.relative_to(REPOSITORY)): sorted(found)
        for file in files
        if (found := imported(file) & FORBIDDEN[layer])
    }
    assert not upward


def imported_modules(file: Path) -> set[str]:
    """What must be imported before a file is: all but what functions and type checkers import."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return found


def test_no_modules_form_a_circle() -> None:
    files = {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts): file
        for layer in FORBIDDEN
        for file in (REPOSITORY / layer).rglob("*.py")
    }
    # a package is its __init__ alone here: each module is its own subject
    sorter = TopologicalSorter(
        {name: imported_modules(file) & set(files) - {name} for name, file in files.items()}
    )
    sorter.prepare()


def test_a_run_can_be_configured_without_torch() -> None:
    code = (
        "import sys; from dacapo_core.experiments.run_config import RunConfig;"
        "RunConfig(); RunConfig.model_json_schema();"
        "dear = {'torch', 'zarr', 'tensorstore', 'matplotlib', 'prefect'};"
        "sys.exit(' '.join(dear & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
