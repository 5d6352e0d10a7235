"""Tables of classes and of maps, against scikit-learn and plain loops."""

import keras
import numpy as np
import pytest

from keras_mg.metrics import ClassTable, MapTable, MeanIU


def test_classes_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 8, 200), rng.normal(size=(200, 9))  # no image of class 8
    table = ClassTable(9)
    for part in np.array_split(np.arange(200), 7):
        table.update(labels[part], scores[part])
    predicted = scores.argmax(1)
    expected = metrics.confusion_matrix(labels, predicted, labels=range(9))
    np.testing.assert_array_equal(table.confusion_matrix, expected)
    top = {k: metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(9)) for k in (1, 5)}
    assert table.figures() == {"top_1": pytest.approx(top[1]), "top_5": pytest.approx(top[5])}
    precision, recall, _, images = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(9), zero_division=np.nan
    )
    for i, row in enumerate(table.rows()):
        assert (row["class"], row["images"]) == (i, images[i])
        assert row["predicted"] == (predicted == i).sum()
        for key, of_class in (("recall", recall[i]), ("precision", precision[i])):
            ours = np.nan if row[key] is None else row[key]
            assert ours == pytest.approx(of_class, nan_ok=True)
    assert table.rows()[8]["recall"] is None


def test_equal_scores_and_few_classes():
    table = ClassTable(3)
    table.update([0, 1], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert table.figures() == {"top_1": 0.5}
    assert ClassTable(3).figures() == {"top_1": 0.0}


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0], [[0.0] * 4], r"the scores \(batch, 3\). Received: .*\(1, 4\)"),
        ([0, 1], [[0.0] * 3], "Received: labels"),
        ([3], [[0.0] * 3], "from 0 to 2. Received: labels from 3 to 3"),
        ([-1], [[0.0] * 3], "Received: labels from -1"),
    ],
)
def test_bad_classes(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        ClassTable(3).update(labels, scores)


def maps(images=7, seed=0):
    """Map 3 has nothing true, map 4 nothing true and nothing predicted, image 0 nothing true."""
    rng = np.random.default_rng(seed)
    true = (rng.uniform(size=(images, 6, 5, 5)) > 0.7).astype("float32")
    predicted = rng.uniform(size=true.shape).astype("float32")
    true[..., 3:] = 0
    predicted[..., 4] = 0.1
    true[0] = 0
    return true, predicted


def by_loops(true, predicted):
    ratios, accuracies, script = [], [], []
    for m in range(true.shape[-1]):
        hit = wrong = missed = 0
        for t, p in zip(true[..., m].flat, predicted[..., m].flat, strict=True):
            hit += t == 1 and p >= 0.5
            wrong += t != 1 and p >= 0.5
            missed += t == 1 and p < 0.5
        if hit + wrong + missed:
            ratios.append(hit / (hit + wrong + missed))
            accuracies.append(hit / (hit + wrong) if hit + wrong else 0)
    for t, p in zip(true, predicted, strict=True):
        present = sum(t[..., m].any() for m in range(t.shape[-1]))
        hit = ((t == 1) & (p >= 0.5)).sum()
        if present:
            script.append(hit / ((t == 1) | (p >= 0.5)).sum() / present)
    return {
        "mean_iu": np.mean(ratios),
        "mean_accuracy": np.mean(accuracies),
        "script_mean_iu": np.mean(script),
    }


def test_maps_against_loops():
    true, predicted = maps()
    table = MapTable()
    for part in (slice(0, 2), slice(2, 7)):
        table.update(true[part], predicted[part])
    expected = by_loops(true, predicted)
    assert table.figures() == {key: pytest.approx(value) for key, value in expected.items()}
    metric = MeanIU(data_format="channels_last")
    metric.update_state(true, predicted)
    assert table.figures()["mean_iu"] == pytest.approx(float(metric.result()), abs=1e-6)
    row = table.rows()[0]
    assert row["pixels"] == true[..., 0].sum()
    assert row["predicted"] == (predicted[..., 0] >= 0.5).sum()
    assert table.rows()[4]["iu"] is None
    assert table.rows()[3]["recall"] is None


def test_maps_of_nothing_and_of_other_shapes():
    assert MapTable().figures() == {"mean_iu": 0.0, "mean_accuracy": 0.0, "script_mean_iu": 0.0}
    with pytest.raises(ValueError, match=r"of one shape. Received: \(1, 2, 2, 3\), \(1, 2, 2, 4\)"):
        MapTable().update(keras.ops.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 4)))
