"""Trains keras-hub's RetinaNet on the grids of an MgNet: boxes around scattered digits.

    pip install "keras-mg[hub]"
    python examples/hub_detector.py
    python examples/hub_detector.py --filters 32 --steps 2000     # larger and longer

RetinaNet puts a pyramid of its own on two levels of the trunk and predicts a box and a class per
anchor. A digit is found where a predicted box overlaps its own by half (of what the two cover
together) and names it; such a box is right.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras
import keras_hub
import numpy as np
from keras.utils.bounding_boxes import compute_iou

from keras_mg.datasets import ScatteredDigits
from keras_mg.hub import PyramidBackbone

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--filters", type=int, default=16, help="of MgNet's grids (default: 16)")
parser.add_argument("--steps", type=int, default=500, help="training steps (default: 500)")
parser.add_argument("--batch-size", type=int, default=8, help="canvases per step (default: 8)")
parser.add_argument("--test", type=int, default=200, help="canvases to test on (default: 200)")
parser.add_argument("--seed", type=int, default=0, help="of weights and canvases (default: 0)")
options = parser.parse_args()

keras.utils.set_random_seed(options.seed)
keras.config.set_image_data_format("channels_last")
shape, most = (32, 32, 1), 2
scatter = {"size": 32, "digits_per_canvas": (1, most), "scale": (1.5, 2.0)}


def draw(split, count):
    """Canvases, and of each digit that is there the box (left, top, right, bottom) and the name."""
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


def found(model, canvases, truth):
    """The share of the digits that are found, and of the predicted boxes those that are right."""
    made = model.predict(canvases, verbose=0)
    digits, boxes = [], []
    for i, n in enumerate(made["num_detections"]):
        real = truth["labels"][i] >= 0
        overlap = compute_iou(truth["boxes"][i][real], made["boxes"][i, :n], "xyxy")
        near = keras.ops.convert_to_numpy(overlap) >= 0.5
        hits = near & (made["labels"][i, :n] == truth["labels"][i][real, None])
        digits.extend(hits.any(1))
        boxes.extend(hits.any(0))
    return np.mean(digits), np.mean(boxes or [0.0])


trunk = keras_mg.applications.MgNet(
    filters=options.filters, include_top=False, pyramid_outputs=True, input_shape=shape
)
backbone = keras_hub.models.RetinaNetBackbone(
    PyramidBackbone(trunk), 2, 3, use_p5=False, use_fpn_batch_norm=True, image_shape=shape
)
# Upright boxes and square ones, from 10 pixels on, as the digits are.
anchors = keras_hub.layers.AnchorGenerator("xyxy", 2, 3, 2, [1, 2], anchor_size=2.5)
model = keras_hub.models.RetinaNetObjectDetector(
    backbone,
    num_classes=10,
    bounding_box_format="xyxy",
    anchor_generator=anchors,
    use_prediction_head_norm=True,  # without, many units are dead within ten steps
    pre_logits_num_conv_layers=1,
)
# As in RetinaNet's paper: kernels of a fifth of keras-hub's width, and the bias of what is rare for
# the classes, not, as keras-hub 0.32 has it, for the boxes.
for head, rare in ((model.box_head, 0.0), (model.classification_head, -np.log(99))):
    last = head.prediction_layer
    last.kernel.assign(0.2 * last.kernel)
    last.bias.assign(np.full(last.bias.shape, rare))
x, y = draw("train", options.steps * options.batch_size)
test = draw("test", options.test)
rate = keras.optimizers.schedules.CosineDecay(5e-4, options.steps)
model.compile(keras.optimizers.Adam(rate))  # Huber and focal losses
before, _ = found(model, *test)
model.fit(x, y, batch_size=options.batch_size, shuffle=False, verbose=2)
after, right = found(model, *test)
print(f"found of the test digits: {before:.3f} before, {after:.3f} after training")
print(f"right of the predicted boxes: {right:.3f}")
