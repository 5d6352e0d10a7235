"""Two processes train what one trains, row by row of `tests.support.parallel_rows`."""

import warnings

import keras
import numpy as np
import pytest

from tests.support import parallel_rows, processes

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")


def _marked(names):
    slow = parallel_rows.SLOW
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


# Rounding in bfloat16 and float16 is that of other sums.
CLOSE = {"bfloat16": 2e-2, "float16": 2e-3}


def _of_both(folder, names):
    arguments = ["-m", "tests.support.parallel_rows", str(folder), *names]
    codes = processes.finish(processes.start(2, arguments, folder))
    assert codes == [0, 0], "\n".join(processes.printed(folder, 2))
    return folder


@pytest.fixture(scope="module")
def of_quick_rows(tmp_path_factory):
    """What two processes leave behind of all rows but the slow ones: they start once."""
    names = [n for n in (*parallel_rows.ROWS, *parallel_rows.ALIKE) if n not in parallel_rows.SLOW]
    return _of_both(tmp_path_factory.mktemp("rows"), names)


@pytest.fixture(scope="module")
def of_slow_rows(tmp_path_factory):
    return _of_both(tmp_path_factory.mktemp("slow"), parallel_rows.SLOW)


@pytest.fixture
def folder(request):
    name = request.getfixturevalue("name")
    slow = name in parallel_rows.SLOW
    return request.getfixturevalue("of_slow_rows" if slow else "of_quick_rows")


def _result(folder, name, number):
    with np.load(folder / f"{name}, {number}.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", _marked([*parallel_rows.ROWS, *parallel_rows.ALIKE]))
def test_two_processes_are_alike(name, folder):
    one, other = (_result(folder, name, number) for number in range(2))
    assert len(one) > 3
    assert one.keys() == other.keys()
    for key, value in one.items():
        np.testing.assert_array_equal(other[key], value, err_msg=key)


@pytest.mark.parametrize("name", _marked(parallel_rows.ROWS))
def test_two_processes_train_what_one_trains(name, folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        alone = parallel_rows.run(name)
    both = _result(folder, name, 0)
    assert alone.keys() == both.keys()
    for key, value in alone.items():
        if key == "history mine":  # what a step returns is that of its own rows
            continue
        bound = CLOSE.get(name, 1e-6 if key.startswith("weight") else 1e-5)
        np.testing.assert_allclose(both[key], value, rtol=0, atol=bound, err_msg=key)
