"""A training in several processes, of which one kills itself the first times that it is started.

`torchrun ... -m tests.support.parallel_killed FOLDER [STEP NUMBER] ...`: in the first attempt
process NUMBER dies in step STEP, counted over epochs; in the second by the second pair, and so on.
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from keras_mg import distribution
from keras_mg.training import Checkpoint
from tests.support import parallel_rows as rows
from tests.support.arrays import numpy as array

EPOCHS, STEPS = 4, 3


class Dies(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        if len(self.model.history.epoch) * STEPS + batch == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder, pairs):
    distribution.initialize(timeout=60)
    distribution.set_distribution(distribution.DataParallel())
    checkpoint = Checkpoint(folder / "checkpoints", every_steps=2)
    callbacks = [checkpoint]
    attempt = len(list(folder.glob("attempt *")))
    if pairs[attempt : attempt + 1] and distribution.process_id() == pairs[attempt][1]:
        (folder / f"attempt {attempt}").touch()
        callbacks.append(Dies(pairs[attempt][0]))
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
    numbers = [int(word) for word in sys.argv[2:]]
    main(Path(sys.argv[1]), list(zip(numbers[::2], numbers[1::2], strict=True)))
