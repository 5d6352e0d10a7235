"""A process of torchrun's in a step that takes long: what signals do to it.

`... -m tests.support.signalled FOLDER`: it leaves its id, that it was asked to stop, and how it
ended. The step is over when there is a file of that name.
"""

import os
import sys
import time
from pathlib import Path

from keras_mg.recipes._signals import signals

MOST = 120.0  # seconds that the step takes at most


def main(folder):
    rank, asked = os.environ["RANK"], []

    def leave(name, text):
        path = folder / f"partial {name} {rank}"
        path.write_text(str(text), encoding="utf-8")
        path.replace(folder / f"{name} {rank}")

    def ask():
        asked.append(1)
        leave("asked", len(asked))

    with signals() as caught:
        try:
            with caught.answered_by(ask):
                leave("pid", os.getpid())
                end = time.monotonic() + MOST
                while not (folder / "the step is over").exists() and time.monotonic() < end:
                    time.sleep(0.02)
            leave("end", f"after the step, {int(caught.number or 0)}")
        except KeyboardInterrupt:
            leave("end", f"at once, {int(caught.number)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
