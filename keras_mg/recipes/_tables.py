"""Tables as files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_mg._files import replacing


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows under their names, in one step."""
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
