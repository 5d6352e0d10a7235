"""Trains a multigrid network to find and name handwritten digits scattered on a canvas.

The data are real (the digits inside scikit-learn's wheel) and nothing is downloaded. The digits are
split into those for training and those for the test; each training step sees new canvases; the test
canvases show only digits that the network has never seen. The script trains, measures the mean IU,
saves the model, loads it back, predicts with the loaded model and draws what it saw:

    OUTPUT_DIR/segmentation.png     inputs, true maps, predicted maps
    OUTPUT_DIR/model.keras          the trained model
    OUTPUT_DIR/results.json         what was measured, on what, with which settings

Files of these names from an earlier run are replaced, each in one step, after training.
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path

# Before Keras: it picks PyTorch where nobody has chosen a backend.
import keras_mg

# isort: split
import keras
import numpy as np

from keras_mg.applications import SegPMG
from keras_mg.datasets import ScatteredDigits
from keras_mg.metrics import MeanIU
from keras_mg.visualization import plot_segmentation

CLASSES = 10
BATCH_SIZE = 8  # canvases per step
PEAK_LEARNING_RATE = 1e-2  # of AdamW, reached after the warm-up
WARM_UP = 0.05  # fraction of all steps
# What the last batch norm's shift starts at. About 1.5% of the pixels of a map belong to its digit,
# and sigmoid(-4) is 1.8%: the network starts from "nothing here" instead of having to learn it.
OUTPUT_BIAS = -4.0
VALIDATION_CANVASES = 104
TEST_CANVASES = 500
SHOWN = 8  # the first of the test canvases, not the best
MAX_DIFFERENCE = 1e-6  # between the maps of the trained and of the loaded model
LEARNED = 0.5  # mean IU
FILES = ("segmentation.png", "model.keras", "results.json")


def pmg_small() -> keras.Model:
    """P-MG with 16 channels on each of its four grids."""
    return SegPMG(outputs=CLASSES, filters=(16, 16, 16, 16), output_bias=OUTPUT_BIAS)


def pmg_paper() -> keras.Model:
    """P-MG with the published widths: nine times the arithmetic."""
    return SegPMG(outputs=CLASSES, filters=(64, 32, 16, 8), output_bias=OUTPUT_BIAS)


def unet() -> keras.Model:
    """A plain U-Net of as many multiply-accumulates as `pmg-small`, to compare with."""
    widths = (24, 48, 96, 192)
    layers = keras.layers

    def unit(x, filters, kernel_size=3, activation="relu", output_bias=0.0):
        x = layers.Conv2D(filters, kernel_size, padding="same", kernel_initializer="he_normal")(x)
        shift = keras.initializers.Constant(output_bias)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, beta_initializer=shift)(x)
        return layers.Activation(activation)(x)

    inputs = keras.Input((64, 64, 1))
    x, skips = unit(inputs, widths[0]), []
    for width in widths[1:]:
        skips.append(x)
        x = unit(layers.MaxPooling2D()(x), width)
    for width, skip in zip(widths[-2::-1], reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-3)(x))
        x = unit(layers.Concatenate()([skip, x]), width)
    return keras.Model(inputs, unit(x, CLASSES, 1, "sigmoid", OUTPUT_BIAS), name="unet")


NETWORKS = {"pmg-small": pmg_small, "pmg-paper": pmg_paper, "unet": unet}


class Parser(argparse.ArgumentParser):
    """Ends with one line that names the mistake, without the usage text around it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help lists the arguments)\n")


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}")
    return value


def seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to 4294967295. Received: {text!r}"
        )
    return value


def parse_arguments(arguments=None) -> argparse.Namespace:
    networks = "\n".join(f"  {name:10} {f.__doc__}" for name, f in NETWORKS.items())
    parser = Parser(
        description=__doc__,
        epilog=f"networks:\n{networks}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--network", choices=NETWORKS, default="pmg-small", help="see below (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=positive, default=10, help="default: %(default)s")
    parser.add_argument(
        "--steps",
        type=positive,
        default=250,
        help=f"training steps per epoch, of {BATCH_SIZE} new canvases each (default: %(default)s)",
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("demo_output"), help="default: %(default)s"
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="of the initial weights and the training canvases; the split of the digits and the "
        "test canvases are the same for every seed (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    # Whatever would stop the script after minutes of training has to stop it now.
    for module, package in (("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")):
        if importlib.util.find_spec(module) is None:
            parser.error(f'{package} is not installed: pip install "keras-mg[data]"')
    try:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.output_dir):
            pass
    except OSError as error:
        parser.error(f"argument --output-dir: cannot write to {options.output_dir}: {error}")
    for name in FILES:
        if (options.output_dir / name).is_dir():
            parser.error(f"argument --output-dir: {options.output_dir / name} is a directory")
    return options


def learning_rate(steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A straight line up to the peak, then half a cosine down to zero at the last step."""
    warm_up = max(1, round(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=PEAK_LEARNING_RATE, warmup_steps=warm_up
    )


def save_and_load(model: keras.Model, path: Path) -> keras.Model:
    """Saves to a neighbouring file, loads that, and puts it in place only if it can be loaded."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.keras")
    try:
        model.save(temporary)
        loaded = keras.saving.load_model(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return loaded


def write_json(path: Path, content: dict) -> None:
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.json")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments=None) -> None:
    options = parse_arguments(arguments)
    begun = time.perf_counter()
    folder = options.output_dir
    earlier = [name for name in FILES if (folder / name).exists()]
    if earlier:
        print(f"{folder} holds {', '.join(earlier)} of an earlier run: replaced after training.")

    keras.utils.set_random_seed(options.seed)
    steps = options.epochs * options.steps
    train = ScatteredDigits("train", options.steps * BATCH_SIZE, BATCH_SIZE, seed=options.seed)
    # Always of seed 0, so that runs with different seeds are measured on the same canvases.
    validation = ScatteredDigits("validation", VALIDATION_CANVASES, BATCH_SIZE)
    test = ScatteredDigits("test", TEST_CANVASES, BATCH_SIZE)
    model = NETWORKS[options.network]()
    print(
        f"{options.network}: {model.count_params():,} parameters. {steps:,} steps of {BATCH_SIZE} "
        f"new canvases, drawn from {len(train.scatterer.digits.labels):,} handwritten digits."
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(learning_rate(steps)),
        loss="binary_crossentropy",
        metrics=[MeanIU()],
    )
    # The coarsest grid that a block drops has been computed for nothing, and its weights get no
    # gradient: P-MG was published so, and its parameter count includes them.
    warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
    model.fit(train, validation_data=validation, epochs=options.epochs)
    trained = time.perf_counter()

    print(f"Test: {TEST_CANVASES} canvases of {len(test.scatterer.digits.labels)} other digits.")
    figures = model.evaluate(test, return_dict=True)
    loaded = save_and_load(model, folder / "model.keras")
    shown = [test[i] for i in range(-(-SHOWN // BATCH_SIZE))]
    inputs, true_maps = (np.concatenate(arrays)[:SHOWN] for arrays in zip(*shown, strict=True))
    maps = loaded.predict(inputs, verbose=0)
    difference = float(np.abs(maps - model.predict(inputs, verbose=0)).max())
    if not difference <= MAX_DIFFERENCE:
        sys.exit(f"The loaded model's maps differ from the trained one's by {difference:g}.")

    mean_iu = figures["mean_iu"]
    picture = plot_segmentation(
        folder / "segmentation.png",
        inputs,
        true_maps,
        maps,
        title=f"Handwritten digits never seen in training: the first {SHOWN} of {TEST_CANVASES} "
        f"test canvases\n{options.network}: mean IU {mean_iu:.3f} over all {TEST_CANVASES}",
    )
    write_json(
        folder / "results.json",
        {
            "network": options.network,
            "parameters": model.count_params(),
            "mean_iu": mean_iu,
            "test_loss": figures["loss"],
            "test_canvases": TEST_CANVASES,
            "epochs": options.epochs,
            "steps_per_epoch": options.steps,
            "batch_size": BATCH_SIZE,
            "seed": options.seed,
            "training_seconds": round(trained - begun, 1),
            "total_seconds": round(time.perf_counter() - begun, 1),
            "difference_after_reload": difference,
            "versions": {
                "keras_mg": keras_mg.__version__,
                "keras": keras.__version__,
                "backend": keras.backend.backend(),
                "python": platform.python_version(),
            },
        },
    )
    report(options, mean_iu, difference, time.perf_counter() - begun, picture)


def _shown(path) -> str:
    """A path as short as it can be typed from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def report(options, mean_iu: float, difference: float, seconds: float, picture: Path) -> None:
    # The interpreter that has keras_mg, which need not be the one that `python` finds.
    script = f"{_shown(sys.executable)} {_shown(__file__)}"
    example = _shown(Path(__file__).parents[2] / "examples" / "fine_tune.py")
    verdict = (
        "This shows that the network learns and works, not that it beats others."
        if mean_iu >= LEARNED
        else f"Below {LEARNED} the network has not learned the task yet: give it more --epochs."
    )
    print(
        f"""
Mean IU {mean_iu:.3f} on {TEST_CANVASES} canvases of digits never seen in training, in \
{seconds:.0f} s all told.
The saved model, loaded back, predicts the same maps (largest difference {difference:g}).
{verdict}

  picture  {picture.resolve()}
  model    {(options.output_dir / "model.keras").resolve()}

Try next:
  {script} --network unet --output-dir unet_output
      a plain U-Net of as much arithmetic, on the same canvases
  {script} --epochs 40 --output-dir long_output
      longer training; --network pmg-paper takes the published widths
  {_shown(sys.executable)} {example}
      a feature extractor of this library under a head of your own"""
    )


if __name__ == "__main__":
    main()
