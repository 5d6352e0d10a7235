"""The composed form of two interleaved group convolutions."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.formulations import Unit  # noqa: E402


def test_a_composed_unit_gives_the_same_numbers():
    unit = Unit("x", 12, 3, 4, 5)
    x = torch.randn(2, 12, 5, 5)
    primary, secondary = torch.randn(12, 4, 3, 3), torch.randn(12, 3, 1, 1)
    composed = torch.nn.functional.conv2d(x, unit.compose(primary, secondary), padding=1)
    torch.testing.assert_close(unit.as_it_runs(x, primary, secondary), composed)
