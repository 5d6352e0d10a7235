"""What HDF5 files of whole models, as Keras 2 wrote them, say of a model's class."""

from __future__ import annotations

import json
import os

import keras

ENDINGS = (".h5", ".hdf5")
CONFIG = "model_config"


def name_package(path: str | os.PathLike, cls: type) -> None:
    """Write the registered name of a saved model's class into its file, where there was its own.

    Keras finds the class by either, and where it does not, its error has the name: with the
    package's. Other files than HDF5 are left as they are.
    """
    if not str(path).endswith(ENDINGS):
        return
    import h5py

    if not h5py.is_hdf5(path):  # what was there, and its owner did not want to lose
        return
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs.get(CONFIG, "{}"))
        if config.get("class_name") == cls.__name__:
            config["class_name"] = keras.saving.get_registered_name(cls)
            file.attrs[CONFIG] = json.dumps(config)
