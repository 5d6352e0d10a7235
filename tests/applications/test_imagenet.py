import keras
import numpy as np
import pytest

from keras_mg.applications import _imagenet as imagenet


def test_there_are_1000_distinct_classes_in_wordnet_order():
    wordnet_ids = [wordnet_id for wordnet_id, _ in imagenet.class_index()]
    assert len(wordnet_ids) == 1000
    assert len(set(wordnet_ids)) == 1000
    assert wordnet_ids == sorted(wordnet_ids)
    assert all(len(w) == 9 and w[0] == "n" and w[1:].isdigit() for w in wordnet_ids)


@pytest.mark.parametrize(
    ("index", "wordnet_id", "name"),
    [
        (0, "n01440764", "tench"),
        (1, "n01443537", "goldfish"),
        (89, "n01819313", "sulphur-crested_cockatoo"),
        (134, "n02012849", "crane"),  # the bird; 517 is the machine
        (207, "n02099601", "golden_retriever"),
        (281, "n02123045", "tabby"),
        (477, "n02966687", "carpenter's_kit"),
        (517, "n03126707", "crane"),
        (638, "n03710637", "maillot"),
        (639, "n03710721", "maillot"),
        (812, "n04266014", "space_shuttle"),
        (999, "n15075141", "toilet_tissue"),
    ],
)
def test_known_classes(index, wordnet_id, name):
    assert imagenet.class_index()[index] == (wordnet_id, name)


def test_guesses_come_best_first_with_the_scores_of_the_input():
    preds = np.zeros((2, 1000), "float32")
    preds[0, [0, 1, 207]] = [0.2, 0.5, 0.3]
    preds[1, 999] = 1.0
    first, second = imagenet.decode_predictions(preds, top=3)
    assert [name for _, name, _ in first] == ["goldfish", "golden_retriever", "tench"]
    assert [score for *_, score in first] == [np.float32(0.5), np.float32(0.3), np.float32(0.2)]
    assert second[0] == ("n15075141", "toilet_tissue", np.float32(1.0))
    assert len(second) == 3


def test_five_guesses_unless_told():
    assert [len(guesses) for guesses in imagenet.decode_predictions(np.eye(1000)[:3])] == [5, 5, 5]


def test_the_result_is_that_of_keras(monkeypatch):
    from keras.src.applications import imagenet_utils

    table = {str(i): list(pair) for i, pair in enumerate(imagenet.class_index())}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", table)
    preds = np.random.default_rng(0).random((4, 1000), "float32")
    for top in (1, 5, 1000, 2000):
        expected = imagenet_utils.decode_predictions(preds, top=top)
        assert imagenet.decode_predictions(preds, top=top) == expected


def test_backend_tensors_are_accepted():
    preds = keras.ops.softmax(keras.random.normal((2, 1000), seed=0))
    expected = imagenet.decode_predictions(keras.ops.convert_to_numpy(preds))
    assert imagenet.decode_predictions(preds) == expected


@pytest.mark.parametrize("shape", [(1000,), (2, 999), (2, 10), (1, 1, 1000)])
def test_another_shape_is_named_in_the_error(shape):
    with pytest.raises(ValueError, match=r"shape \(samples, 1000\)") as error:
        imagenet.decode_predictions(np.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_an_error(top):
    with pytest.raises(ValueError, match=f"at least 1.*top={top}"):
        imagenet.decode_predictions(np.zeros((1, 1000)), top=top)
