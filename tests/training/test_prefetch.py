"""Prefetched data train as the data themselves do."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.datasets import AugmentedImages, SetEpoch, ShiftAndFlip
from keras_mg.training import prefetch
from tests.support.crops import HEIGHT, WIDTH, images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
torch_only = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="torch alone reads ahead"
)


def scale(x, data_format):
    return x.astype("float32") / 255


def augmented(kind=AugmentedImages, count=20):
    return kind(images(count), scale, 8, ShiftAndFlip(1), data_format="channels_last")


def loader(**options):
    import torch

    x = torch.rand(20, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, torch.arange(20)), batch_size=8, **options
    )


def make():
    keras.utils.set_random_seed(0)
    x = keras.Input((HEIGHT, WIDTH, 3))
    logits = keras.layers.Dense(80)(keras.layers.Flatten()(x))
    model = keras_mg.Model(x, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def same(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_a_data_set_trains_as_it_does_alone(depth):
    models, histories = [make(), make()], []
    for model, wrap in zip(models, (lambda d: d, lambda d: prefetch(d, depth)), strict=True):
        data = augmented()
        kept = model.fit(
            wrap(data),
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[SetEpoch(data)],
            validation_data=wrap(augmented()),
        )
        histories.append((kept.history, kept.params))
    assert histories[0] == histories[1]
    assert histories[0][1]["steps"] == 3
    same(*models)


@torch_only
def test_a_loader_trains_as_it_does_alone():
    models = [make(), make()]
    models[0].fit(loader(), epochs=2, shuffle=False, verbose=0)
    models[1].fit(prefetch(loader()), epochs=2, verbose=0)
    same(*models)
    figures = [models[0].evaluate(data, verbose=0) for data in (loader(), prefetch(loader()))]
    assert figures[0] == figures[1]
    predicted = [models[0].predict(data, verbose=0) for data in (loader(), prefetch(loader()))]
    np.testing.assert_array_equal(*predicted)
    assert predicted[0].shape == (20, 80)


class Recording(AugmentedImages):
    """Remembers which batches of which epochs were asked for."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []

    def __getitem__(self, index):
        self.seen.append((self.epoch, index))
        return super().__getitem__(index)


def test_no_batch_of_the_next_epoch_is_read_in_this_one():
    data = augmented(Recording)
    make().fit(prefetch(data, 10), epochs=3, verbose=0, callbacks=[SetEpoch(data)])
    epochs = [epoch for epoch, _ in data.seen]
    assert epochs == sorted(epochs)
    assert data.seen[-6:] == [(e, i) for e in (1, 2) for i in range(3)]


def test_fewer_steps_than_there_are():
    data = augmented(count=48)
    history = make().fit(prefetch(data), epochs=3, steps_per_epoch=2, verbose=0)
    assert history.params["steps"] == 2
    assert len(history.history["loss"]) == 3


def test_shuffling_and_class_weights_are_told_here():
    orders = []
    for shuffle in (False, True):
        data = augmented(Recording, count=80)
        make().evaluate(prefetch(data, shuffle=shuffle), verbose=0)
        orders.append([i for _, i in data.seen][-10:])
    assert orders[0] == list(range(10))
    assert sorted(orders[1]) == orders[0]
    assert orders[1] != orders[0]
    weights = {i: 2.0 * (i < 5) for i in range(20)}
    models = [make(), make()]
    models[0].fit(augmented(), shuffle=False, class_weight=weights, verbose=0)
    models[1].fit(prefetch(augmented(), class_weight=weights), verbose=0)
    same(*models)


@pytest.mark.parametrize(
    "options",
    [{"class_weight": {0: 0.0, 1: 100.0}}, {"y": np.zeros(8)}, {"sample_weight": np.ones(8)}],
    ids=lambda options: next(iter(options)),
)
def test_what_would_be_swallowed_is_refused(options):
    model, data = make(), prefetch(augmented())
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must not be given beside prefetched data"):
        model.fit(data, **options, verbose=0)
    if name != "class_weight":
        with pytest.raises(ValueError, match=f"{name} must not"):
            model.evaluate(data, **options, verbose=0)


@torch_only
def test_it_is_read_in_another_thread():
    import threading

    threads = set()

    class Noting(AugmentedImages):
        def __getitem__(self, index):
            threads.add(threading.get_ident())
            return super().__getitem__(index)

    make().fit(prefetch(augmented(Noting)), verbose=0)
    assert threading.get_ident() not in threads


def test_an_error_in_the_data_ends_training():
    class Broken(AugmentedImages):
        def __getitem__(self, index):
            if index == 2:
                raise OSError("no such file")
            return super().__getitem__(index)

    with pytest.raises(OSError, match="no such file"):
        make().fit(prefetch(augmented(Broken)), verbose=0)


def test_bad_arguments():
    for data in (np.zeros((4, 2)), [1], (i for i in range(3))):
        with pytest.raises(ValueError, match=r"takes a torch.utils.data.DataLoader or a keras"):
            prefetch(data)
    with pytest.raises(ValueError, match="depth must be a positive integer. Received: .*0"):
        prefetch(augmented(), 0)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_on_cuda(workers):
    with keras.device("cuda"):
        models = [make(), make()]
        models[0].fit(loader(), epochs=3, shuffle=False, verbose=0)
        pinned = loader(pin_memory=True, num_workers=workers)
        models[1].fit(prefetch(pinned, 3), epochs=3, verbose=0)
        for one, other in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
