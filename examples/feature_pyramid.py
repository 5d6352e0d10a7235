"""Puts a segmentation head on the grids of a multigrid classifier and trains both.

    python examples/feature_pyramid.py                  # the grids of MG6, made for 32x32 images
    python examples/feature_pyramid.py --network RMG12  # or of another network

`include_top=False, pyramid_outputs=True` makes a classifier a dict of feature maps, "P0" at the
image's side, "P1" at half of it and so on. The head is of the usual kind: each level becomes 32
channels wide, the coarser ones are enlarged and added to the finer, and the sum of all gives one
map per class. The task is to find and name the digits that are scattered on a canvas.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras

from keras_mg.recipes import MeanIU, ScatteredDigits

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--network", default="MG6", help="its features go into the head")
parser.add_argument("--levels", type=int, default=4, help="how many, the finest first (default: 4)")
parser.add_argument("--steps", type=int, default=150, help="training steps (default: 150)")
parser.add_argument("--batch-size", type=int, default=4, help="canvases per step (default: 4)")
parser.add_argument("--seed", type=int, default=0, help="of weights and canvases (default: 0)")
options = parser.parse_args()
if options.network not in keras_mg.applications.list_models():
    parser.error(f"there is no network {options.network!r}")

keras.utils.set_random_seed(options.seed)
keras.config.set_image_data_format("channels_last")
image = keras.Input((64, 64, 1), name="canvas")
construct = getattr(keras_mg.applications, options.network)
pyramid = construct(include_top=False, pyramid_outputs=True, input_shape=(64, 64, 1))
levels = pyramid(image)
used = sorted(levels)[: options.levels]
print(f"{options.network}: " + ", ".join(f"{k} {tuple(levels[k].shape[1:])}" for k in used))

x = None
for name in reversed(used):
    lateral = keras.layers.Conv2D(32, 1, name=f"lateral_{name}")(levels[name])
    if x is not None:
        x = keras.layers.UpSampling2D(2, name=f"enlarge_to_{name}")(x)
    x = lateral if x is None else keras.layers.Add(name=f"add_{name}")([x, lateral])
x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="mix")(x)
scale = 64 // x.shape[1]
if scale > 1:
    x = keras.layers.UpSampling2D(scale, interpolation="bilinear", name="enlarge")(x)
# Most pixels are empty: the maps start near 0.02.
start = keras.initializers.Constant(-4.0)
maps = keras.layers.Conv2D(10, 1, activation="sigmoid", bias_initializer=start, name="maps")(x)
model = keras_mg.Model(image, maps)

canvases = options.steps * options.batch_size
train = ScatteredDigits("train", canvases, options.batch_size, seed=options.seed)
test = ScatteredDigits("test", 100, 20, seed=options.seed)
rate = keras.optimizers.schedules.CosineDecay(2e-3, options.steps)
model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=[MeanIU()])
before = model.evaluate(test, verbose=0, return_dict=True)
model.fit(train, epochs=1, verbose=2)
after = model.evaluate(test, verbose=0, return_dict=True)
for name, value in before.items():
    print(f"{name} on the test digits: {value:.4f} before, {after[name]:.4f} after training")
