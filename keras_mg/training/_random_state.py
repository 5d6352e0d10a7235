"""The states of all random generators that a training draws from, as arrays and JSON."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

from keras_mg._private import keras as private_keras


def random_state() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The generators of Python, NumPy, Keras and torch, those of CUDA devices among them.

    Those of the layers are variables of the model.

    Returns:
        `(state, arrays)`: what is no array, in JSON's types, and the arrays by name.
    """
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (what others draw from)
    state = {
        "python": [version, gauss],
        "numpy": [numpy["bit_generator"], numpy["state"]["pos"], numpy["has_gauss"]],
        "numpy_gauss": numpy["gauss"],
    }
    arrays = {
        "python": np.array(words, "uint64"),
        "numpy": np.array(numpy["state"]["key"], "uint32"),
    }
    generator = private_keras.existing_seed_generator()
    if generator is not None:
        arrays["keras"] = np.array(keras.ops.convert_to_numpy(generator.state))
    if keras.backend.backend() == "torch":
        import torch

        arrays["torch"] = torch.get_rng_state().numpy().copy()
        if torch.cuda.is_available():
            for i, each in enumerate(torch.cuda.get_rng_state_all()):
                arrays[f"cuda/{i}"] = each.numpy().copy()
    return state, arrays


def set_random_state(state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Sets the generators to what `random_state` returned."""
    version, gauss = state["python"]
    random.setstate((version, tuple(int(word) for word in arrays["python"]), gauss))
    kind, position, has_gauss = state["numpy"]
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": kind,
            "state": {"key": arrays["numpy"], "pos": position},
            "has_gauss": has_gauss,
            "gauss": state["numpy_gauss"],
        }
    )
    if "keras" in arrays and private_keras.global_seed_generator is not None:
        private_keras.global_seed_generator().state.assign(arrays["keras"])
        # Making the generator, where there was none, has drawn a number.
        random.setstate((version, tuple(int(word) for word in arrays["python"]), gauss))
    if keras.backend.backend() == "torch" and "torch" in arrays:
        import torch

        torch.set_rng_state(torch.from_numpy(arrays["torch"].copy()))
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            if f"cuda/{i}" in arrays:
                torch.cuda.set_rng_state(torch.from_numpy(arrays[f"cuda/{i}"].copy()), i)
