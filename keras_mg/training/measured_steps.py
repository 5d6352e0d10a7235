"""What `jit_compile="auto"` has measured on this machine, in one small file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from keras_mg._files import own_folder, replacing
from keras_mg.training._choice import Measured

VARIABLE = "KERAS_MG_MEASURED_STEPS"
"""Set to `off`: nothing is measured or remembered. Set to `new`: everything is measured anew."""

_FORMAT = "keras-mg measured steps 1"
_MOST = 2000  # entries; of more, the oldest go


def forget_measured_steps(home: str | os.PathLike[str] | None = None) -> None:
    """Forget what `jit_compile="auto"` has measured on this machine, so that it measures anew.

    It is kept in one file, `keras_mg/measured_steps.json` in Keras's folder.

    Args:
        home: that folder. Defaults to the environment variable `KERAS_HOME`, or `~/.keras`.

    Raises:
        OSError: the file cannot be removed.

    Example:
        >>> from keras_mg.training import forget_measured_steps
        >>> forget_measured_steps("keras-home-of-the-example")
    """
    path(home).unlink(missing_ok=True)


def path(home: str | os.PathLike[str] | None = None) -> Path:
    """The file."""
    return own_folder(home) / "measured_steps.json"


def is_off() -> bool:
    """Whether nothing is to be measured."""
    return _wish() == "off"


def is_anew() -> bool:
    """Whether what is remembered does not count."""
    return _wish() == "new"


def _wish() -> str:
    """What the environment says.

    Raises:
        ValueError: it says something else.
    """
    wish = os.environ.get(VARIABLE, "")
    if wish not in ("", "off", "new"):
        raise ValueError(f"{VARIABLE} must be off, new, or nothing. Received: {wish}")
    return wish


def find(key: str) -> tuple[Measured, str] | None:
    """What was measured of steps, and on which day; None where that is not known."""
    entry = (_read() or {}).get(key)
    if not isinstance(entry, dict):
        return None
    values: list[Any] = [entry.get(field.name) for field in dataclasses.fields(Measured)]
    numbers = values if values[1] is not None else values[:1]
    if not all(isinstance(n, int | float) and math.isfinite(n) and n >= 0 for n in numbers):
        return None
    return Measured(*values), str(entry.get("day", "an unknown day"))


def keep(key: str, found: Measured, day: str, about: dict[str, Any]) -> bool:
    """Remember what was measured of steps, and say whether that could be done.

    Args:
        key: what tells these steps from others.
        found: about them.
        day: of the measurement.
        about: for people who read the file.
    """
    entries = _read()
    if entries is None:
        return False
    entries.pop(key, None)
    entries[key] = {**dataclasses.asdict(found), "day": day, **about}
    kept = dict(list(entries.items())[-_MOST:])
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            part.write_text(json.dumps({"format": _FORMAT, "steps": kept}, indent=1) + "\n")
    except OSError:
        return False  # a home that cannot be written to; it is measured again next time
    return True


def _read() -> dict[str, Any] | None:
    """The entries; none of a file that is broken, None of one that is somebody else's."""
    try:
        content = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None
    entries = content.get("steps")
    return entries if isinstance(entries, dict) else {}
