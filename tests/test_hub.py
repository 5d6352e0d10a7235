"""keras-hub's tasks on our trunks; runs where the `hub` extra is installed."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.applications import MgNet, ResNet20, SegPMG
from tests.support.arrays import numpy, randomize

keras_hub = pytest.importorskip("keras_hub")
from keras_mg.hub import PyramidBackbone  # noqa: E402 (needs keras-hub)

pytestmark = [
    # Of keras-hub and what it imports.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # Of Keras about keras-hub's tasks, whose `compile` is their own.
    pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called as part of model loading"),
]
SHAPE = (32, 32, 3)
TRUNK = {"include_top": False, "pyramid_outputs": True, "input_shape": SHAPE}


def trunk(**options):
    return randomize(MgNet((1, 1, 1, 1), filters=8, **TRUNK, **options))


def images(shape=SHAPE):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


def same(one, two):
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def tasks(backbone):
    models = keras_hub.models
    yield models.ImageClassifier(backbone, num_classes=5)
    pyramid = models.RetinaNetBackbone(
        backbone, min_level=2, max_level=4, use_p5=False, image_shape=SHAPE
    )
    yield models.RetinaNetObjectDetector(
        pyramid, num_classes=3, pre_logits_num_conv_layers=1, bounding_box_format="xyxy"
    )
    segmenter = models.DeepLabV3Backbone(
        backbone, "P3", 4, [1, 2], "P1", projection_filters=4, image_shape=SHAPE
    )
    yield models.DeepLabV3ImageSegmenter(segmenter, num_classes=4)


def test_levels_are_the_trunks():
    own = trunk()
    backbone = PyramidBackbone(own)
    assert isinstance(backbone, keras_hub.models.Backbone)
    expected = own(images())
    model = keras.Model(backbone.input, backbone.pyramid_outputs)
    same(model(images()), expected)
    same(backbone(images()), expected["P3"])
    assert len(backbone.weights) == len(own.weights)


@pytest.mark.parametrize("number", range(3), ids=["classifier", "detector", "segmenter"])
def test_tasks_come_back_from_files(number, tmp_path):
    task = list(tasks(PyramidBackbone(trunk())))[number]
    expected = task(images())
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    same(loaded(images()), expected)
    if number:
        levels = loaded.backbone.image_encoder.pyramid_outputs
        assert sorted(levels) == ["P0", "P1", "P2", "P3"]


def pyramid_network(backbone):
    return keras_hub.models.RetinaNetBackbone(
        backbone, min_level=1, max_level=4, use_p5=True, image_shape=SHAPE
    )


def test_a_pyramid_network_reads_the_levels_of_the_trunk(tmp_path):
    own = trunk()
    model = pyramid_network(PyramidBackbone(own))
    read = {name: level for name, level in own(images()).items() if name != "P0"}
    expected = model.feature_pyramid(read)
    # The anchors of a level are those of pixels 2 ** level apart.
    assert {name: x.shape[1] for name, x in expected.items()} == {
        "P1": 16, "P2": 8, "P3": 4, "P4": 2
    }  # fmt: skip
    same(model(images()), expected)
    model.save(tmp_path / "pyramid.keras")
    same(keras.saving.load_model(tmp_path / "pyramid.keras")(images()), expected)


def test_a_detector_learns_and_comes_back_from_a_file(tmp_path):
    detector = list(tasks(PyramidBackbone(trunk())))[1]
    before = [numpy(variable).copy() for variable in detector.backbone.image_encoder.weights]
    detector.compile(keras.optimizers.SGD(0.01))
    boxes = np.tile(np.array([4, 4, 20, 20], "float32"), (2, 1, 1))
    detector.fit(
        images(), {"boxes": boxes, "labels": np.ones((2, 1), "float32")}, shuffle=False, verbose=0
    )
    after = [numpy(variable) for variable in detector.backbone.image_encoder.weights]
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(changed) > 0.9
    detector.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    same(loaded(images()), detector(images()))
    same(loaded.optimizer.variables, detector.optimizer.variables)


@pytest.mark.parametrize("name", ["RMG18", "ResNet20", "SegPRMG"])
def test_a_level_says_how_far_its_pixels_are_apart(name):
    make = getattr(keras_mg.applications, name)
    own = make(include_top=False, pyramid_outputs=True, input_shape=(64, 64, 3))
    for level, x in PyramidBackbone(own).pyramid_outputs.items():
        assert x.shape[1] == 64 / 2 ** int(level[1:])


def test_a_file_is_read_in_a_new_process(tmp_path):
    backbone = PyramidBackbone(trunk())
    backbone.save(tmp_path / "backbone.keras")
    np.save(tmp_path / "x.npy", images())
    code = (
        "import keras_mg.hub, keras, numpy as np\n"
        "m = keras.saving.load_model('backbone.keras')\n"
        "np.save('y.npy', keras.ops.convert_to_numpy(m(np.load('x.npy'))))\n"
        "print(*m.pyramid_outputs)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["P0", "P1", "P2", "P3"]
    same(np.load(tmp_path / "y.npy"), backbone(images()))


def test_presets(tmp_path):
    backbone = PyramidBackbone(trunk())
    backbone.save_to_preset(tmp_path / "preset")
    loaded = keras_hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    assert isinstance(loaded, PyramidBackbone)
    same(loaded(images()), backbone(images()))


@pytest.mark.parametrize("kind", ["deployed", "channels_first", "mixed_bfloat16", "one map"])
def test_other_trunks(kind, tmp_path):
    x = images()
    if kind == "deployed":
        own = keras_mg.deploy(trunk())
    elif kind == "channels_first":
        own = randomize(
            MgNet((1, 1), filters=8, include_top=False, pyramid_outputs=True,
                  input_shape=(3, 32, 32), data_format="channels_first")
        )  # fmt: skip
        x = np.moveaxis(x, 3, 1)
    elif kind == "mixed_bfloat16":
        own = trunk(dtype="mixed_bfloat16")
    else:
        own = randomize(ResNet20(include_top=False, input_shape=SHAPE))
    classifier = keras_hub.models.ImageClassifier(PyramidBackbone(own), num_classes=5)
    expected = classifier(x)
    assert classifier.pooler.data_format == (
        "channels_first" if kind == "channels_first" else "channels_last"
    )
    assert classifier.output_dense.compute_dtype == (
        "bfloat16" if kind == "mixed_bfloat16" else "float32"
    )
    assert (classifier.backbone.pyramid_outputs == {}) == (kind == "one map")
    classifier.save(tmp_path / "m.keras")
    same(keras.saving.load_model(tmp_path / "m.keras")(x), expected)


@pytest.mark.parametrize(
    "make", [lambda: ResNet20(), lambda: ResNet20(include_top=False, pooling="avg")]
)
def test_what_is_no_trunk_is_refused(make):
    with pytest.raises(ValueError, match="include_top=False and pooling=None.*1 input.*shape"):
        PyramidBackbone(make())


def test_a_trunk_of_dense_prediction():
    own = SegPMG(filters=(4, 3, 2, 2), include_top=False, pyramid_outputs=True,
                 input_shape=(32, 32, 1))  # fmt: skip
    assert "P0" in PyramidBackbone(own).pyramid_outputs
