"""Trains MgNet on CIFAR-10, CIFAR-100 or MNIST by its published recipe.

Without --data-dir it trains on the digits inside scikit-learn's wheel, offline, and says so. It
writes the model, what each epoch measured and a result to the output folder; the same command,
given again after an interruption, goes on. The model card beside this file has more.
"""

from functools import partial

# Before Keras: it picks PyTorch where nobody has chosen a backend.
import keras_mg

# isort: split
from keras_mg.applications import mgnet
from keras_mg.recipes import MGNET, experiment

# The data set whose statistics normalise the images. The authors have none for SVHN and the digits.
STATISTICS = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "mnist": "mnist",
    "svhn": "cifar10",
    "digits": "cifar10",
}
FILTERS = 256
DIGITS_FILTERS = 32  # 256 take minutes per epoch on a CPU
DIGITS_EPOCHS = 10


def main(arguments=None):
    parser = experiment.parser(__doc__, tuple(STATISTICS), "outputs/mgnet")
    parser.add_argument(
        "--iterations",
        type=experiment.positive,
        nargs="+",
        default=[2, 2, 2, 2],
        help="smoothing iterations of each grid, finest first (default: 2 2 2 2)",
    )
    parser.add_argument(
        "--filters",
        type=experiment.positive,
        nargs="+",
        help=f"channels of all grids, or of each (default: {FILTERS}; {DIGITS_FILTERS} on digits)",
    )
    parser.add_argument(
        "--own-smoothers",
        action="store_true",
        help="each iteration has its own smoother, B^{l,i} of the papers",
    )
    options = experiment.parse(parser, arguments)
    filters = options.filters or [DIGITS_FILTERS if options.dataset == "digits" else FILTERS]
    run = experiment.prepare(
        parser,
        options,
        dict.fromkeys(STATISTICS, MGNET),
        keras_mg.applications.MgNet,
        {
            "iterations": options.iterations,
            "filters": filters[0] if len(filters) == 1 else filters,
            "share_smoother": not options.own_smoothers,
            "stem": "mnist" if options.dataset == "mnist" else "cifar",
        },
        partial(mgnet.preprocess_input, dataset=STATISTICS[options.dataset]),
        DIGITS_EPOCHS,
    )
    print(run.opening())
    print(run.closing(run.run()))


if __name__ == "__main__":
    main()
