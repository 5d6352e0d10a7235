"""Whether this process is the command `keras-mg`, which waits for Keras only where it needs it.

Everywhere else `import keras_mg` imports everything: `keras.saving.load_model` finds the classes of
the package because they have been registered by then.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

PACKAGE = __name__.split(".")[0]
# The public names of the package that are no modules, and where they are.
_OBJECTS = {"Model": "training", "deploy": "deployment"}


def is_command() -> bool:
    """Whether the interpreter was started as `keras-mg` or `python -m keras_mg`."""
    script = (getattr(sys, "argv", None) or [""])[0]
    if script == "-m":  # until Python has found the module
        words = sys.orig_argv
        return "-m" in words[:-1] and words[words.index("-m") + 1] == PACKAGE
    path = Path(script)
    return path.stem == "keras-mg" or path.parts[-2:] == (PACKAGE, "__main__.py")


def late_attribute(name: str) -> Any:
    """What `keras_mg.name` is, imported when it is asked for.

    Raises:
        AttributeError: if there is no such thing.
    """
    module = f"{PACKAGE}.{_OBJECTS.get(name, name)}"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}") from None
    return getattr(found, name) if name in _OBJECTS else found
