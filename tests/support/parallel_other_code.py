"""Processes of which one runs other code, and that have met by themselves.

`python -m tests.support.parallel_other_code FOLDER`: the group that they met in carries nothing on
the host, as one of NCCL alone. In the end the second process fails.
"""

import os
import sys

import keras
import pytest
import torch
from torch import distributed

import keras_mg
from keras_mg.distribution import collectives, processes
from keras_mg.training import _parallel as parallel
from tests.support import parallel_rows as rows
from tests.support.parallel_events import refused


class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if keras_mg.distribution.process_id() == 1:
            raise LookupError("a fault of the second")


def no_group_carries_it():
    """Without the group beside it, theirs is on another device."""
    beside, processes._state.host = processes._state.host, None
    with pytest.raises(RuntimeError, match="No backend type .* device type cpu") as raised:
        collectives.add(torch.ones(2))
    assert not isinstance(raised.value, collectives.ProcessLostError)
    processes._state.host = beside


def main(folder):
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group(
        "cuda:gloo", init_method=f"file://{folder}/meet", rank=number, world_size=count
    )
    keras_mg.distribution.initialize(timeout=60)
    keras_mg.distribution.set_distribution(keras_mg.distribution.DataParallel())
    no_group_carries_it()
    model = rows.compiled(rows.network())
    refused(
        "The processes differ in: code of keras_mg. Received, by process: ",
        (lambda: model.fit(*rows.data(), verbose=0)),
    )
    parallel.code_digest = lambda: "the same"
    rows.main(folder, ["uneven"])
    model.fit(*rows.data(), verbose=0, callbacks=[Fails()])


if __name__ == "__main__":
    main(sys.argv[1])
