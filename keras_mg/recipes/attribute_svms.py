"""The baseline of attribute networks: a linear support vector machine per attribute."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_mg._files import expand
from keras_mg.layers.arguments import not_negative
from keras_mg.metrics.attribute_table import AttributeTable
from keras_mg.recipes import _runs
from keras_mg.recipes._tables import write_csv
from keras_mg.recipes.attribute_data import Attributes


def attribute_svms(
    network: keras.Model,
    data: Attributes,
    data_dir: str | os.PathLike | None = None,
    output_dir: str | os.PathLike | None = None,
    cost: float = 1.0,
    preprocess_input: Callable[..., Any] | None = None,
    report: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Trains a linear SVM per attribute on the features of a network, which stays as it is.

    Each is scikit-learn's `LinearSVC` (liblinear, squared hinge loss), on features of mean 0 and
    standard deviation 1 over the training objects. An attribute that all or none of these have is
    answered so for every object.

    Args:
        network: a network that gives a vector of features, such as a constructor's with
            `include_top=False, pooling="avg"`.
        data: the objects.
        data_dir: folder of the objects, where they lie in one.
        output_dir: folder of `svm.json` and `per_attribute.csv`, made if it is not there. None
            writes nothing. Defaults to None.
        cost: float, what a wrong answer costs beside the margin. Defaults to 1.
        preprocess_input: called with pixels from 0 to 255 and makes the network's input; None gives
            it pixels from 0 to 1. Defaults to None.
        report: called with the figures, for people. By default nothing is said.

    Returns:
        A dictionary: `figures` (`mean_f1`, `mean_accuracy`), `per_attribute` (rows sorted by F1),
        `features` (their number), `images`, `versions`.

    Raises:
        ValueError: if the network gives no vector, or the data do not fit.
        FileNotFoundError: if the data are not there.
        ImportError: if scikit-learn is not installed.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise ImportError(
            "The support vector machines are scikit-learn's, which is not installed. "
            'Install it with the extra `data`: pip install "keras-mg[data]"'
        ) from error
    if not not_negative("cost", cost):
        raise ValueError(f"cost must be greater than 0. Received: cost={cost}")
    if len(network.output_shape) != 2:
        raise ValueError(
            "The network must give a vector of features: build it with include_top=False and "
            f'pooling="avg". Received: {network.name} with outputs {network.output_shape}'
        )
    train, test = data.sources(data_dir)
    features, bits = _features(network, data, train, preprocess_input)
    tested, truth = _features(network, data, test, preprocess_input)
    mean, std = features.mean(0), features.std(0)
    std[std == 0] = 1  # a feature that is the same for all
    answers = np.zeros(truth.shape)
    for i, wanted in enumerate(bits.T):
        if wanted.min() == wanted.max():
            answers[:, i] = wanted[0]
            continue
        machine = LinearSVC(C=cost, random_state=0, max_iter=10_000)
        machine.fit((features - mean) / std, wanted)
        answers[:, i] = machine.predict((tested - mean) / std)
    table = AttributeTable(train.names)
    table.update(truth, answers)
    result = {
        "network": network.name,
        "data": json.loads(json.dumps(data.__dict__)),
        "features": features.shape[1],
        "images": {"train": len(bits), "test": len(truth)},
        "figures": table.figures(),
        "per_attribute": table.rows(),
        "versions": _runs.versions(),
    }
    if output_dir is not None:
        folder = expand(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "per_attribute.csv", result["per_attribute"])
        _runs.write_json(folder / "svm.json", result)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in result["figures"].items())
    said = f"Linear SVMs on {features.shape[1]:,} features of {network.name}: {figures}"
    report(said if output_dir is None else f"{said}\nWritten to {expand(output_dir).resolve()}")
    return result


def _features(
    network: keras.Model, data: Attributes, objects, preprocess_input
) -> tuple[np.ndarray, np.ndarray]:
    features, bits = [], []
    batches = data.batches(objects)
    for i in range(len(batches)):
        x, y = batches[i]
        if preprocess_input is not None:
            x = preprocess_input(x * 255)
        features.append(keras.ops.convert_to_numpy(network.predict_on_batch(x)))
        bits.append(y)
    return np.concatenate(features).astype("float64"), np.concatenate(bits)
