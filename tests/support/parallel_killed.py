"""A training in several processes, of which one dies or stops.

`... -m tests.support.parallel_killed FOLDER OPTIONS`, a JSON object: `seed` and `times`, a process
of its choice kills itself at a moment of its choice, so often over all attempts; `stops`, the step
in which the last process stops, once; `strays`, the step in which it sends what nobody expects;
`slow`, seconds that a step takes; `timeout`.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np

from keras_mg import distribution
from keras_mg.distribution import collectives
from keras_mg.training import Checkpoint
from tests.support import parallel_rows as rows
from tests.support.arrays import numpy as array

EPOCHS, STEPS = 12, 3


class Slow(keras.callbacks.Callback):
    """Steps that take some seconds, and a file with a byte for each."""

    def __init__(self, seconds, path):
        super().__init__()
        self.seconds, self.path = seconds, path

    def on_train_batch_end(self, batch, logs=None):
        with self.path.open("ab") as file:
            file.write(b".")
        time.sleep(self.seconds)


class AtStep(keras.callbacks.Callback):
    """Calls something some seconds after a step has begun, counted over epochs."""

    def __init__(self, step, call, seconds=0.0):
        super().__init__()
        self.step, self.call, self.seconds, self.timer = step, call, seconds, None

    def on_train_batch_begin(self, batch, logs=None):
        if len(self.model.history.epoch) * STEPS + batch != self.step:
            return
        if not self.seconds:
            self.call()
            return
        self.timer = threading.Timer(self.seconds, self.call)
        self.timer.start()

    def on_train_end(self, logs=None):
        if self.timer is not None:
            self.timer.join()


def once(path, number):
    """Leave a file, and send oneself a signal."""

    def call():
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), number)

    return call


def killer(folder, checkpoint, seed, times, slow):
    """The callback that kills this process in this attempt; none where it is not to be."""
    attempt = len(list(folder.glob("killed *")))
    if attempt >= times:
        return []
    drawn = random.Random(f"{seed} {attempt}")
    done = checkpoint.saved_epoch * STEPS + checkpoint.saved_step
    step = drawn.randrange(done, min(done + 6, EPOCHS * STEPS))
    seconds = drawn.uniform(0, slow + 0.05)
    if distribution.process_id() != drawn.randrange(distribution.num_processes()):
        return []
    return [AtStep(step, once(folder / f"killed {attempt}", signal.SIGKILL), seconds)]


def wait_for_all(folder):
    """Until all processes are about to meet: what they wait for then is short."""
    count = int(os.environ["WORLD_SIZE"])
    (folder / f"there {os.environ['RANK']}").touch()
    while len(list(folder.glob("there *"))) < count:
        time.sleep(0.01)


def stray():
    """Send what is longer than what the others wait for."""
    import torch

    collectives.add(torch.ones(100_000))


def main(folder, seed=0, times=0, stops=None, strays=None, slow=0.0, timeout=60):
    if timeout < 60:
        wait_for_all(folder)
    distribution.initialize(timeout=timeout)
    distribution.set_distribution(distribution.DataParallel())
    checkpoint = Checkpoint(folder / "checkpoints", every_steps=2)
    callbacks = [checkpoint, *killer(folder, checkpoint, seed, times, slow)]
    callbacks.append(Slow(slow, folder / f"steps {distribution.process_id()}"))
    if distribution.process_id() == distribution.num_processes() - 1:
        if stops is not None:
            callbacks.append(AtStep(stops, once(folder / "stopped", signal.SIGSTOP)))
        if strays is not None:
            callbacks.append(AtStep(strays, stray))
    keras.utils.set_random_seed(1)
    model = rows.compiled(
        rows.network(between=[lambda: keras.layers.Dropout(0.5)]), keras.optimizers.Adam(0.01)
    )
    history = model.fit(
        *rows.data(23),
        batch_size=rows.BATCH,
        epochs=EPOCHS,
        initial_epoch=checkpoint.saved_epoch,
        verbose=0,
        callbacks=callbacks,
    )
    arrays = [array(v) for v in (*model.weights, *model.optimizer.variables)]
    arrays.append(np.array(history.history["loss"]))
    np.savez(folder / f"{distribution.process_id()}.npz", *arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
