"""Trains keras-hub's DeepLabV3+ on the grids of an MgNet: finds and names scattered digits.

    pip install "keras-mg[hub]"
    python examples/hub_segmenter.py
    python examples/hub_segmenter.py --filters 32 --steps 2000    # larger and longer

`keras_mg.hub.PyramidBackbone` makes any network of `keras_mg.applications` what keras-hub calls a
feature pyramid backbone. DeepLabV3+ reads two of its levels: the coarse one with pooling over
several distances, the fine one for edges.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras
import keras_hub

from keras_mg.datasets import ScatteredDigits
from keras_mg.hub import PyramidBackbone
from keras_mg.metrics import MeanIU

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
shape = (32, 32, 1)
trunk = keras_mg.applications.MgNet(
    (2, 2, 2), options.filters, include_top=False, pyramid_outputs=True, input_shape=shape
)
backbone = keras_hub.models.DeepLabV3Backbone(
    PyramidBackbone(trunk),
    spatial_pyramid_pooling_key="P2",
    low_level_feature_key="P0",
    upsampling_size=4,
    dilation_rates=[1, 2],
    projection_filters=options.filters,
    image_shape=shape,
)
model = keras_hub.models.DeepLabV3ImageSegmenter(backbone, num_classes=10, activation="sigmoid")

scatter = {"size": 32, "digits_per_canvas": (1, 2), "scale": (1.5, 2.0)}


def draw(split, count):
    """Canvases, and a map per digit: arrays, which keras-hub's `fit` takes on any backend."""
    return ScatteredDigits(split, count, count, seed=options.seed, scatter=scatter)[0]


x, y = draw("train", options.steps * options.batch_size)
x_test, y_test = draw("test", options.test)
rate = keras.optimizers.schedules.CosineDecay(2e-3, options.steps)
model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[MeanIU()])
before = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
model.fit(x, y, batch_size=options.batch_size, shuffle=False, verbose=2)
after = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
for name, value in before.items():
    print(f"{name} on the test digits: {value:.4f} before, {after[name]:.4f} after training")
