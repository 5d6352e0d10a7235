"""Fine-tunes a feature extractor: frozen under a new head first, then all of it.

    python examples/fine_tune.py                             # CIFAR-10 if tfds has prepared it,
                                                             # else scikit-learn's digits
    python examples/fine_tune.py --data-dir DIR              # CIFAR-10 prepared by tfds in DIR
    python examples/fine_tune.py --weights FILE.weights.h5   # start from weights of your own
    python examples/fine_tune.py --compile                   # compiled on a CPU, too

Without --weights the extractor starts from random weights, so freezing it shows the steps, not a
gain; with trained weights of an extractor of the same filters the steps are the same.
"""

import argparse
import os
from pathlib import Path

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras
import numpy as np

from keras_mg.applications import MgNet, mgnet
from keras_mg.datasets import split_digits

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument(
    "--data-dir",
    help="tensorflow-datasets folder with a prepared cifar10 (default: TFDS_DATA_DIR or "
    "~/tensorflow_datasets, and the embedded digits if there is none)",
)
parser.add_argument("--weights", help="weights file of the extractor")
parser.add_argument("--filters", type=int, default=32, help="of the extractor (default: 32)")
parser.add_argument("--epochs", type=int, default=3, help="of each phase (default: 3)")
parser.add_argument("--samples", type=int, default=4000, help="images at most (default: 4000)")
parser.add_argument(
    "--compile",
    action="store_const",
    const=True,
    default="auto",
    help="compile the training steps (default: on a CUDA device alone)",
)
options = parser.parse_args()
usual = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
folder = Path(options.data_dir or usual).expanduser()
use_cifar10 = (folder / "cifar10").is_dir()
if options.data_dir and not use_cifar10:
    parser.error(f"argument --data-dir: no prepared cifar10 in {folder}")


def cifar10(split):
    """Reads array_record files; TensorFlow is not needed."""
    import tensorflow_datasets as tfds

    source = tfds.data_source("cifar10", split=split, data_dir=str(folder), download=False)
    rows = [source[i] for i in range(min(options.samples, len(source)))]
    return np.stack([row["image"] for row in rows]), np.array([row["label"] for row in rows])


def digits(split):
    """Each of the 8x8 pixels of ink 0..1 becomes 4x4 pixels of grey 0..255, three channels."""
    images, labels = split_digits()[split]
    images = 255 * images.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
    return images[: options.samples], labels[: options.samples]


read, source = (cifar10, "CIFAR-10") if use_cifar10 else (digits, "the embedded digits")
(x, y), (x_test, y_test) = read("train"), read("test")
x, x_test = (mgnet.preprocess_input(images, dataset="cifar10") for images in (x, x_test))
print(f"Data: {source}, {len(x)} images to train on, {len(x_test)} others to test on.")

keras.utils.set_random_seed(0)
extractor = MgNet(
    filters=options.filters,
    include_top=False,
    input_shape=(32, 32, 3),
    pooling="avg",
    weights=options.weights,
)
outputs = keras.layers.Dense(10, activation="softmax", name="head")(extractor.output)
model = keras_mg.Model(extractor.input, outputs)  # whose steps compile; else it is Keras's own

for trainable, rate in ((False, 1e-2), (True, 1e-3)):
    extractor.trainable = trainable
    # What is trainable is read by `compile`: a change without it would go unnoticed.
    loss = "sparse_categorical_crossentropy"
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=options.compile)
    model.fit(x, y, batch_size=32, epochs=options.epochs)
    accuracy = model.evaluate(x_test, y_test, batch_size=100, verbose=0)[1]
    print(f"Extractor {'trained' if trainable else 'frozen'}: test accuracy {accuracy:.3f}.")
print(f"Fine-tuned on {source} with keras_mg {keras_mg.__version__}.")
