"""Keeps `import keras_mg` working where nobody chose a Keras backend.

Keras falls back on TensorFlow, which this package does not depend on, so on a fresh machine the
import would end in "No module named 'tensorflow'". PyTorch, which it does depend on, takes over
exactly there.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path


def choose_backend() -> None:
    """Set `KERAS_BACKEND=torch` if Keras would otherwise ask for a TensorFlow that is missing.

    A choice that can work is left alone: Keras already imported, `KERAS_BACKEND` set, another
    backend in `keras.json`, or TensorFlow installed. A `keras.json` that says `tensorflow` does not
    count as a choice, because Keras writes that file by itself on its first import.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    if _configured_backend() == "tensorflow" and importlib.util.find_spec("tensorflow") is None:
        os.environ["KERAS_BACKEND"] = "torch"


def _configured_backend() -> str:
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path.home() / ".keras"
    try:
        settings = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
        return str(settings["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        # No file, or one that Keras too would pass over.
        return "tensorflow"
