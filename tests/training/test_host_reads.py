"""No step of `fit` reads from the device, unless the user asks: a GPU never waits for the host."""

import warnings

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.datasets import DeviceImages, Images, ShiftAndFlip
from keras_mg.layers import ConvNormActivation
from keras_mg.training import CoupledSGD

torch = pytest.importorskip("torch")
from keras_mg.training._torch_optimizers import reads_rate  # noqa: E402
from tests.support.host_reads import HostReads  # noqa: E402

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone reads lazily"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BATCH = 2
FEW, MANY = 3, 9  # steps per epoch: what is read per epoch is read in both

optimizers, schedules = keras.optimizers, keras.optimizers.schedules
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "Adadelta": lambda: optimizers.Adadelta(0.1),
    "AdamW": lambda: optimizers.AdamW(0.1),
    "averaged": lambda: optimizers.AdamW(0.1, use_ema=True, global_clipnorm=1.0),
    "schedule": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 10, 0.9), momentum=0.9),
    "CoupledSGD": lambda: CoupledSGD(
        schedules.PiecewiseConstantDecay([3], [0.1, 0.01]), momentum=0.9, weight_decay=1e-4
    ),
}


def make(optimizer="momentum", jit_compile=False):
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = ConvNormActivation(4, data_format="channels_last")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras_mg.Model(images, keras.layers.Dense(3)(x), name="small")
    model.torch_backend = "aot_eager"
    model.compile(
        OPTIMIZERS[optimizer](),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    model.fit(*data(2), batch_size=BATCH, verbose=0)
    return model


def data(steps):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(steps * BATCH, 8, 8, 3)).astype("float32")
    return x, generator.integers(3, size=steps * BATCH)


def reads(run):
    """Reads per step, in this thread and elsewhere, of `run(steps)`."""
    counts = []
    for steps in (FEW, MANY):
        with HostReads() as counter:
            run(steps)
        counts.append((counter.here, counter.elsewhere))
    assert counts[0][0], "not even the end of an epoch was read: the counter is blind"
    return tuple((many - few) / (MANY - FEW) for few, many in zip(*counts, strict=True))


def fit(model, **options):
    def run(steps):
        x, y = data(steps)
        model.fit(x, y, batch_size=BATCH, **{"verbose": 0, **options})

    return run


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_reads_nothing(optimizer, jit_compile):
    model = make(optimizer, jit_compile)
    assert reads(fit(model)) == (0, 0)
    assert model.jit_compile == jit_compile
    assert not jit_compile or not model._compiled_steps.failed


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_whatever_is_printed(verbose, monkeypatch, capsys):
    # The bar is drawn at the first step, and then every so many seconds: here never again.
    make_bar = keras.utils.Progbar.__init__

    def slow(self, *args, **kwargs):
        make_bar(self, *args, **{**kwargs, "interval": 1e9})

    monkeypatch.setattr(keras.utils.Progbar, "__init__", slow)
    x, y = data(2)
    options = {"epochs": 2, "validation_data": (x, y), "validation_batch_size": BATCH}
    assert reads(fit(make("AdamW"), verbose=verbose, **options)) == (0, 0)
    assert ("loss" in capsys.readouterr().out) == bool(verbose)


class Watching(keras.callbacks.Callback):
    """Wants to hear of every batch, and looks at the loss of some."""

    def __init__(self, every=None):
        super().__init__()
        self.every, self.seen = every, []

    def on_train_batch_end(self, batch, logs=None):
        if self.every and batch % self.every == 0:
            self.seen.append(logs["loss"])


def test_a_callback_waits_only_where_it_looks():
    model = make()
    assert reads(fit(model, callbacks=[Watching()])) == (0, 0)
    # The loss and the accuracy of a batch are read together.
    each, elsewhere = reads(fit(model, callbacks=[Watching(every=1)]))
    assert each > 0
    assert elsewhere == 0
    assert reads(fit(model, callbacks=[Watching(every=3)])) == (each / 3, 0)
    assert reads(fit(model, callbacks=[keras.callbacks.TerminateOnNaN()])) == (each, 0)


def test_evaluation_and_prediction_read_at_the_end():
    model = make()

    def evaluate(steps):
        x, y = data(steps)
        model.evaluate(x, y, batch_size=BATCH, verbose=0)

    assert reads(evaluate) == (0, 0)

    class Own(keras.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            looked.append(logs["outputs"])

    def predict(steps, **options):
        model.predict(data(steps)[0], batch_size=BATCH, verbose=0, **options)

    looked = []
    once, _ = reads(predict)  # all outputs, when all are there
    more, _ = reads(lambda steps: predict(steps, callbacks=[Own()]))
    assert more > once
    assert {type(x) for x in looked} == {np.ndarray}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_images_on_the_device_stay_there(jit_compile):
    model = make("CoupledSGD", jit_compile)

    def run(steps):
        count = steps * BATCH
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (count, 8, 8, 3)).astype("uint8")
        batches = DeviceImages(
            Images(images, np.arange(count) % 3),
            keras_mg.applications.resnet.preprocess_input,
            BATCH,
            ShiftAndFlip(4),
            data_format="channels_last",
        )
        model.fit(batches, epochs=2, verbose=0)

    assert reads(run) == (0, 0)


def test_the_counter_sees_what_keras_reads():
    def kept(steps):
        model = make()
        vars(model.optimizer).pop("_parallel_update_step", None)  # Keras's own
        fit(model)(steps)

    assert reads(kept)[0] == reads_rate(type(make().optimizer))

    def plain(steps):
        x, y = data(steps)
        keras.Model.fit(model, x, y, batch_size=BATCH, verbose=0, callbacks=callbacks)

    model, callbacks = make(), []
    assert reads(plain)[1] > 0
    callbacks = [Watching()]
    assert reads(plain)[0] > 0


class Account(keras.callbacks.Callback):
    """Lets torch warn of each wait for the device, from the fourth step to the eighth."""

    def on_train_batch_begin(self, batch, logs=None):
        torch.cuda.set_sync_debug_mode("warn" if batch >= 3 else "default")

    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_nothing_waits_for_cuda():
    with keras.device("cuda"):
        model = make("CoupledSGD", jit_compile=True)
        model.torch_backend = "inductor"
        images = Images(np.zeros((8 * BATCH, 8, 8, 3), "uint8"), np.arange(8 * BATCH) % 3)
        normalise = keras_mg.applications.resnet.preprocess_input
        batches = DeviceImages(
            images, normalise, BATCH, ShiftAndFlip(4, fill=(1, 2, 3)), data_format="channels_last"
        )
        model.compile(model.optimizer, model.loss, jit_compile=True)
        model.fit(batches, verbose=0)
        assert not waits(lambda: model.fit(batches, verbose=0, callbacks=[Account()]))
        looking = Watching(every=1)
        assert waits(lambda: model.fit(batches, verbose=0, callbacks=[looking, Account()]))
        assert looking.seen


def waits(run):
    """What torch says of waits for the device while the account is open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [str(w.message) for w in caught if "called a synchronizing" in str(w.message)]
