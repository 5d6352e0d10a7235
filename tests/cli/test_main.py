"""The command line as a whole: help, version, errors, and the networks' commands."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from keras_mg import applications
from keras_mg.cli import main


def run(capsys, *words):
    code = main(list(words))
    return code, *capsys.readouterr()


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"keras-mg {metadata.version('keras-mg')}\n", "")


@pytest.mark.parametrize("words", [(), ("weights",), ("list",), ("info",), ("weights", "convert")])
def test_help(capsys, words):
    code, out, err = run(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {' '.join(('keras-mg', *words))} ")


def test_completion_is_offered(capsys):
    assert "--install-completion" in run(capsys, "--help")[1]


def test_list(capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    assert out.split() == applications.list_models()
    assert "ModelInfo" not in out
    assert run(capsys, "list", "rmg1*")[1].split() == ["RMG12", "RMG18"]


def test_info(capsys):
    settings = ("depth=8", "primary_partitions=8", "secondary_partitions=2")
    words = [word for setting in settings for word in ("--set", setting)]
    code, out, err = run(capsys, "info", "IGCPlain", *words)
    assert (code, err) == (0, "")
    assert "12,570" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "Missing command"),
        (("weights",), "Missing command"),
        (("listt",), "No such command"),
        (("list", "--loud"), "No such option"),
        (("info", "RMG35"), "RMG34"),
        (("info", "MgNet", "--set", "filters"), "NAME=VALUE"),
        (("info", "MgNet", "--set", "filterz=3"), "filterz"),
        (("info", "MgNet", "--set", "filters=10000000000"), "keras-mg: error: "),
        (("info", "IGCPlain"), "depth"),
        (("weights", "convert", "~nosuch/a.params", "b.keras", "--network", "MgNet"), "~nosuch"),
        (
            ("weights", "convert", "a.pth", "b.keras", "--network", "MgNet",
             "--set", "classes=1000000000000"),
            "memory",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(capsys, monkeypatch, tmp_path, words, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("keras-mg: error: ")
    assert expected in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_control_c(capsys, monkeypatch):
    def interrupt(pattern):
        raise KeyboardInterrupt

    monkeypatch.setattr(applications, "list_models", interrupt)
    assert run(capsys, "list") == (130, "", "")


def test_as_a_module():
    command = [sys.executable, "-m", "keras_mg", "list", "MG6"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "MG6\n"


ROOT = str(Path(__file__).resolve().parents[2])
SCRIPT = "import sys\nfrom keras_mg.cli import main\nsys.exit(main())\n"  # as pip writes it
HEAVY = {"keras", "torch", "jax", "tensorflow", "numpy", "sklearn", "matplotlib"}


def run_process(*words, **environment):
    """A new interpreter: its output, and the packages that it imported."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, words)],
        env={**os.environ, "PYTHONPATH": ROOT, "KERAS_BACKEND": "torch", **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, set(re.findall(r"\| +(\w+)$", result.stderr, re.M))


@pytest.fixture(params=["command", "module"])
def command(request, tmp_path):
    if request.param == "module":
        return ("-m", "keras_mg")
    script = tmp_path / "keras-mg"
    script.write_text(SCRIPT)
    return (script,)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["weights", "convert", "--help"]])
def test_help_and_version_do_not_wait_for_keras(command, words):
    out, imported = run_process(*command, *words)
    assert out.startswith(("Usage: keras-mg ", "keras-mg "))
    assert "typer" in imported
    assert not imported & HEAVY


def test_completion_does_not_wait_for_keras(tmp_path):
    script = tmp_path / "keras-mg"
    script.write_text(SCRIPT)
    asked = {"_KERAS_MG_COMPLETE": "complete_bash", "COMP_WORDS": "keras-mg weights c"}
    out, imported = run_process(script, **asked, COMP_CWORD="2")
    assert out.split() == ["convert"]
    assert not imported & HEAVY


def test_a_script_of_that_name_finds_everything_late(tmp_path):
    script = tmp_path / "keras-mg"
    script.write_text(
        "import sys, keras_mg\n"
        "assert 'keras' not in sys.modules\n"
        "assert keras_mg.Model is keras_mg.training.Model\n"
        "assert keras_mg.deploy.__name__ == 'deploy'\n"
        "assert len(keras_mg.applications.list_models()) > 40\n"
        "assert not hasattr(keras_mg, 'Modell')\n"
        "print('all')\n"
    )
    assert run_process(script)[0] == "all\n"
