"""What is installed: the wheel's files and metadata, the version, the declared dependencies."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from importlib import metadata
from pathlib import Path

import pytest

import keras_mg
from tools.long_description import for_an_index

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGET = PROJECT["scripts"]["keras-mg"]
INIT_FILES = sorted((ROOT / "keras_mg").rglob("__init__.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `pip install .` would install, opened."""
    from hatchling import build

    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where a build backend is told to look
        name = build.build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as opened:
        yield opened


@pytest.fixture(scope="module")
def wheel_metadata(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    return BytesParser().parsebytes(wheel.read(name))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    packaged = {n for n in wheel.namelist() if ".dist-info/" not in n}
    expected = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "keras_mg").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packaged == expected


def test_the_wheel_holds_data_types_and_licence(wheel):
    names = wheel.namelist()
    assert "keras_mg/applications/data/imagenet_classes.txt" in names
    assert "keras_mg/py.typed" in names
    (licence,) = [n for n in names if n.endswith("/licenses/LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_metadata_says_what_the_readme_says(wheel_metadata):
    assert wheel_metadata["Name"] == "keras-mg"
    assert wheel_metadata["Version"] == keras_mg.__version__
    assert wheel_metadata["License-Expression"] == "Apache-2.0"
    assert wheel_metadata["Requires-Python"] == ">=3.11"
    assert {"data", "cv", "docs", "export", "hub", "jax", "test", "dev"} <= set(
        wheel_metadata.get_all("Provides-Extra")
    )


def test_the_description_holds_nothing_that_an_index_could_not_show(wheel_metadata):
    assert wheel_metadata["Description-Content-Type"] == "text/markdown"
    description = wheel_metadata.get_payload()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*$", readme, re.M)
    assert headings
    assert re.findall(r"^#+ .*$", description, re.M) == headings
    assert re.findall(r"^```.*?^```", description, re.M | re.S) == re.findall(
        r"^```.*?^```", readme, re.M | re.S
    )
    targets = re.findall(r"\]\(([^)]*)\)|(?:src|href)=\"([^\"]*)", description)
    assert all("://" in target for pair in targets for target in pair if target)
    # The words of what was a link are there.
    for words in re.findall(r"(?<!!)\[([^\]]*)\]\(", readme):
        assert words in description


def test_links_and_pictures_become_words():
    text = '<img src="x/y.png" alt="z" width="9%"> ![a](b.png)\n\n[c](d.md#e), [f](#g), [h](https://i.org)\n```\n[j](k)\n```\n[l](m)'
    expected = "c, f, [h](https://i.org)\n```\n[j](k)\n```\nl"
    assert for_an_index(text) == expected


def test_the_command_is_installed_and_exists(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt")]
    assert wheel.read(name).decode().split() == ["[console_scripts]", "keras-mg", "=", TARGET]
    module, function = TARGET.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    assignment = re.compile(r"^__version__\b.*=", re.M)
    assigned = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_mg").rglob("*.py")
        if assignment.search(path.read_text(encoding="utf-8"))
    ]
    assert assigned == ["keras_mg/__init__.py"]


def test_the_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert "Unreleased" in headings or keras_mg.__version__ in headings


@pytest.mark.parametrize("path", [pytest.param(p, id=p.parent.name) for p in INIT_FILES])
def test_public_names_are_explicit_and_importable(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = importlib.import_module(".".join(path.relative_to(ROOT).parent.parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.name != "*", f"{path}:{node.lineno} imports a star"
                assert hasattr(module, alias.asname or alias.name)
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)


def test_constraints_are_exact_and_nobody_s_own():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for pin in pins:
        # A local version (`+cpu`) or an address exists on some machines only.
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", pin), pin


OURS = {"keras_mg", "tests", "benchmarks", "tools"}
NAMED_OTHERWISE = {"tensorflow": "tensorflow-cpu"}
"""Of modules that need not be installed: the distribution that is declared."""
WITH_TORCH = {"triton"}  # torch itself depends on it, where it is built for CUDA


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("keras_mg", ["data", "hf", "hub", "jax", "cv"]),
        (
            "tests",
            ["test", "cv", "ray", "grain", "docs", "hub"],
        ),  # their tests are skipped without them
        ("examples", ["data", "hub", "ray"]),
        ("tools", ["docs", "test"]),  # the wheel's hook needs hatchling
        ("applications", ["data"]),
    ],
)
def test_what_is_imported_is_declared(folder, extras):
    """A clean `pip install -e ".[test]"` must be enough to run the tests, and so on."""
    allowed = _distributions([*PROJECT["dependencies"], *_extra(extras)])
    providers = metadata.packages_distributions()
    undeclared = set()
    for path in (ROOT / folder).rglob("*.py"):
        for top in _imported(path):
            if top in sys.stdlib_module_names or top in OURS | WITH_TORCH:
                continue
            given = providers.get(top, [NAMED_OTHERWISE.get(top, top)])
            made_by = {_normal(d).removesuffix("-nightly") for d in given}
            if not made_by & allowed:
                undeclared.add(f"{path.relative_to(ROOT)} imports {top}")
    assert not undeclared


def _extra(names):
    """Return the requirements of extras, with the extras that they include."""
    for name in names:
        for requirement in PROJECT["optional-dependencies"][name]:
            included = re.match(r"keras-mg\[(.*)\]", requirement)
            if included:
                yield from _extra(included[1].split(","))
            else:
                yield requirement


def _distributions(requirements):
    return {_normal(re.match(r"[A-Za-z0-9_.-]+", r)[0]) for r in requirements}


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(path):
    yield from _imported_by(path.read_text(encoding="utf-8"))


def _imported_by(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            # A test that is skipped for want of a package that nobody declares is skipped for ever.
            yield ast.literal_eval(node.args[0]).split(".")[0]


def test_the_checker_sees_what_a_test_is_skipped_without():
    source = 'import a.b\nfrom c import d\ne = pytest.importorskip("e.f", reason="g")'
    assert sorted(_imported_by(source)) == ["a", "c", "e"]


def test_weights_come_with_the_wheel(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    code = (
        "import keras_mg, os; assert os.environ['SITE'] in keras_mg.__file__\n"
        "info = keras_mg.applications.weights_info('ResNet20', 'cifar10')\n"
        "model = keras_mg.applications.ResNet20(weights='cifar10')\n"
        "image = keras_mg.datasets.example_image()\n"
        "print(info.class_names[model.predict(info.preprocess(image)[None], verbose=0).argmax()])"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SITE": str(tmp_path)}
    environment |= {"PYTHONPATH": str(tmp_path / "site"), "KERAS_MG_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["airplane"], run.stderr
