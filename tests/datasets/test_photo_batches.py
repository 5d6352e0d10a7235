"""Photographs from folders: what comes when, whoever reads it, and what is said of bad ones."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from keras_mg.datasets import (
    CenterCrop,
    ColorJitter,
    HSLJitter,
    ImageFolder,
    PCALighting,
    PhotoBatches,
    RandomAreaCrop,
    SetEpoch,
    TenCrops,
    TFDSPhotos,
)
from keras_mg.datasets.photo_batches import decode

COUNTS = {"ant": 5, "bee": 7, "cat": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of several sizes; the first pixels' red is the number of each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    number = 0
    for name, count in COUNTS.items():
        (folder / name).mkdir()
        (folder / name / "notes.txt").write_text("no image")
        (folder / name / ".hidden.png").write_text("no image")
        for i in range(count):
            pixels = rng.integers(0, 256, (10 + i, 16, 3)).astype("uint8")
            pixels[..., 0] = number
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
            number += 1
    return folder


def batches(folder, crop=None, **kwargs):
    options = {"batch_size": 4, "mean": (0, 0, 0), "std": (1, 1, 1), "data_format": "channels_last"}
    return PhotoBatches(ImageFolder(folder), crop or CenterCrop(8, 10), **options | kwargs)


def numbers(data):
    """The numbers of the photographs of an epoch, and their labels."""
    made = [data[i] for i in range(len(data))]
    reds = np.concatenate([np.rint(x[..., 0].mean((1, 2))) for x, _ in made])
    return reds.astype(int).tolist(), np.concatenate([y for _, y in made]).tolist()


def test_a_folder_of_class_folders(folder):
    photos = ImageFolder(folder)
    assert photos.class_names == ["ant", "bee", "cat"]
    assert np.bincount(photos.labels).tolist() == [5, 7, 9]
    assert photos[5].name == str(folder / "bee" / "0.png")
    assert ImageFolder(folder, ["cat", "ant", "bee"])[0].name == str(folder / "cat" / "0.png")
    rows, labels = numbers(batches(folder, order="sequence"))
    assert rows == list(range(21))
    assert labels == np.repeat([0, 1, 2], [5, 7, 9]).tolist()


def test_an_epoch_has_every_photograph_once_in_an_order_of_its_own(folder):
    data = batches(folder, seed=3)
    epochs = []
    for epoch in range(3):
        data.epoch = epoch
        rows, labels = numbers(data)
        assert sorted(rows) == list(range(21))
        assert labels == [int(np.searchsorted([5, 12, 21], row, "right")) for row in rows]
        epochs.append(tuple(rows))
    assert len(set(epochs)) == 3
    steps = batches(folder, seed=3, steps_per_epoch=7, batch_size=3)  # 21: once through
    assert tuple(numbers(steps)[0]) == epochs[0]
    shorter = batches(folder, seed=3, steps_per_epoch=2, batch_size=6)
    seen = []
    for epoch in range(7):  # 84: four times through
        shorter.epoch = epoch
        seen += numbers(shorter)[0]
    assert [sorted(seen[i : i + 21]) for i in range(0, 84, 21)] == 4 * [list(range(21))]


def test_what_is_drawn_depends_on_seed_epoch_and_photograph_alone(folder):
    def make(threads, batch_size=4, seed=1, order="shuffle"):
        data = batches(
            folder,
            RandomAreaCrop(8),
            colors=(ColorJitter(), PCALighting(), HSLJitter()),
            flip=True,
            threads=threads,
            batch_size=batch_size,
            seed=seed,
            order=order,
        )
        data.epoch = 2
        return data

    one, many = make(1), make(4)
    for i in (5, 0, 3):
        for a, b in zip(one[i], many[i], strict=True):
            np.testing.assert_array_equal(a, b)
    # In larger batches, and in another order, each photograph is changed as before.
    whole = np.concatenate([one[i][0] for i in range(len(one))])
    np.testing.assert_array_equal(make(2, batch_size=21)[0][0], whole)
    order = one._order_of(2)
    np.testing.assert_array_equal(make(2, 21, order="sequence")[0][0][order], whole)
    assert (make(1, seed=2, order="sequence")[0][0] != make(1, order="sequence")[0][0]).any()


def test_shards_share_an_epoch(folder):
    parts = [numbers(batches(folder, shard=(i, 4)))[0] for i in range(4)]
    assert [len(part) for part in parts] == [5, 5, 5, 5]
    assert len({row for part in parts for row in part}) == 20
    assert parts == [numbers(batches(folder, shard=(i, 4), threads=3))[0] for i in range(4)]


def test_numbers_and_formats(folder):
    photos = ImageFolder(folder)
    data = PhotoBatches(photos, CenterCrop(8, 10), 2, order="sequence", data_format="channels_last")
    x, y = data[1]
    assert (x.dtype, x.shape, y.dtype, y.tolist()) == (np.float32, (2, 8, 8, 3), np.int64, [0, 0])
    pixels = CenterCrop(8, 10)(decode(photos[2].content)) / 255
    expected = (pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(x[0], expected, atol=1e-5)
    first = PhotoBatches(
        photos, CenterCrop(8, 10), 2, order="sequence", data_format="channels_first"
    )
    np.testing.assert_array_equal(np.moveaxis(first[1][0], 1, -1), x)
    ten = PhotoBatches(photos, TenCrops(8, 10), 2, order="sequence", data_format="channels_last")
    assert ten[1][0].shape == (2, 10, 8, 8, 3)
    np.testing.assert_array_equal(ten[1][0][:, 0], x)


def test_half_of_the_images_are_mirrored(folder):
    plain = batches(folder, order="sequence", batch_size=21)
    mirrored = []
    for seed in range(40):
        flipped = batches(folder, order="sequence", batch_size=21, flip=True, seed=seed)
        for x, image in zip(flipped[0][0], plain[0][0], strict=True):
            mirrored.append((x != image).any())
            np.testing.assert_array_equal(x, image[:, ::-1] if mirrored[-1] else image)
    assert abs(sum(mirrored) - 420) < 5 * 14.5


def test_grey_and_palette_files_are_made_rgb(tmp_path):
    (tmp_path / "one").mkdir()
    for mode in ("L", "P", "CMYK", "RGBA", "1"):
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new(mode, (12, 12)).save(tmp_path / "one" / f"{mode}.{suffix}")
    assert batches(tmp_path, batch_size=5)[0][0].shape == (5, 8, 8, 3)


def damage(folder, tmp_path, content):
    """A copy of the folder in which one photograph is something else."""
    for name in COUNTS:
        (tmp_path / name).mkdir()
        for path in (folder / name).glob("[0-9]*.png"):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    bad = tmp_path / "bee" / "2.png"  # number 7
    bad.write_bytes(content(bad.read_bytes()))
    return bad


@pytest.mark.parametrize(
    "content",
    [lambda good: good[: len(good) // 2], lambda good: b"", lambda good: b"<html>no</html>"],
)
def test_a_corrupt_photograph_is_named_and_stops_or_is_left_out(folder, tmp_path, content):
    bad = damage(folder, tmp_path, content)
    with pytest.raises(OSError, match=f"{bad} cannot be read as an image: .*"):
        numbers(batches(tmp_path))
    with pytest.warns(UserWarning, match=f"{bad} cannot be read as an image: .*; it is left out"):
        rows, labels = numbers(batches(tmp_path, order="sequence", on_corrupt="skip"))
    assert rows == [i for i in range(21) if i != 7]
    assert labels == np.repeat([0, 1, 2], [5, 6, 9]).tolist()


def test_a_batch_of_corrupt_photographs_alone(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(b"nothing")
    with (
        pytest.warns(UserWarning, match=r"a.jpg cannot be read"),
        pytest.raises(OSError, match="No photograph of batch 0 can be read"),
    ):
        batches(tmp_path, on_corrupt="skip")[0]


def test_a_network_trains_on_a_folder_and_resumes(folder):
    """`fit` takes it as it is, and an epoch that is taken up again is the same."""

    def make():
        return batches(folder, RandomAreaCrop(8), flip=True, mean=(128,) * 3, std=(64,) * 3)

    def model():
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
        )
        network.compile("sgd", "sparse_categorical_crossentropy")
        return network

    data = make()
    whole = model()
    whole.fit(data, epochs=3, shuffle=False, verbose=0, callbacks=[SetEpoch(data)])
    data = make()
    parts = model()
    parts.fit(data, epochs=1, shuffle=False, verbose=0, callbacks=[SetEpoch(data)])
    data = make()
    parts.fit(data, initial_epoch=1, epochs=3, shuffle=False, verbose=0, callbacks=[SetEpoch(data)])
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_photographs_of_a_prepared_data_set_stay_packed(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from keras_mg.datasets import prepare_dataset
    from tests.datasets.test_mnist_digits import write_all

    (tmp_path / "files").mkdir()
    write_all(tmp_path / "files", train=12)
    prepare_dataset("mnist", tmp_path, source_dir=tmp_path / "files")
    photos = TFDSPhotos("mnist", "train", tmp_path)
    assert (len(photos), photos.class_names) == (12, [str(i) for i in range(10)])
    photo = photos[3]
    assert photo.name == "mnist train 3"
    assert Image.open(io.BytesIO(photo.content)).size == (28, 28)
    x, y = PhotoBatches(photos, CenterCrop(8, 28), 12, data_format="channels_last")[0]
    assert x.shape == (12, 8, 8, 3)
    assert sorted(y.tolist()) == sorted(i % 10 for i in range(12))
    with pytest.raises(FileNotFoundError, match=r"ILSVRC2012_img_train.tar .*image-net.org"):
        TFDSPhotos("imagenet2012", "train", tmp_path)


def test_folders_that_do_not_do(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere. Put a folder"):
        ImageFolder(tmp_path / "nowhere")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="one folder of images for each class. Received: 1 files"):
        ImageFolder(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"Each class must have an image .*Received none in .*empty"
    ):
        ImageFolder(tmp_path)
    with pytest.raises(ValueError, match="classes must name every folder .*none for: cat"):
        ImageFolder(folder, ["ant", "bee"])
    with pytest.raises(FileNotFoundError, match="a folder of each class. Missing: dog"):
        ImageFolder(folder, ["ant", "bee", "cat", "dog"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shard": (2, 2)}, r"shard must be.*Received: \(2, 2\)"),
        ({"shard": (0, 99)}, r"a photograph for each part. Received: 21 .*shard=\(0, 99\)"),
        ({"seed": -1}, "seed must be.*Received: -1"),
        ({"order": "balanced"}, "order.*Received: .*'balanced'"),
        ({"on_corrupt": "ignore"}, "on_corrupt.*Received: .*'ignore'"),
        ({"batch_size": 0}, "batch_size.*Received: .*0"),
    ],
)
def test_errors(arguments, message, folder):
    with pytest.raises(ValueError, match=message):
        batches(folder, **arguments)
    with pytest.raises(IndexError, match="Batch 6 of 6"):
        batches(folder)[6]
