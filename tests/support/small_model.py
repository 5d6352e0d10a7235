"""A `keras_mg.Model` so small that tracing takes most of the time: variants, and training them."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation
from tests.support import compiled as support
from tests.support.arrays import numpy as array

SAMPLES, BATCH, CLASSES = 10, 4, 3  # the last batch is a partial one


def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, 8, 8, 3)).astype("float32")
    return x, generator.integers(CLASSES, size=SAMPLES)


def trunk(**options):
    images = keras.Input((8, 8, 3))
    x = ConvNormActivation(4, data_format="channels_last", **options)(images)
    return images, keras.layers.GlobalAveragePooling2D()(x)


def plain():
    images, x = trunk()
    return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")


def with_head(*layers):
    def build():
        images, x = trunk()
        for layer in layers:
            x = layer()(x)
        return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")

    return build


def regularized():
    images, x = trunk()
    head = keras.layers.Dense(
        CLASSES, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L2(0.01)
    )
    return keras_mg.Model(images, head(x), name="small")


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sgd(**options):
    return keras.optimizers.SGD(0.05, momentum=0.9, **options)


def fit(
    build,
    optimizer,
    jit_compile,
    fit_options=None,
    backend="aot_eager",
    loss=None,
    evaluate=False,
    **options,
):
    """Everything that training, and with `evaluate` evaluation and prediction, leave behind."""
    keras.utils.set_random_seed(1)
    model = build()
    model.torch_backend = backend
    options = {"metrics": ["accuracy"], **options}
    model.compile(optimizer(), loss or crossentropy(), jit_compile=jit_compile, **options)
    x, y = data()
    if isinstance(model.output, dict):
        y = {"a": y, "b": y}
    history = model.fit(
        x,
        y,
        **{"batch_size": BATCH, "epochs": 4, "verbose": 0, "shuffle": False, **(fit_options or {})},
    )
    result = support.left_behind(model, history)
    if evaluate:
        result["scores"] = model.evaluate(x, y, batch_size=BATCH, verbose=0)
        result["predictions"] = model.predict(x, batch_size=BATCH, verbose=0)
    return result, model


def assert_moves(result, model, build):
    """Training changed the weights, and the metrics of no two epochs are the same."""
    keras.utils.set_random_seed(1)
    start = build()
    pairs = zip(start.trainable_weights, model.trainable_weights, strict=True)
    assert all(not np.array_equal(array(a), array(b)) for a, b in pairs)
    losses = result["history"]["loss"]
    assert len(set(losses)) == len(losses)


def compiled_model(build=plain, jit_compile=True, **options):
    model = build()
    model.torch_backend = "aot_eager"
    model.compile(sgd(), crossentropy(), jit_compile=jit_compile, **options)
    return model


def quick(names, fast):
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]
