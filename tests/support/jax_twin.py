"""The same networks and layers in two processes, one per backend, that exchange `.npz` files.

`python -m tests.support.jax_twin FOLDER` with `KERAS_BACKEND=jax` reads what the torch process
wrote there, computes the same and writes its own results beside it.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_mg import applications
from tests.support.arrays import channels_last_to, flat, numpy, randomize
from tests.support.layer_cases import ONE_OF_EACH
from tests.support.layer_check import FORMATS, built, functional_model, inputs_of

NETWORKS = {
    "RMG18": (applications.RMG18, {}, (64, 96, 3)),
    "IGC_L100M2": (applications.IGC_L100M2, {}, (64, 64, 3)),
    "MgNet": (applications.MgNet, {"iterations": (2, 1, 2), "filters": 12}, (17, 14, 3)),
    "SegPMG": (applications.SegPMG, {"filters": (8, 6, 4)}, (16, 24, 1)),
}


def network(name):
    """A flagship and its images."""
    make, arguments, shape = NETWORKS[name]
    model = make(
        **arguments, input_shape=shape, classifier_activation=None, data_format="channels_last"
    )
    return model, [np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")]


def layer(case, data_format):
    """A model of one layer and its inputs."""
    arrays = [np.ascontiguousarray(channels_last_to(data_format, a)) for a in inputs_of(case)]
    return functional_model(case, built(case, data_format)), arrays


def items():
    """Name and maker of everything that both backends compute."""
    for name in NETWORKS:
        yield name, lambda name=name: network(name)
    for case in ONE_OF_EACH:
        for data_format in FORMATS:
            yield (
                f"{case.name}-{data_format}",
                lambda case=case, data_format=data_format: layer(case, data_format),
            )


def results(model, arrays):
    """Outputs in inference, outputs in training, and the statistics after it."""
    state = (
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
    )
    inputs = [keras.ops.convert_to_tensor(a) for a in arrays]
    inputs = inputs if len(inputs) > 1 else inputs[0]

    def run(trainable, non_trainable, inputs):
        inference, _ = model.stateless_call(trainable, non_trainable, inputs, training=False)
        return inference, model.stateless_call(trainable, non_trainable, inputs, training=True)

    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(run)
    inference, (training, statistics) = run(*state, inputs)
    return {
        f"{kind}_{i}": numpy(value)
        for kind, values in (
            ("inference", flat(inference)),
            ("training", flat(training)),
            ("statistics", statistics),
        )
        for i, value in enumerate(values)
    }


def write(folder):
    """What the first process does: random weights, and its results."""
    import torch

    for name, make in items():
        model, arrays = make()
        randomize(model)
        weights = {f"weight_{i}": numpy(v) for i, v in enumerate(model.weights)}
        with torch.no_grad():
            np.savez(Path(folder, f"{name}.npz"), **weights, **results(model, arrays))


def answer(folder):
    """What the second process does: the results with the first one's weights."""
    # Compiling random numbers of each shape takes most of the time, and none is kept.
    keras.initializers.VarianceScaling.__call__ = lambda self, shape, dtype=None: np.zeros(
        shape, dtype or "float32"
    )
    for name, make in items():
        model, arrays = make()
        with np.load(Path(folder, f"{name}.npz")) as given:
            model.set_weights([given[f"weight_{i}"] for i in range(len(model.weights))])
        np.savez(Path(folder, f"{name}.answer.npz"), **results(model, arrays))


if __name__ == "__main__":
    answer(sys.argv[1])
