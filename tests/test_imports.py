"""Who may import whom, read off the syntax trees: the layers stay layers."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mbjax"
MODULES = sorted(PACKAGE.rglob("*.py"))

# layer -> the layers it may import besides itself; a layer is a module or sub-package directly under mbjax.
VOCABULARY = {"types", "errors", "kinds", "paths", "files", "program"}
ALLOWED = {
    "types": set(),
    "errors": set(),
    "kinds": set(),
    "paths": {"errors"},
    "files": {"errors", "paths"},
    "program": set(),
    "wording": set(),
    "ops": VOCABULARY,
    "features": VOCABULARY | {"ops"},
    "layers": VOCABULARY | {"ops"},
    "backbones": VOCABULARY | {"ops", "layers"},
    "heads": VOCABULARY | {"ops", "layers", "backbones"},
    "models": VOCABULARY | {"ops", "features", "layers", "backbones", "heads"},
    "config": VOCABULARY,
    "metrics": VOCABULARY,
}
# For the rest it is enough to say what must not be seen.
FORBIDDEN = {
    "data": {"models", "heads", "backbones", "layers", "train", "evaluate", "recommend", "experiment", "cli"},
    "train": {"models", "heads", "backbones", "layers", "experiment", "cli"},
    "evaluate": {"models", "heads", "backbones", "layers", "train", "experiment", "cli"},
    "recommend": {"models", "heads", "backbones", "layers", "train", "experiment", "cli"},
    "parallel": {"models", "heads", "backbones", "layers", "data", "evaluate", "experiment", "cli"},
    "experiment": {"cli"},
}
# What a module of the wing ``reporting`` may see, for those that training itself leans on.
REPORTING = {
    "fonts": VOCABULARY,
    "plots": VOCABULARY,
    "tables": VOCABULARY | {"config"},
    "selections": VOCABULARY,
}
FOREIGN = {"torch", "tensorflow", "ray", "pickle"}


def layer_of(path: Path) -> str:
    if path.name == "__main__.py":
        return "cli"  # a door of the program
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The full names that a module imports anywhere in its text, ``from a import b`` as ``a.b``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write 'from mbjax import ...'"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    names = imported(path)
    assert not {name.partition(".")[0] for name in names} & FOREIGN
    layer = layer_of(path)
    seen = {name.split(".")[1] for name in names if name.startswith("mbjax.")} - {layer, "__version__"}
    if layer in ALLOWED:
        assert seen <= ALLOWED[layer], f"'{layer}' may import {sorted(ALLOWED[layer])}"
    assert not seen & FORBIDDEN.get(layer, set())
    if path.parent.name == "reporting":
        assert seen <= REPORTING.get(path.stem, seen)


def test_no_circles():
    """Of modules, those imported for the type checker alone included: a package's own module stands for itself."""
    of = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in of.items()}
    edges = {name: {other for other in imported(path) if other in names} - {name} for name, path in names.items()}
    try:
        tuple(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_catches_whatever_may_come(path):
    """A handler names what it means: anything else is a mistake, which must be seen."""
    handlers = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ExceptHandler)
    ]
    named = {name.id for node in handlers if node.type for name in ast.walk(node.type) if isinstance(name, ast.Name)}
    assert all(node.type for node in handlers) and not named & {"Exception", "BaseException"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_paths_of_one_machine(path):
    constants = [n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)]
    assert not [c for c in constants if isinstance(c, str) and re.match(r"~?/\w+/|[A-Z]:\\", c)]


def test_one_function_chooses_by_platform():
    """JAX's own traces both ways of each choice, and where they stand within one another four or eight."""
    found = []
    for path in MODULES:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [path.name for n in nodes if isinstance(n, ast.Attribute) and n.attr == "platform_dependent"]
    assert found == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("mbjax", {"jax", "flax", "numpy", "polars", "matplotlib"}),
        ("mbjax.experiment.training", {"matplotlib.figure", "scipy.stats", "optuna"}),  # a third of a command's start
    ],
)
def test_importing_imports_nothing_heavy(module, heavy):
    code = f"import sys, {module}; print(sorted(set({sorted(heavy)}) & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
