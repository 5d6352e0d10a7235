"""Fine-tunes a trained network on other images, and shows what its training is worth.

    python examples/fine_tune.py                          # scikit-learn's digits, no download
    python examples/fine_tune.py --dataset mnist --data-dir DIR   # or fashion_mnist, by tfds in DIR
    python examples/fine_tune.py --samples 1000 --epochs 5        # another budget
    python examples/fine_tune.py --weights FILE           # trained weights of your own
    python examples/fine_tune.py --compile                # compiled on a CPU, too

The trunk of `ResNet20(weights="cifar10")`, whose weights come with the package, gets a new head.
The head is trained first, on the frozen trunk, then all of it. Beside it all of a network with
random weights is trained, on the same images for as many steps. Both are measured on the test
images.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras
import numpy as np

from keras_mg.applications import ResNet20, weights_info
from keras_mg.datasets import load_images

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--dataset", choices=("digits", "mnist", "fashion_mnist"), default="digits")
parser.add_argument(
    "--data-dir",
    help="folder of prepared tensorflow-datasets (default: TFDS_DATA_DIR or "
    "~/tensorflow_datasets; the digits need none)",
)
parser.add_argument("--weights", default="cifar10", help="tag or file (default: cifar10)")
parser.add_argument(
    "--samples", type=int, default=200, help="images to train on, at most (default: 200)"
)
parser.add_argument("--epochs", type=int, default=5, help="of each phase (default: 5)")
parser.add_argument(
    "--compile",
    action="store_const",
    const=True,
    default="auto",
    help="compile the training steps (default: on CUDA, and where it is measured to be faster)",
)
options = parser.parse_args()
CLASSES = 10


def read(split, count=None):
    """Images as the trunk takes them: 32x32 pixels of three colours, normalised."""
    try:
        images, labels = load_images(options.dataset, split, options.data_dir)
    except FileNotFoundError as error:
        parser.error(str(error))
    if count is not None:  # as many of each class
        rank = np.zeros(len(labels), int)
        for label in range(CLASSES):
            rank[labels == label] = np.arange(np.sum(labels == label))
        first = np.argsort(rank, kind="stable")[:count]
        images, labels = images[first], labels[first]
    frame = (32 - images.shape[1]) // 2
    images = np.pad(images, ((0, 0), (frame, frame), (frame, frame), (0, 0)))
    images = images.repeat(3 // images.shape[-1], axis=-1)
    return weights_info("ResNet20", "cifar10").preprocess(images), labels


def fine_tune(weights):
    """Test accuracy after each phase: trunk frozen and all trained; from random weights, all."""
    keras.utils.set_random_seed(0)
    trunk = ResNet20(weights=weights, include_top=False, input_shape=(32, 32, 3), pooling="avg")
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="head")(trunk.output)
    model = keras_mg.Model(trunk.input, outputs)  # whose steps compile; else it is Keras's own
    accuracies = []
    phases = ((False, 1e-2), (True, 1e-3)) if weights else ((True, 1e-3), (True, 1e-3))
    for trainable, rate in phases:
        trunk.trainable = trainable
        # What is trainable is read by `compile`: a change without it would go unnoticed.
        model.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=options.compile,
        )
        model.fit(x, y, batch_size=20, epochs=options.epochs, verbose=0)
        accuracies.append(model.evaluate(x_test, y_test, batch_size=100, verbose=0)[1])
    return accuracies


(x, y), (x_test, y_test) = read("train", options.samples), read("test")
print(
    f"{options.dataset}: {len(x)} images to train on, {len(x_test)} others to test on; "
    f"two phases of {options.epochs} epochs."
)
print(f"{'test accuracy':40}{'first phase':>14}{'second':>14}")
for name, weights in (
    (f"weights={options.weights!r}, trunk frozen first", options.weights),
    ("random weights, all trained", None),
):
    first, second = fine_tune(weights)
    print(f"{name:40}{first:14.3f}{second:14.3f}")
