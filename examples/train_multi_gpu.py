"""Trains a network in many processes, on all GPUs of a machine or on several machines.

    torchrun --nproc-per-node=8 examples/train_multi_gpu.py       # one process per GPU
    torchrun --nproc-per-node=2 examples/train_multi_gpu.py       # without GPUs, as a trial
    torchrun --nnodes=4 --nproc-per-node=8 --rdzv-backend=c10d \
        --rdzv-endpoint=HOST:29500 --max-restarts=3 examples/train_multi_gpu.py
    python examples/train_multi_gpu.py                            # one process

The data are scikit-learn's digits, no download. Killed, it goes on from its last checkpoint when
the same command is given again; with `--max-restarts` it does so by itself.
"""

import argparse

import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

# isort: split
import keras

from keras_mg import distribution
from keras_mg.applications import ResNet20, resnet
from keras_mg.datasets import AugmentedImages, SetEpoch, ShiftAndFlip, load_images

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--epochs", type=int, default=5, help="default: 5")
parser.add_argument(
    "--batch-size", type=int, default=64, help="of all processes together (default: 64)"
)
parser.add_argument(
    "--batch-norm",
    choices=("synchronized", "local"),
    default="synchronized",
    help="by the whole batch, or by each process's own rows (default: synchronized)",
)
parser.add_argument("--checkpoints", default="checkpoints", help="folder (default: checkpoints)")
options = parser.parse_args()

# The two lines that one process does not need.
distribution.initialize()
distribution.set_distribution(distribution.DataParallel(batch_norm=options.batch_norm))

keras.utils.set_random_seed(0)
train = AugmentedImages(
    load_images("digits", "train"), resnet.preprocess_input, options.batch_size, ShiftAndFlip(4)
)
test = AugmentedImages(load_images("digits", "test"), resnet.preprocess_input, sampling="sequence")

model = ResNet20(classifier_activation=None)
model.compile(
    keras.optimizers.SGD(0.02, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
checkpoint = keras_mg.training.Checkpoint(options.checkpoints)
model.fit(
    train,
    epochs=options.epochs,
    initial_epoch=checkpoint.saved_epoch,
    shuffle=False,  # each epoch's order is the data's own
    verbose=2,
    callbacks=[SetEpoch(train), checkpoint],
)
loss, accuracy = model.evaluate(test, verbose=0)
if distribution.process_id() == 0:
    print(
        f"{distribution.num_processes()} processes: accuracy {accuracy:.4f} on "
        "images that training did not see"
    )
