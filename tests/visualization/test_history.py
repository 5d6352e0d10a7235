"""Curves: their numbers, and a picture that holds them."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from keras_mg.visualization import plot_history
from keras_mg.visualization.history import _figure, rolling_mean

RUN = {"loss": [4.0, 2.0, 1.0], "val_loss": [5.0, 3.0, 2.0], "accuracy": [0.1, 0.2, 0.4]}
OTHER = {"loss": [2.0, 2.0, 3.0, 9.0], "val_loss": [1.0] * 4, "accuracy": [0.3] * 4}


@pytest.mark.parametrize("window", [1, 2, 4, 9])
def test_rolling_means(window):
    values = np.random.default_rng(0).normal(size=(2, 6))
    expected = [
        [np.mean([row[j] for j in range(len(row)) if i - window < j <= i]) for i in range(6)]
        for row in values
    ]
    np.testing.assert_allclose(rolling_mean(values, window), expected)
    with pytest.raises(ValueError, match="window must be a positive integer"):
        rolling_mean(values, 0)


def lines(axes):
    return {line.get_label(): line.get_ydata().tolist() for line in axes.lines}


def test_a_run():
    loss, accuracy = _figure([RUN], ["loss", "accuracy"], 1, None).axes
    assert lines(loss) == {"training": RUN["loss"], "validation": RUN["val_loss"]}
    assert lines(accuracy) == {"training": RUN["accuracy"]}
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert not loss.collections


def test_several_runs_are_a_mean_and_a_band():
    loss, _ = _figure([RUN, OTHER], ["loss", "accuracy"], 2, None).axes
    rolled = np.array([[4.0, 3.0, 1.5], [2.0, 2.0, 2.5]])
    assert lines(loss)["training"] == rolled.mean(0).tolist()
    band = loss.collections[0].get_paths()[0].vertices
    spread = rolled.std(0, ddof=1)
    assert band[:, 1].max() == pytest.approx((rolled.mean(0) + spread).max())
    assert band[:, 1].min() == pytest.approx((rolled.mean(0) - spread).min())


def test_the_picture(tmp_path):
    path = plot_history(tmp_path / "a.png", [RUN, OTHER], window=2, title="a title")
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").tobytes())) > 50


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "at least one epoch"),
        ({}, "at least one epoch"),
        ({"loss": []}, "at least one epoch"),
        ([RUN, {"loss": [1.0]}], "figures of the same names. Received: accuracy, loss, val_loss"),
    ],
)
def test_nothing_to_draw(tmp_path, history, message):
    with pytest.raises(ValueError, match=message):
        plot_history(tmp_path / "a.png", history)
    assert not list(tmp_path.iterdir())
