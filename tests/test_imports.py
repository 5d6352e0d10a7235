"""Imports go one way, heavy packages load late, scripts keep to the public interface.

The rules are read from the syntax tree, so that no import has to succeed for them to be checked.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "keras_mg"

# Left to right: a part may import itself and what stands before it.
ORDER = [
    "_command",
    "_default_backend",
    "_files",
    "_private",
    "distribution",
    "ops",
    "layers",
    "training",
    "deployment",
    "weights",
    "applications",
    "hub",
    "datasets",
    "metrics",
    "visualization",
    "recipes",
    "cli",
    "__main__",
]

# These cost seconds to import or are optional, so they load inside the function that needs them.
# torch and keras-hub are the exceptions in the rooms that are written in them, which are imported
# late: those files of the one, all of the other.
WRITTEN_IN = {"torch": ["_private", "distribution", "ops", "training"], "keras_hub": ["hub"]}
LATE = [
    *("torch", "jax", "tensorflow", "tensorflow_datasets", "keras_cv", "keras_hub"),
    *("sklearn", "matplotlib"),
]

SCRIPT_FOLDERS = ["examples", "tools"]


def imported_names(tree, module, is_package):
    """Yield `(node, dotted name, late)` for each import; `late` if it runs inside a function."""
    home = module.split(".") if is_package else module.split(".")[:-1]
    for node, late in _walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, late
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            source = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                yield node, f"{source}.{alias.name}", late


def _walk(node, late=False):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # never runs
        yield child, late
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, late or inside)


def package_violations(source, module, is_package=False):
    """Return the broken rules of one file of the package, as readable lines."""
    problems = []
    own = module.split(".")[1] if "." in module else None
    for node, name, late in imported_names(ast.parse(source), module, is_package):
        where = f"{module}:{node.lineno}"
        top, *rest = name.split(".")
        if top in LATE and not late and own not in WRITTEN_IN.get(top, ()):
            problems.append(f"{where} imports {top} at module level; import it where it is used")
        if top != PACKAGE or own is None:
            continue
        if not rest:
            problems.append(f"{where} imports the bare {PACKAGE}; import the submodule")
        elif rest[0] not in ORDER:
            problems.append(f"{where} imports {PACKAGE}.{rest[0]}, which has no place in ORDER")
        elif own not in ORDER:
            problems.append(f"{where}: {PACKAGE}.{own} has no place in ORDER")
        elif ORDER.index(rest[0]) > ORDER.index(own):
            problems.append(f"{where}: {own} imports {rest[0]}, which comes after it")
        elif rest[0] != own and any(_is_private(part) for part in rest[1:]):
            problems.append(f"{where}: {own} imports {name}, which is private to {rest[0]}")
    return problems


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def circles(sources):
    """Return the groups of files that import each other in a circle, late imports included.

    Args:
        sources: of each module that is a file, its text.
    """
    arrows = {
        module: {
            target
            for _, name, _ in imported_names(ast.parse(source), module, is_package=False)
            for target in (name, name.rpartition(".")[0])
            if target in sources and target != module
        }
        for module, source in sources.items()
    }

    def reached(module):
        seen, due = set(), [module]
        while due:
            new = arrows[due.pop()] - seen
            seen |= new
            due += new
        return seen

    all_reached = {module: reached(module) for module in sources}
    found = {
        tuple(sorted(other for other in seen if module in all_reached[other]))
        for module, seen in all_reached.items()
        if module in seen
    }
    return sorted(found)


def files_of(folder):
    """Of each file below a folder that is no package's face, the module and its text."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "__init__.py"
    }


def script_violations(source, name):
    """Return where a script leaves the public interface, as readable lines."""
    tree = ast.parse(source)
    problems = []
    for node, imported, _ in imported_names(tree, name, is_package=False):
        parts = imported.split(".")
        if parts[:2] == ["keras", "src"]:
            problems.append(f"{name}:{node.lineno} imports keras.src")
        if parts[0] == "tests":
            problems.append(f"{name}:{node.lineno} imports the tests")
        if parts[0] == PACKAGE and any(part.startswith("_") for part in parts[1:]):
            problems.append(f"{name}:{node.lineno} imports the private {imported}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        parts = ast.unparse(node).split(".")
        if parts[0] == PACKAGE and node.attr.startswith("_") and node.attr != "__version__":
            problems.append(f"{name}:{node.lineno} uses the private {ast.unparse(node)}")
        if parts == ["keras", "src"]:
            problems.append(f"{name}:{node.lineno} uses keras.src")
    return problems


def _package_files():
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if is_package else parts), is_package


def test_the_package_keeps_the_order():
    files = list(_package_files())
    assert len(files) > 10, "the walk over the package finds no files"
    problems = []
    for path, module, is_package in files:
        problems += package_violations(path.read_text(encoding="utf-8"), module, is_package)
    assert not problems, "\n".join(problems)


# Private attributes of others that a file may name: those of the standard library that are
# public in spite of their underscore.
NAMED_TUPLES = {"_replace"}

# What Keras calls and the package overrides, so that it must have Keras's name.
HOOKS = {
    ("Model", "_get_metrics_result_or_logs"),
    ("Model", "_symbolic_build"),
    ("FunctionalModel", "_run_through_graph"),
    ("CoupledSGD", "_apply_weight_decay"),
    ("CoupledSGD", "_backend_update_step"),
    ("LazyCallbackList", "_add_default_callbacks"),
    ("LazyCallbackList", "_configure_async_dispatch"),
    ("LazyProgbarLogger", "_update_progbar"),
}


def own_private_names(trees):
    """The private names that the files define: functions, variables and attributes of `self`."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return {name for name in found if _is_private(name)}


def door_violations(tree, module, own):
    """Return where a file names what is private to another library, as readable lines."""
    problems = []
    for node, name, _ in imported_names(tree, module, is_package=False):
        top, *rest = name.split(".")
        if top != PACKAGE and ("src" in rest or any(map(_is_private, rest))):
            problems.append(
                f"{module}:{node.lineno} imports {name}; it belongs in {PACKAGE}._private"
            )
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        foreign = _is_private(name.split(".")[-1]) and name.split(".")[-1] not in own
        if foreign or name == "keras.src":
            problems.append(f"{module}:{node.lineno} uses {name}; it belongs in _private")
    return problems


def test_private_names_of_others_stand_in_one_room():
    trees = {
        module: ast.parse(path.read_text(encoding="utf-8"))
        for path, module, _ in _package_files()
        if "._private" not in module
    }
    assert len(trees) > 10
    own = own_private_names(trees.values()) | NAMED_TUPLES
    problems = [
        line for module, tree in trees.items() for line in door_violations(tree, module, own)
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from keras.src import backend", 1),
        ("import torch._dynamo", 1),
        ("from torch._dynamo import config", 1),
        ("keras.src.backend", 1),
        ("torch._foreach_add(a, b)", 1),
        ("layer._flatten_layers()", 1),
        ("class A:\n    def f(self):\n        return self._tracker", 1),
        ("from keras_mg.ops import _grids", 0),
        ("class A:\n    def __init__(self):\n        self._own = 1\n\ndef f(a):\n    a._own", 0),
        ("class A:\n    def _f(self):\n        super()._f()\n        self.__dict__", 0),
    ],
)
def test_the_checker_sees_a_private_name_of_others(source, count):
    tree = ast.parse(source)
    assert len(door_violations(tree, "keras_mg.layers.a", own_private_names([tree]))) == count


def test_what_overrides_a_private_name_of_keras_is_listed():
    import importlib

    found = set()
    for _, module, _ in _package_files():
        try:
            members = vars(importlib.import_module(module)).values()
        except ModuleNotFoundError:
            continue  # what is written in an optional package, such as triton
        for value in members:
            if not isinstance(value, type) or value.__module__ != module:
                continue
            origins = ("keras", "torch")
            bases = [b for b in value.__mro__ if b.__module__.split(".")[0] in origins]
            inherited = {name for base in bases for name in vars(base)}
            # Python's in abstract classes, torch's in functions with a gradient
            common = (inherited & set(vars(value))) - {"_abc_impl", "_backward_cls"}
            found |= {(value.__name__, name) for name in common if _is_private(name)}
    assert found - {("Model", "_initialize_ddp")} == HOOKS  # which Keras has since 3.16


def test_the_package_imports_no_optional_package():
    # Keras itself imports some of them where they are installed, hence the difference.
    code = f"""
import sys
import keras
before = set(sys.modules)
import keras_mg
print(*(name for name in {LATE} if name in set(sys.modules) - before))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "torch"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_the_scripts_use_the_public_interface():
    problems = []
    for folder in SCRIPT_FOLDERS:
        files = sorted((ROOT / folder).rglob("*.py"))
        assert files, f"there is no script in {folder}"
        for path in files:
            name = str(path.relative_to(ROOT))
            problems += script_violations(path.read_text(encoding="utf-8"), name)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("keras_mg.layers.a", "from keras_mg.applications import igc", "applications, which comes"),
        ("keras_mg.layers.a", "from ..applications.igc import IGC", "applications, which comes"),
        ("keras_mg.layers.a", "import keras_mg.recipes.b as b", "recipes, which comes after"),
        ("keras_mg.layers.a", "def f():\n    from keras_mg import cli", "cli, which comes after"),
        ("keras_mg.layers.a", "import keras_mg", "bare keras_mg"),
        ("keras_mg.layers.a", "from keras_mg import Model", "Model, which has no place"),
        ("keras_mg.layers.a", "from .. import Model", "Model, which has no place"),
        ("keras_mg.layers.a", "from keras_mg.extra.b import c", "extra, which has no place"),
        ("keras_mg.extra.a", "from keras_mg.ops.b import c", "extra has no place"),
        ("keras_mg.layers.a", "import torch", "torch at module level"),
        ("keras_mg.layers.a", "import torch.nn.functional as F", "torch at module level"),
        ("keras_mg.layers.a", "try:\n    from torch import nn\nexcept E: pass", "torch at module"),
        ("keras_mg.ops.a", "import jax.numpy as jnp", "jax at module level"),
        ("keras_mg.recipes.a", "class A:\n    import sklearn.datasets", "sklearn at module level"),
        ("keras_mg.layers.a", "from keras_mg.ops import _grids", "private to ops"),
        ("keras_mg.layers.a", "from keras_mg.ops._grids import crop", "private to ops"),
        ("keras_mg.recipes.a", "from keras_mg.ops.a import _b", "private to ops"),
        ("keras_mg.datasets.a", "import torch", "torch at module level"),
        ("keras_mg.layers.a", "import keras_hub", "keras_hub at module level"),
        ("keras_mg", "import tensorflow", "tensorflow at module level"),
    ],
)
def test_the_checker_sees_a_bad_import(module, source, expected):
    problems = package_violations(source, module)
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("module", "is_package", "source"),
    [
        ("keras_mg.ops._torch_ops", False, "import torch"),
        ("keras_mg.hub", False, "import keras_hub"),
        ("keras_mg.training._a", False, "import torch"),
        ("keras_mg.ops.a", False, "from keras_mg.ops._grids import crop"),
        ("keras_mg.ops", True, "from .backend import conv2d as conv2d"),
        ("keras_mg.layers", True, "from keras_mg.layers.a import A as A"),
        ("keras_mg.layers.a", False, "from keras_mg.ops import grids\nfrom .b import B"),
        ("keras_mg.layers.a", False, "from .. import ops\nfrom keras_mg import ops"),
        ("keras_mg.recipes.a", False, "def f():\n    import matplotlib.pyplot as plt"),
        ("keras_mg.weights.a", False, "class A:\n    def f(self):\n        import torch"),
        ("keras_mg.layers.a", False, "if TYPE_CHECKING:\n    import torch"),
        ("keras_mg", True, "from keras_mg import layers as layers"),
        ("keras_mg.cli", False, "from keras_mg.recipes.a import f\nimport torchvision"),
    ],
)
def test_the_checker_lets_a_good_import_pass(module, is_package, source):
    assert package_violations(source, module, is_package) == []


@pytest.mark.parametrize(
    "source",
    [
        "from keras_mg.layers import _private",
        "import keras_mg._private",
        "import keras_mg\nkeras_mg.layers._private()",
        "from keras.src import backend",
        "import keras\nkeras.src.backend",
        "from tests.conftest import SEED",
    ],
)
def test_the_checker_sees_a_script_go_private(source):
    assert len(script_violations(source, "examples/a.py")) == 1


def test_the_checker_lets_a_public_script_pass():
    source = "import keras, keras_mg\nkeras_mg.layers.MultigridConv\nprint(keras_mg.__version__)"
    assert script_violations(source, "examples/a.py") == []


@pytest.mark.parametrize("folder", [PACKAGE, "benchmarks", "tools"])
def test_no_files_import_each_other_in_a_circle(folder):
    sources = files_of(folder)
    assert len(sources) > 5
    assert circles(sources) == []


def test_a_circle_is_found():
    sources = {
        "keras_mg.a": "from keras_mg.b import x",
        "keras_mg.b": "def f():\n    from keras_mg import c",
        "keras_mg.c": "import keras_mg.a",
        "keras_mg.d": "from keras_mg.a import y\nif TYPE_CHECKING:\n    from keras_mg.e import z",
        "keras_mg.e": "from keras_mg.d import z",
    }
    assert circles(sources) == [("keras_mg.a", "keras_mg.b", "keras_mg.c")]
