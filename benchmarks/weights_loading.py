"""Loading an MXNet checkpoint against Keras's own loading of the same arrays.

    python -m benchmarks.weights_loading

Both put the 8.7 million numbers (35 MB) of an IGC_L100M2 into a model that is built already. The
arrays are random; the disk's cache is warm for both. The ratio should stay below 2.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import keras
import numpy as np

from benchmarks.timing import measure
from keras_mg import applications, weights
from keras_mg.applications._igc_weights import igc_names


def write_params(model: keras.Model, path: Path) -> None:
    """Write the model's weights as MXNet 1.x would."""
    names = igc_names(model)
    variables = {names[variable.path][0]: variable for variable in model.weights}
    with path.open("wb") as stream:
        stream.write(struct.pack("<QQQ", 0x112, 0, len(variables)))
        for variable in variables.values():
            array = keras.ops.convert_to_numpy(variable)
            array = np.transpose(array, (3, 2, 0, 1) if array.ndim == 4 else None)
            head = struct.pack(f"<IiI{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape)
            stream.write(head + struct.pack("<iii", 1, 0, 0) + array.astype("<f4").tobytes())
        stream.write(struct.pack("<Q", len(variables)))
        for name in variables:
            stream.write(struct.pack("<Q", len(name)) + name.encode())


def main() -> None:
    model = applications.IGC_L100M2()
    with tempfile.TemporaryDirectory() as folder:
        params, h5 = Path(folder, "x.params"), Path(folder, "x.weights.h5")
        write_params(model, params)
        model.save_weights(h5)
        timing = measure(
            "IGC_L100M2",
            {
                "model.load_weights(.weights.h5)": lambda: model.load_weights(h5),
                "weights.load(.weights.h5)": lambda: weights.load(model, h5),
                "weights.load(.params)": lambda: weights.load(model, params),
            },
        )
        print(f"{params.stat().st_size / 1e6:.1f} MB of .params")
    for variant in timing.seconds:
        print(f"{variant:32} {timing.median(variant) * 1e3:7.1f} ms  {timing.ratio(variant):5.2f}")


if __name__ == "__main__":
    main()
