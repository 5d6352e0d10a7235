"""Puts a segmentation head on the grids of a classifier and trains both.

    python examples/feature_pyramid.py
    python examples/feature_pyramid.py --filters 64 --steps 3000   # larger and longer

`include_top=False, pyramid_outputs=True` makes any network of `keras_mg.applications` a dict of
feature maps: "P0" has the image's side, "P1" half of it and so on; `RMG34` and `PRMGSeg30`, made
for ImageNet, give "P2" to "P5". The head on them is of the usual kind: coarse levels are enlarged
and added to finer ones, and the finest gives one map per class. The task is to find and name the
digits that are scattered on a canvas.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras

from keras_mg.datasets import ScatteredDigits
from keras_mg.metrics import MeanIU

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--filters", type=int, default=24, help="of MgNet's grids (default: 24)")
parser.add_argument("--steps", type=int, default=800, help="training steps (default: 800)")
parser.add_argument("--batch-size", type=int, default=8, help="canvases per step (default: 8)")
parser.add_argument("--seed", type=int, default=0, help="of weights and canvases (default: 0)")
options = parser.parse_args()

keras.utils.set_random_seed(options.seed)
keras.config.set_image_data_format("channels_last")
shape = (32, 32, 1)
pyramid = keras_mg.applications.MgNet(
    filters=options.filters, include_top=False, pyramid_outputs=True, input_shape=shape
)
image = keras.Input(shape, name="canvas")
levels = pyramid(image)
print("Pyramid:", ", ".join(f"{name} {tuple(x.shape[1:])}" for name, x in levels.items()))

names = sorted(levels)
x = levels[names[-1]]
for name in reversed(names[:-1]):
    x = keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"enlarge_to_{name}")(x)
    lateral = keras.layers.Conv2D(options.filters, 1, name=f"lateral_{name}")(levels[name])
    x = keras.layers.Add(name=f"add_{name}")([x, lateral])
    x = keras_mg.layers.ConvNormActivation(options.filters, name=f"mix_{name}")(x)
# Most pixels are of no digit: the maps start near 0.02.
start = keras.initializers.Constant(-4.0)
maps = keras.layers.Conv2D(10, 1, activation="sigmoid", bias_initializer=start, name="maps")(x)
model = keras_mg.Model(image, maps)

scatter = {"size": 32, "digits_per_canvas": (1, 2), "scale": (1.5, 2.0)}
canvases = options.steps * options.batch_size
train = ScatteredDigits("train", canvases, options.batch_size, seed=options.seed, scatter=scatter)
test = ScatteredDigits("test", 200, 50, seed=options.seed, scatter=scatter)
rate = keras.optimizers.schedules.CosineDecay(4e-3, options.steps)
model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[MeanIU()])
before = model.evaluate(test, verbose=0, return_dict=True)
model.fit(train, epochs=1, verbose=2)
after = model.evaluate(test, verbose=0, return_dict=True)
for name, value in before.items():
    print(f"{name} on the test digits: {value:.4f} before, {after[name]:.4f} after training")
