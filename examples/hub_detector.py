"""Trains keras-hub's RetinaNet on the grids of an MgNet: boxes around scattered digits.

    pip install "keras-mg[hub]"
    python examples/hub_detector.py
    python examples/hub_detector.py --filters 32 --steps 2000     # larger and longer

RetinaNet puts a pyramid of its own on three levels of the trunk and predicts a box and a class per
anchor. A box counts as found where it overlaps that of a digit by half (of what the two cover
together) and names it.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras
import keras_hub
import numpy as np

from keras_mg.datasets import ScatteredDigits
from keras_mg.hub import PyramidBackbone

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--filters", type=int, default=16, help="of MgNet's grids (default: 16)")
parser.add_argument("--steps", type=int, default=400, help="training steps (default: 400)")
parser.add_argument("--batch-size", type=int, default=8, help="canvases per step (default: 8)")
parser.add_argument("--test", type=int, default=200, help="canvases to test on (default: 200)")
parser.add_argument("--seed", type=int, default=0, help="of weights and canvases (default: 0)")
options = parser.parse_args()

keras.utils.set_random_seed(options.seed)
keras.config.set_image_data_format("channels_last")
shape, most = (64, 64, 1), 3


scatter = {"size": 64, "digits_per_canvas": (1, most), "scale": (1.5, 3.0)}


def draw(split, count):
    """Canvases, and of each digit its box (left, top, right, bottom) and its name."""
    data = ScatteredDigits(split, count, count, seed=options.seed, scatter=scatter)
    canvases, maps = data[0]
    boxes = np.full((count, most, 4), -1, "float32")
    labels = np.full((count, most), -1, "float32")
    for i, digits in enumerate(maps):
        for j, label in enumerate(np.flatnonzero(digits.any((0, 1)))):
            y, x = np.nonzero(digits[..., label])
            boxes[i, j] = x.min(), y.min(), x.max() + 1, y.max() + 1
            labels[i, j] = label
    return canvases, {"boxes": boxes, "labels": labels}


def overlap(box, others):
    """Of each pair of boxes, what they have in common, in parts of what they cover."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), 1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], 1)
    return common / (area - common)


def found(model, canvases, truth):
    """The share of the digits whose box and name are among the predictions."""
    made = model.predict(canvases, verbose=0)
    hits = []
    for i, n in enumerate(made["num_detections"]):
        boxes, names = made["boxes"][i, :n], made["labels"][i, :n]
        for box, label in zip(truth["boxes"][i], truth["labels"][i], strict=True):
            if label >= 0:
                hits.append(bool(((overlap(box, boxes) >= 0.5) & (names == label)).any()))
    return np.mean(hits)


trunk = keras_mg.applications.MgNet(
    filters=options.filters, include_top=False, pyramid_outputs=True, input_shape=shape
)
backbone = keras_hub.models.RetinaNetBackbone(
    PyramidBackbone(trunk), min_level=2, max_level=3, use_p5=False, image_shape=shape
)
model = keras_hub.models.RetinaNetObjectDetector(
    backbone, num_classes=10, bounding_box_format="xyxy", pre_logits_num_conv_layers=1
)
x, y = draw("train", options.steps * options.batch_size)
test = draw("test", options.test)
rate = keras.optimizers.schedules.CosineDecay(1e-3, options.steps)
model.compile(keras.optimizers.Adam(rate))  # Huber and focal losses
before = found(model, *test)
history = model.fit(x, y, batch_size=options.batch_size, shuffle=False, verbose=2)
after = found(model, *test)
print(f"loss of the last epoch: {history.history['loss'][-1]:.4f}")
print(f"found of the test digits: {before:.3f} before, {after:.3f} after training")
