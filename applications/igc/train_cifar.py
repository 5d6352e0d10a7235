"""Trains a network of interleaved group convolutions on CIFAR or SVHN by its published recipe.

Without --data-dir it trains on the digits inside scikit-learn's wheel, offline, and says so. It
writes the model, what each epoch measured and a result to the output folder; the same command,
given again after an interruption, goes on. The model card beside this file has more.
"""

from functools import partial

# Before Keras: it picks PyTorch where nobody has chosen a backend.
import keras_mg

# isort: split
from keras_mg.applications import igc_cifar
from keras_mg.recipes import IGC_CIFAR, IGC_SVHN, experiment

# Network, the depth that the authors' logs have, and whether it is made of IGC blocks.
NETWORKS = {
    "IGCResNet": (20, True),
    "IGCPlain": (38, True),
    "IGCResNetBaseline": (20, False),
    "IGCPlainBaseline": (38, False),
}
RECIPES = {"cifar10": IGC_CIFAR, "cifar100": IGC_CIFAR, "svhn": IGC_SVHN, "digits": IGC_CIFAR}
# The data set whose statistics normalise the images; the digits have none of their own.
STATISTICS = {"cifar10": "cifar10", "cifar100": "cifar100", "svhn": "svhn", "digits": "cifar10"}
PARTITIONS = (24, 2)
WIDTH = 48  # channels: as many as 24 * 2
DIGITS_EPOCHS = 10


def network_arguments(parser, options):
    """The constructor's arguments; those of the other kind of network are an error."""
    depth, interleaved = NETWORKS[options.network]
    partitions = (options.primary_partitions, options.secondary_partitions)
    if interleaved and options.width:
        parser.error(f"argument --width: {options.network} has width L * M; give the partitions")
    if not interleaved and any(partitions):
        parser.error(f"argument --primary/secondary-partitions: {options.network} has a --width")
    own = {"width": options.width or WIDTH}
    if interleaved:
        own = {
            "primary_partitions": partitions[0] or PARTITIONS[0],
            "secondary_partitions": partitions[1] or PARTITIONS[1],
        }
    return {"depth": options.depth or depth, **own}


def main(arguments=None):
    parser = experiment.parser(__doc__, tuple(RECIPES), "outputs/igc")
    add = parser.add_argument
    add("--network", choices=NETWORKS, default="IGCResNet", help="default: %(default)s")
    add("--depth", type=experiment.positive, help="layers (default: 20, plain networks 38)")
    add("--primary-partitions", type=experiment.positive, help="L of IGC networks (default: 24)")
    add("--secondary-partitions", type=experiment.positive, help="M of IGC networks (default: 2)")
    add("--width", type=experiment.positive, help="channels of the baselines (default: 48)")
    options = experiment.parse(parser, arguments)
    run = experiment.prepare(
        parser,
        options,
        RECIPES,
        getattr(keras_mg.applications, options.network),
        network_arguments(parser, options),
        partial(igc_cifar.preprocess_input, dataset=STATISTICS[options.dataset]),
        DIGITS_EPOCHS,
    )
    print(run.opening())
    print(run.closing(run.run()))


if __name__ == "__main__":
    main()
