from benchmarks.weights_loading import write_params
from keras_mg.applications import IGCPlain
from tests.weights.small_nets import assert_equal, randomize, values


def test_the_file_holds_the_models_weights(tmp_path):
    model = randomize(IGCPlain(8, 8, 2))
    write_params(model, tmp_path / "x.params")
    assert_equal(IGCPlain(8, 8, 2, weights=tmp_path / "x.params"), values(model))
