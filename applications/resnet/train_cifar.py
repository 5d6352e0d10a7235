"""Trains a residual network of the Torch7 study on CIFAR-10 by its published recipe.

Without --data-dir it trains on the digits inside scikit-learn's wheel, offline, and says so. It
writes the model, what each epoch measured and a result to the output folder; the same command,
given again after an interruption, goes on. The model card beside this file has more.
"""

# Before Keras: it picks PyTorch where nobody has chosen a backend.
import keras_mg

# isort: split
from keras_mg.applications import resnet
from keras_mg.recipes import RESNET, RESNET_110, experiment

NETWORKS = {
    name: getattr(keras_mg.applications, name)
    for name in ("ResNet20", "ResNet32", "ResNet44", "ResNet56", "ResNet110")
}
# The study trains on CIFAR-10 alone: the other data sets take its recipe as it stands.
DATASETS = ("cifar10", "cifar100", "svhn", "digits")
DIGITS_EPOCHS = 10


def recipes(network):
    recipe = RESNET_110 if network == "ResNet110" else RESNET
    return dict.fromkeys(DATASETS, recipe)


def main(arguments=None):
    parser = experiment.parser(__doc__, DATASETS, "outputs/resnet")
    add = parser.add_argument
    add("--network", choices=NETWORKS, default="ResNet20", help="default: %(default)s")
    add(
        "--block",
        choices=resnet.BLOCKS,
        default="bn_before_add",
        help="where a block's second batch norm stands (default: %(default)s)",
    )
    add("--no-final-relu", action="store_true", help="blocks end without ReLU after the sum")
    options = experiment.parse(parser, arguments)
    run = experiment.prepare(
        parser,
        options,
        recipes(options.network),
        NETWORKS[options.network],
        {"block": options.block, "final_relu": not options.no_final_relu},
        resnet.preprocess_input,
        DIGITS_EPOCHS,
    )
    print(run.opening())
    print(run.closing(run.run()))


if __name__ == "__main__":
    main()
