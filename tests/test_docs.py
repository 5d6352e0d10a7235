"""Every example runs: the docstrings' and the Markdown files'. Every relative link resolves.

Both start from nothing and import what they use, as a reader has to who pastes them. What a `>>>`
example prints is compared. Words after `python` on a fence (`slow`, `network`) become the test's
marks, and `needs=NAME` skips it where that package is not installed. A block that says `after` goes
on with the files that the one before it has written: both are one test.
"""

import ast
import doctest
import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_mg
from tests.support.markdown import broken_links, fenced_blocks

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"build", "dist", "node_modules", "demo_output", "outputs"}


def markdown_files():
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") or part in NOT_OURS for part in parts):
            yield path


def documented_objects():
    """Yield a `DocTest` for every docstring of the package, with or without `>>>` examples."""
    finder = doctest.DocTestFinder(exclude_empty=False)
    names = [keras_mg.__name__]
    names += [m.name for m in pkgutil.walk_packages(keras_mg.__path__, "keras_mg.")]
    for needed, name in (("triton", "ops._triton_kernels"), ("keras_hub", "hub")):
        if importlib.util.find_spec(needed) is None:
            names.remove(f"keras_mg.{name}")
    for name in names:
        # Without `globs` doctest hands an example all names of its module.
        yield from finder.find(importlib.import_module(name), globs={"__name__": "__main__"})


def _marks(word):
    key, _, package = word.partition("=")
    if key == "after":
        return []
    if key != "needs":
        return [getattr(pytest.mark, word)]
    missing = importlib.util.find_spec(package) is None
    # Other packages warn of what Keras does with them, which no example can change.
    own = pytest.mark.filterwarnings("ignore")
    return [pytest.mark.skipif(missing, reason=f"needs {package}"), own]


def _stories(text):
    """Yield `(line, words, codes)`: a block and those that go on from there."""
    story = None
    for line, words, code in fenced_blocks(text):
        if "after" in words:
            story = (story[0], [*story[1], *words], [*story[2], code])
            continue
        if story is not None:
            yield story
        story = (line, words, [code])
    if story is not None:
        yield story


def _block_parameters():
    texts = [(p.relative_to(ROOT), p.read_text(encoding="utf-8")) for p in markdown_files()]
    texts += [(documented.name, documented.docstring or "") for documented in documented_objects()]
    for name, text in texts:
        for line, words, codes in _stories(text):
            marks = [mark for word in words for mark in _marks(word)]
            yield pytest.param(codes, id=f"{name}:{line}", marks=marks)


DOCTESTS = [pytest.param(d, id=d.name) for d in documented_objects() if d.examples]


def imports_keras_first(code):
    """Whether a reader without TensorFlow gets Keras's error: only we settle on another backend."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        else:
            continue
        ours = [name for name in names if name in ("keras", "keras_mg")]
        if ours:
            return ours[0] == "keras"
    return False


def test_examples_import_this_package_before_keras():
    texts = {f"{p.name}:{i}": c for p in markdown_files()
             for i, _, c in fenced_blocks(p.read_text(encoding="utf-8"))}  # fmt: skip
    for documented in documented_objects():
        sources = "".join(example.source for example in documented.examples)
        texts[documented.name] = sources
    assert [name for name, code in texts.items() if imports_keras_first(code)] == []
    assert imports_keras_first("import numpy, keras\nimport keras_mg")
    assert not imports_keras_first("from keras_mg import layers\nimport keras")


@pytest.mark.slow
@pytest.mark.parametrize("codes", list(_block_parameters()))
def test_fenced_example_runs_where_nothing_is_set(codes, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for code in codes:
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("codes", list(_block_parameters()))
def test_fenced_example_runs(codes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in codes:
        exec(compile(code, "<example>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("documented", DOCTESTS)
def test_docstring_example_prints_what_it_says(documented, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(documented, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in markdown_files()]
)
def test_relative_links_resolve(path):
    assert broken_links(path.read_text(encoding="utf-8"), path) == []


def test_examples_are_found():
    assert DOCTESTS, "no docstring has a >>> example"
    assert any("README.md" in str(path) for path in markdown_files())


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    text = """# One Heading: here
    [gone](gone.md) [no such part](#elsewhere) [web](https://example.org/gone)
    [itself](page.md) [part](#one-heading-here) [far part](page.md#one-heading-here)
    ```
    [in code](gone.md)
    ```
    <img alt="a" src="gone.png"> <script src="page.md"></script>
    """
    page.write_text(text, encoding="utf-8")
    assert broken_links(text, page) == ["gone.md", "#elsewhere", "gone.png"]


def test_a_block_is_skipped_without_the_package_that_it_needs():
    assert _marks("slow") == [pytest.mark.slow]
    assert _marks("needs=numpy")[0].args == (False,)
    assert _marks("needs=of_nobody")[0].args == (True,)


def test_a_fenced_block_is_read_with_its_marks():
    text = "Words.\n\n  ```python network\n  if True:\n      x = 1\n  ```\n```bash\nrm\n```\n"
    assert list(fenced_blocks(text)) == [(3, ["network"], "if True:\n    x = 1")]


def test_a_block_goes_on_from_the_one_before_it():
    blocks = ("python\n1", "python after needs=a\n2", "python\n3", "python after slow\n4")
    text = "".join(f"```{block}\n```\n\n" for block in blocks)
    first, second = ["after", "needs=a"], ["after", "slow"]
    assert list(_stories(text)) == [(1, first, ["1", "2"]), (9, second, ["3", "4"])]
