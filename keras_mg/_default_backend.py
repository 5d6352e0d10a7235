"""Settles on PyTorch where nobody chose a Keras backend.

Keras falls back on TensorFlow, which this package does not depend on: on a fresh machine the import
would end in "No module named 'tensorflow'", and beside an extra that brings TensorFlow, such as
`cv`, networks would run on another backend than the day before, without a word.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

# What Keras writes into `keras.json` by itself, on its first import; no choice of anybody's.
_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose_backend() -> None:
    """Set `KERAS_BACKEND=torch` unless somebody chose a backend that is there.

    A choice is `KERAS_BACKEND`, or a `keras.json` that is not Keras's own; one of a TensorFlow that
    is missing is none. A Keras that is imported already keeps its backend. Beside an installed
    TensorFlow a line says what it came to where nobody chose.
    """
    if os.environ.get("KERAS_BACKEND"):
        return
    settings = _settings()
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    if settings.get("backend", "tensorflow") != "tensorflow":
        return
    if has_tensorflow and settings and settings != _WRITTEN_BY_KERAS:
        return
    if "keras" in sys.modules:
        if "tensorflow" in sys.modules and _backend_in_use() == "tensorflow":
            sys.stderr.write(
                "keras_mg: Keras was imported first and runs on tensorflow, which nobody chose. "
                "`import keras_mg` before `import keras` settles on torch; "
                "KERAS_BACKEND=tensorflow says that TensorFlow is meant.\n"
            )
        return
    os.environ["KERAS_BACKEND"] = "torch"
    if has_tensorflow:
        sys.stderr.write(
            "keras_mg: nobody chose a Keras backend, so it is torch; KERAS_BACKEND=tensorflow "
            "chooses TensorFlow.\n"
        )


def _backend_in_use() -> str | None:
    config = getattr(sys.modules["keras"], "config", None)
    return config.backend() if config is not None else None


def _settings() -> dict:
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path.home() / ".keras"
    try:
        settings = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    # A file that is something else, or names no backend, Keras too would pass over.
    return settings if isinstance(settings, dict) and "backend" in settings else {}
