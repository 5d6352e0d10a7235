"""Trainings that several processes do as one does: a table, and what runs a part of it.

`python -m tests.support.parallel_rows FOLDER NAME ...` runs rows in a process that a launcher has
started, and leaves what each one leaves behind in FOLDER.
"""

import functools
import importlib.util
import sys
import tempfile
import time
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg import distribution
from keras_mg.layers import ConvNormActivation
from tests.support.arrays import numpy as array

BATCH, CLASSES = 8, 3
EVEN = 24


def data(rows=EVEN):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 6, 6, 3)).astype("float32")
    return x, generator.integers(CLASSES, size=rows)


def network(model=None, between=(), norms=True):
    """Convolution and batch norm of ours, and the batch norm of Keras."""
    images = keras.Input((6, 6, 3))
    if norms:
        x = ConvNormActivation(4, data_format="channels_last", name="ours")(images)
        x = keras.layers.Conv2D(4, 1, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    else:
        x = keras.layers.Conv2D(4, 3, activation="relu", name="ours")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    for layer in between:
        x = layer()(x)
    return (model or keras_mg.Model)(images, keras.layers.Dense(CLASSES)(x), name="small")


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class ExactCrossentropy(keras.losses.Loss):
    """In the precision of the predictions."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        import torch

        return torch.nn.functional.cross_entropy(y_pred, y_true.long())


def sgd(**options):
    return keras.optimizers.SGD(0.05, momentum=0.9, **options)


def compiled(model, optimizer=None, jit_compile=False, backend="aot_eager", loss=None, **options):
    model.torch_backend = backend
    model.compile(
        optimizer or sgd(),
        loss or crossentropy(),
        jit_compile=jit_compile,
        **{"weighted_metrics": [], "metrics": ["accuracy"], **options},
    )
    return model


class Own(keras_mg.Model):
    """A step of the user's own."""

    def train_step(self, data):
        import torch

        x, y = data
        loss = keras.ops.mean(self.loss(y, self(x, training=True)))
        self.zero_grad()
        loss.backward()
        variables = self.trainable_variables
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in variables], variables)
        return {"mine": loss}


class InBatches(keras.utils.PyDataset):
    def __init__(self, rows=EVEN):
        super().__init__()
        self.x, self.y = data(rows)

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[part], self.y[part]


def loader(rows=EVEN, **options):
    import torch

    tensors = [torch.from_numpy(a) for a in data(rows)]
    dataset = torch.utils.data.TensorDataset(*tensors)
    return torch.utils.data.DataLoader(dataset, BATCH, **options)


def fit(model, *given, epochs=3, **options):
    """Everything that a training, an evaluation and a prediction leave behind."""
    given = given or data()
    if len(given) > 1:
        options.setdefault("batch_size", BATCH)
    history = model.fit(*given, epochs=epochs, verbose=0, **options)
    result = {f"weight {i}": array(w) for i, w in enumerate(model.weights)}
    result |= {f"slot {i}": array(v) for i, v in enumerate(model.optimizer.variables)}
    result |= {f"history {k}": np.array(v) for k, v in history.history.items()}
    x, y = data(13)
    result["scores"] = np.array(model.evaluate(x, y, batch_size=4, verbose=0))
    result["predictions"] = model.predict(x, batch_size=4, verbose=0).astype("float32")
    return result


def frozen_and_released(**options):
    model = network()
    model.get_layer("ours").trainable = False
    compiled(model, **options)
    fit(model, epochs=1)
    model.get_layer("ours").trainable = True
    compiled(model, **options)
    return fit(model)


class Freezes(keras.callbacks.Callback):
    """Freezes a layer in the second epoch and releases it in the third, and compiles nothing."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("ours").trainable = epoch != 1


def another_seed():
    if distribution.process_id():
        keras.utils.set_random_seed(5)
    return fit(compiled(network()), shuffle=True)


def of_policy(policy, train=lambda: fit(compiled(network()))):
    before = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy(policy)
    # Optimizers make their variables by it.
    keras.config.set_floatx("float64" if policy == "float64" else before[1])
    try:
        return train()
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_floatx(before[1])


def in_float64():
    """Without those layers and losses of Keras's that compute float64 in float32."""
    images = keras.Input((6, 6, 3))
    x = ConvNormActivation(4, data_format="channels_last")(images)
    x = keras.layers.Flatten()(keras.layers.Conv2D(CLASSES, 6)(x))
    model = keras_mg.Model(images, x, name="small")
    return fit(compiled(model, loss=ExactCrossentropy()), *data(23))


def first_step_of_digits():
    """Of a recipe whose network is 23 batch norms deep, where rounding in float32 grows."""
    from keras_mg.recipes import get_recipe

    recipe = get_recipe("mgnet-digits")
    body = recipe.network(include_top=False)
    logits = keras.layers.Conv2D(10, 1)(body.output)
    logits = keras.layers.GlobalAveragePooling2D()(logits)
    model = keras_mg.Model(body.input, logits)
    compiled(model, recipe.optimizer(0.1), loss=ExactCrossentropy())
    images = np.random.default_rng(0).normal(size=(32, 32, 32, 3))
    before = [array(w) for w in model.weights]
    history = model.fit(images, np.arange(32) % 10, batch_size=32, verbose=0)
    result = {f"weight {i}": array(w) for i, w in enumerate(model.weights)}
    assert (
        max(np.abs(array(w) - b).max() for w, b in zip(model.weights, before, strict=True)) > 1e-2
    )
    return result | {"history loss": np.array(history.history["loss"])}


def weighted():
    x, y = data(23)
    return fit(compiled(network()), x, y, sample_weight=np.linspace(0.5, 1.5, len(x)))


def unused():
    """A layer that no gradient reaches."""
    images = keras.Input((6, 6, 3))
    x = ConvNormActivation(4, data_format="channels_last")(images)
    aside = keras.ops.stop_gradient(keras.layers.Dense(2)(x))
    x = keras.layers.Concatenate()([x, aside])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")
    return fit(compiled(model))


def masked_moments():
    """A batch norm of Keras's over steps of which some are masked."""
    x = np.random.default_rng(1).normal(size=(EVEN, 5, 4)).astype("float32")
    x[::3, 3:] = 0
    steps = keras.Input((5, 4))
    y = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Masking()(steps))
    y = keras.layers.GlobalAveragePooling1D()(y)
    model = compiled(keras_mg.Model(steps, keras.layers.Dense(CLASSES)(y), name="small"))
    history = model.fit(x, data()[1], batch_size=BATCH, epochs=3, verbose=0)
    result = {f"weight {i}": array(w) for i, w in enumerate(model.weights)}
    return result | {"history loss": np.array(history.history["loss"])}


def of_grain(steps=None):
    """A pipeline of grain's that knows its length, and one that has to be told."""
    import grain

    x, y = data(23)
    pipeline = grain.MapDataset.source(list(zip(x, y, strict=True))).shuffle(seed=1).batch(BATCH)
    if steps is None:
        return fit(compiled(network()), pipeline)
    endless = pipeline.repeat().to_iter_dataset()
    return fit(compiled(network()), endless, steps_per_epoch=steps)


def tried():
    """`jit_compile="auto"` with measurements of which the first process's say: compiled."""
    from keras_mg.training import _choices, _torch_graph, measured_steps
    from keras_mg.training._step_model import StepModel

    slower = 5.0 if distribution.process_id() else 0.5
    ran, train = [], StepModel._train

    def timed(self, steps, step, args):
        return step(steps, args), 100.0 * (1.0 if steps is None else slower)

    def noted(self, steps, args):
        ran.append(steps is not None)
        return train(self, steps, args)

    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", home)
        patch.setenv(measured_steps.VARIABLE, "")
        patch.setattr(_choices.Choices, "_timed", timed)
        patch.setattr(StepModel, "_train", noted)
        # Quick, and none of what is compared here.
        patch.setattr(
            _torch_graph, "capture", lambda function, x, *_, **__: (function, function(*x))
        )
        result = fit(compiled(network(), jit_compile="auto"), *data(23), epochs=8)
    assert ran[-3:-1] == [True, True], ran  # the last batch of an epoch is uneven
    return result | {"forms": np.array(ran)}


@functools.cache
def _tfds_builder():
    import tensorflow_datasets as tfds

    class SmallImages(tfds.core.GeneratorBasedBuilder):
        """The rows of `data`."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Tensor(shape=(6, 6, 3), dtype=np.float32)
            label = tfds.features.ClassLabel(num_classes=CLASSES)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, (image, label) in enumerate(zip(*data(23), strict=True)):
                yield i, {"image": image, "label": int(label)}

    return SmallImages


def of_tfds():
    """A data set of tensorflow-datasets, of which a DataLoader reads records by their numbers."""
    import tensorflow_datasets as tfds
    import torch

    def collate(records):
        images = np.stack([record["image"] for record in records])
        return torch.from_numpy(images), torch.tensor([record["label"] for record in records])

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorflow-datasets and what it imports
        tfds.disable_progress_bar()
        builder = _tfds_builder()(data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
        source = builder.as_data_source("train")
        batches = torch.utils.data.DataLoader(source, BATCH, shuffle=True, collate_fn=collate)
        return fit(compiled(network()), batches, shuffle=False)


ROWS = {
    "sgd": lambda: fit(compiled(network())),
    "uneven": lambda: fit(compiled(network()), *data(23)),
    "no row for some": lambda: fit(compiled(network()), *data(25)),
    "no batch norm": lambda: fit(compiled(network(norms=False)), *data(23)),
    "adam": lambda: fit(compiled(network(), keras.optimizers.Adam(0.01))),
    "clipping": lambda: fit(compiled(network(), sgd(global_clipnorm=0.1))),
    "accumulation": lambda: fit(compiled(network(), sgd(gradient_accumulation_steps=2))),
    "average of weights": lambda: fit(compiled(network(), sgd(use_ema=True))),
    "frozen and released": frozen_and_released,
    "frozen in between": lambda: fit(compiled(network()), *data(23), callbacks=[Freezes()]),
    "own step": lambda: fit(compiled(network(Own), metrics=[]), *data(23)),
    "another seed": another_seed,
    "in order": lambda: fit(compiled(network()), *data(23), shuffle=False),
    "shuffled batches": lambda: fit(compiled(network()), *data(23), shuffle="batch"),
    "regularized": lambda: fit(
        compiled(network(between=[lambda: keras.layers.Dense(4, kernel_regularizer="l2")])),
        *data(23),
    ),
    "PyDataset": lambda: fit(compiled(network()), InBatches(23), shuffle=True),
    "prefetched": lambda: fit(compiled(network()), keras_mg.training.prefetch(InBatches(23))),
    "prefetched rows": lambda: fit(
        compiled(network()), keras_mg.training.prefetch(loader(23, shuffle=True))
    ),
    "DataLoader": lambda: fit(compiled(network()), loader(23, shuffle=True), shuffle=False),
    "DataLoader without the rest": lambda: fit(
        compiled(network()), loader(23, drop_last=True), shuffle=False
    ),
    "DataLoader with workers": lambda: fit(
        compiled(network()),
        loader(23, shuffle=True, num_workers=2, persistent_workers=True),
        shuffle=False,
    ),
    "sample weights": weighted,
    "class weights": lambda: fit(
        compiled(network()), *data(23), class_weight={0: 1.0, 1: 2.0, 2: 0.5}
    ),
    "validation split": lambda: fit(compiled(network()), validation_split=0.3),
    "validation data": lambda: fit(
        compiled(network()), validation_data=InBatches(9), validation_freq=2
    ),
    "steps per epoch": lambda: fit(compiled(network()), *data(40), steps_per_epoch=2, epochs=2),
    "bfloat16": lambda: of_policy("mixed_bfloat16"),
    "float16": lambda: of_policy("mixed_float16"),
    "float64": lambda: of_policy("float64", in_float64),
    "digits": lambda: of_policy("float64", first_step_of_digits),
    "remat": lambda: fit(compiled(network(), remat=True), *data(23)),
    "auto": tried,
    "unused": unused,
    "masked": masked_moments,
}

# Of packages that few have.
GRAIN = {"grain": of_grain, "grain by steps": lambda: of_grain(3)}
if importlib.util.find_spec("grain") is not None:
    ROWS |= GRAIN
TFDS = {"TFDS": of_tfds}
if importlib.util.find_spec("tensorflow_datasets") is not None:
    ROWS |= TFDS


def captured(optimizer, *given, model=None, remat=False, metrics=("accuracy",), **options):
    network_ = network(model)
    options |= {"jit_compile": True, "remat": remat, "metrics": list(metrics)}
    return fit(compiled(network_, optimizer, **options), *given)


CAPTURED = {
    "captured": lambda **how: captured(sgd(global_clipnorm=0.1), **how),
    "captured, uneven": lambda **how: captured(keras.optimizers.Adam(0.01), *data(23), **how),
    "captured, no row for some": lambda **how: captured(None, *data(25), **how),
    "captured, accumulation": lambda **how: captured(sgd(gradient_accumulation_steps=2), **how),
    "captured, frozen and released": lambda **how: frozen_and_released(jit_compile=True, **how),
    "captured, own step": lambda **how: captured(None, *data(23), model=Own, metrics=(), **how),
    "captured, remat": lambda **how: captured(None, remat=True, **how),
    "captured, prefetched": lambda **how: captured(
        None, keras_mg.training.prefetch(loader(23, shuffle=True)), **how
    ),
}
ROWS |= CAPTURED

# With what compiles in earnest: minutes.
INDUCTOR = {
    name.replace("captured", "inductor"): functools.partial(CAPTURED[name], backend="inductor")
    for name in ("captured", "captured, uneven")
}
ROWS |= INDUCTOR

# Those that take longer: capturing does.
SLOW = (
    *(name for name in CAPTURED if name != "captured, uneven"),
    *INDUCTOR,
    *("local, captured", "DataLoader with workers", "digits", *TFDS),
)

# Of these, all processes are alike, and one process is not.
ALIKE = {
    "dropout": lambda: fit(compiled(network(between=[lambda: keras.layers.Dropout(0.5)]))),
    "local": lambda: _local(lambda: fit(compiled(network()), *data(23))),
    "local, captured": lambda: _local(lambda: fit(compiled(network(), jit_compile=True))),
}


def _local(run):
    with distribution.DataParallel(batch_norm="local").scope():
        return run()


def run(name):
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    return (ROWS | ALIKE)[name]()


def main(folder, names):
    distribution.initialize(timeout=300)  # to compile may take one of them that much longer
    distribution.set_distribution(distribution.DataParallel())
    warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
    for name in names:
        begun = time.monotonic()
        result = run(name)
        sys.stderr.write(f"{name}: {time.monotonic() - begun:.2f} s\n")
        np.savez(Path(folder) / f"{name}, {distribution.process_id()}.npz", **result)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
