"""Figures of attributes against scikit-learn's and by hand."""

import numpy as np
import pytest

from keras_mg.metrics import AttributeTable

metrics = pytest.importorskip("sklearn.metrics")


def test_figures_of_a_random_set():
    rng = np.random.default_rng(0)
    bits = rng.random((60, 5)) < [0.5, 0.1, 0.9, 0.3, 0.5]
    answers = np.clip(0.6 * bits + rng.random((60, 5)) * 0.6, 0, 1)
    table = AttributeTable()
    for rows in (slice(0, 7), slice(7, 60)):
        table.update(bits[rows].astype("float32"), answers[rows])
    rows = table.rows()
    assert [row["f1"] for row in rows] == sorted((row["f1"] for row in rows), reverse=True)
    said = answers > 0.5
    for row in rows:
        true, guess = bits[:, row["attribute"]], said[:, row["attribute"]]
        tn, fp, fn, tp = metrics.confusion_matrix(true, guess).ravel()
        assert (row["tp"], row["tn"], row["fp"], row["fn"]) == (tp, tn, fp, fn)
        assert row["accuracy"] == pytest.approx(metrics.accuracy_score(true, guess))
        assert row["precision"] == pytest.approx(metrics.precision_score(true, guess))
        assert row["recall"] == pytest.approx(metrics.recall_score(true, guess))
        assert row["f1"] == pytest.approx(metrics.f1_score(true, guess))
    figures = table.figures()
    assert figures["mean_f1"] == pytest.approx(metrics.f1_score(bits, said, average="macro"))
    assert figures["mean_accuracy"] == pytest.approx((bits == said).mean())


def test_what_is_undefined_is_left_out_and_comes_last():
    table = AttributeTable(["never", "always wrong", "right"])
    table.update([[0, 1, 1], [0, 1, 0]], [[0.5, 0.2, 0.51], [0.0, 0.5, 0.5]])
    rows = table.rows()
    assert [row["attribute"] for row in rows] == ["right", "never", "always wrong"]
    assert [row["f1"] for row in rows] == [1.0, None, None]
    assert rows[1]["precision"] is rows[1]["recall"] is None
    assert rows[2]["recall"] == 0
    assert table.figures() == {"mean_f1": 1.0, "mean_accuracy": pytest.approx(2 / 3)}
    assert AttributeTable().figures() == {"mean_f1": 0.0, "mean_accuracy": 0.0}


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"of one shape. Received: \(2, 3\), \(2, 2\)"):
        AttributeTable().update(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="1 names are of as many attributes. Received: 3"):
        AttributeTable(["one"]).update(np.zeros((2, 3)), np.zeros((2, 3)))
