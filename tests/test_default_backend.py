import json
import os
import subprocess
import sys
import types

import pytest

from keras_mg import _default_backend as default_backend


@pytest.fixture
def fresh_machine(monkeypatch, tmp_path):
    """No Keras, no choice of a backend, no TensorFlow: the state after a plain install."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(default_backend.importlib.util, "find_spec", lambda name: None)
    return tmp_path


def test_torch_where_keras_would_miss_tensorflow(fresh_machine):
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_torch_after_keras_wrote_its_default_file(fresh_machine):
    (fresh_machine / "keras.json").write_text(json.dumps({"backend": "tensorflow"}))
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\x00"])
def test_torch_where_the_settings_are_unreadable(fresh_machine, text):
    (fresh_machine / "keras.json").write_text(text)
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.fixture
def with_tensorflow(fresh_machine, monkeypatch):
    monkeypatch.setattr(default_backend.importlib.util, "find_spec", lambda name: object())
    return fresh_machine


def test_an_installed_tensorflow_is_nobody_s_choice(with_tensorflow, capsys):
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "torch" in said
    assert "KERAS_BACKEND=tensorflow" in said


def test_the_file_that_keras_writes_is_nobody_s_choice(with_tensorflow):
    code = "import keras; print(keras.__version__)"
    environment = os.environ | {"KERAS_BACKEND": "torch", "KERAS_HOME": str(with_tensorflow)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "tensorflow"},
        {
            "floatx": "float32",
            "epsilon": 1e-07,
            "backend": "tensorflow",
            "image_data_format": "channels_first",
        },
    ],
)
def test_keras_json_by_hand_chooses_tensorflow(with_tensorflow, settings, capsys):
    (with_tensorflow / "keras.json").write_text(json.dumps(settings))
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == ""
    assert capsys.readouterr().err == ""


def test_the_environment_wins(fresh_machine, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_keras_json_wins(fresh_machine):
    (fresh_machine / "keras.json").write_text(json.dumps({"backend": "jax"}))
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == ""


def test_an_imported_keras_is_left_alone(fresh_machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", object())
    default_backend.choose_backend()
    assert os.environ["KERAS_BACKEND"] == ""


def test_an_imported_keras_on_a_tensorflow_that_nobody_chose(with_tensorflow, monkeypatch, capsys):
    used = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "tensorflow"))
    monkeypatch.setitem(sys.modules, "keras", used)
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    default_backend.choose_backend()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "`import keras_mg` before `import keras`" in said
    (with_tensorflow / "keras.json").write_text(json.dumps({"backend": "tensorflow"}))
    default_backend.choose_backend()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    default_backend.choose_backend()
    assert capsys.readouterr().err == ""


def test_the_package_imports_in_a_new_process_with_nothing_set(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import keras_mg, keras; print(keras.backend.backend(), keras_mg.__version__)"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    from keras_mg import __version__

    assert result.stdout.split() == ["torch", __version__]
