"""What torch's exporter makes of every family stands alone, and takes batches of any size."""

import subprocess
import sys

import keras
import pytest

import keras_mg
from tests.support import tiny

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's exporter"),
    # Of torch about itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # Kernels are stored in another order than torch's packer looks for.
    pytest.mark.filterwarnings("ignore:No complete tensor found"),
]

LOAD = """
import sys
sys.modules["keras_mg"] = sys.modules["keras"] = None
import torch
for path in sys.argv[1:]:
    x, expected = torch.load(path + ".pt")
    outputs = torch.export.load(path).module()(x)
    print(float((outputs - expected).abs().max()))
"""


@pytest.mark.parametrize("deployed", [False, True], ids=["trained", "deployed"])
def test_programs_run_where_keras_mg_is_not_installed(deployed, tmp_path):
    paths = []
    for name in ("seg_pmg", "igc_plain", "mgnet_shared", "resnet_bn_after_add"):
        model = tiny.NETWORKS[name]()
        model = keras_mg.deploy(model) if deployed else model
        model.eval()
        x = torch.rand(5, *model.input_shape[1:], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(x, training=False)
        # Made from another batch than it runs on.
        size = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(model, (x[:3],), dynamic_shapes={"args": ({0: size},)})
        operations = {str(node.target) for node in program.graph.nodes}
        assert not [each for each in operations if "keras_mg" in each or "shuffle" in each], name
        paths.append(str(tmp_path / f"{name}.pt2"))
        torch.export.save(program, paths[-1])
        torch.save((x, expected), paths[-1] + ".pt")
    run = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=True
    )
    differences = dict(zip(paths, map(float, run.stdout.split()), strict=True))
    assert max(differences.values()) <= 2e-5, differences
