"""Tiny networks of every family give the outputs that are stored, on every backend.

`test_zoo.py` proves the networks against independent versions; what is stored here holds later
changes, other versions of the backends and the other backend to the same numbers.
"""

from pathlib import Path

import numpy as np
import pytest

from keras_mg.applications._records import NETWORKS
from tests.support import tiny
from tests.support.jax_process import run_on_jax

TOLERANCE = 2e-5
ROOT = Path(__file__).resolve().parents[2]


def test_every_family_is_there():
    prefixes = {
        "multigrid": "multigrid_segmentation_b",
        "multigrid baseline": "baseline_vgg",
        "dense multigrid": "seg_umg",
        "interleaved group convolutions": "igc_plain",
        "MgNet": "mgnet_shared",
        "Torch residual network": "resnet_bn_before_add",
        "attribute network": "attributes",
    }
    assert set(prefixes) == {record.family for record in NETWORKS.values()}
    assert set(prefixes.values()) <= set(tiny.NETWORKS)
    files = sorted(tiny.FOLDER.glob("*"))
    assert [file.stem for file in files] == sorted(tiny.NETWORKS)
    assert sum(file.stat().st_size for file in files) < 200_000


@pytest.mark.parametrize("name", tiny.NETWORKS)
def test_the_stored_output(name):
    image, stored = tiny.load(name)
    _, made = tiny.output(name, image)
    assert tiny.difference(made, stored) <= TOLERANCE
    # The number would not show a network that gives the same whatever it sees.
    assert np.ptp(stored, axis=0).max() > 1e-3 * np.abs(stored).max()


def test_the_comparison_sees_a_difference():
    image, stored = tiny.load("igc_plain")
    image[0, 0, 0, 0] += 1 / 64
    assert tiny.difference(tiny.output("igc_plain", image)[1], stored) > TOLERANCE


def test_jax_gives_the_stored_outputs():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import keras\n"
        "from tests.support import tiny\n"
        "print(keras.backend.backend())\n"
        "for name, difference in tiny.differences(): print(name, difference)\n"
    )
    backend, *lines = run_on_jax(code, ROOT).split("\n")
    assert backend == "jax"
    measured = {name: float(value) for name, value in map(str.split, lines)}
    assert set(measured) == set(tiny.NETWORKS)
    assert max(measured.values()) <= TOLERANCE, measured
