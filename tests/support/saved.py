"""Files that an earlier state of the library wrote, which must load for ever: `FOLDER`.

`python -m tests.support.saved` writes those that are not there. What is there is never written
anew: a file that today's code has made shows nothing about yesterday's.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

import keras_mg
from tests.support import tiny

FOLDER = Path(__file__).resolve().parents[1] / "data" / "saved"
# Of each family, and of each kind of layer in it, one network.
NAMES = (
    "multigrid_progressive",
    "baseline_res",
    "seg_prmg",
    "seg_umg",
    "igc_plain",
    "mgnet_own",
    "resnet_bn_after_add",
)
TRAINED = "mgnet_shared"  # saved with the state of its optimizer
DEPLOYED = "igc_resnet"


def trained():
    """A network after one step of the optimizer that the papers train with."""
    room = keras_mg.training
    model = tiny.fill(tiny.NETWORKS[TRAINED]())
    model.compile(
        room.CoupledSGD(0.25, momentum=0.5, nesterov=True, weight_decay=0.125),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    image, _ = tiny.load(TRAINED)
    model.train_on_batch(image, np.arange(len(image)))
    return model


def write(name, model, image, weights=True):
    model.save(FOLDER / f"{name}.keras")
    if weights:
        model.save_weights(FOLDER / f"{name}.weights.h5")
    np.savez_compressed(FOLDER / f"{name}.npz", image=image, output=model.predict_on_batch(image))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    jobs = {name: lambda name=name: tiny.fill(tiny.NETWORKS[name]()) for name in NAMES}
    jobs[TRAINED] = trained
    jobs["deployed"] = lambda: keras_mg.deploy(tiny.fill(tiny.NETWORKS[DEPLOYED]()))
    for name, make in jobs.items():
        if not (FOLDER / f"{name}.npz").exists():
            image, _ = tiny.load(DEPLOYED if name == "deployed" else name)
            write(name, make(), image, weights=name != "deployed")


if __name__ == "__main__":
    main()
