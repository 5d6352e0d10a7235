"""Two processes train what one trains, row by row of `tests.support.parallel_rows`.

Each test starts the processes once, for all its rows, and is one test: tests of one file may run in
several workers, and each of these would start them.
"""

import shutil
import warnings

import keras
import numpy as np
import pytest

from tests.support import parallel_events, parallel_rows, processes
from tests.support.parallel_rows import ALIKE, ROWS, SLOW

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch")

# Rounding in bfloat16 and float16 is that of other sums. In float64 there is none to speak of, so
# that all that differs is a fault.
CLOSE = {"bfloat16": 2e-2, "float16": 2e-3}
WEIGHTS_CLOSE = {"float64": 1e-13, "digits": 1e-12}


def run(folder, names, count=2, *, events=False, timeout=900):
    """Train the rows in several processes; what they printed."""
    module = "tests.support.parallel_events" if events else "tests.support.parallel_rows"
    codes = processes.finish(processes.fork(count, module, [folder, *names], folder), timeout)
    printed = processes.printed(folder, count)
    assert codes == [0] * count, "\n".join(printed)
    return printed


def result(folder, name, number):
    with np.load(folder / f"{name}, {number}.npz") as file:
        return dict(file)


def problems_of(folder, name, count=2):
    """Where processes differ from each other, or from one process that trains alone."""
    own = result(folder, name, 0)
    assert len(own) > 3
    problems, largest = [], {"weight": 0.0, "": 0.0}
    for number in range(1, count):
        other = result(folder, name, number)
        assert own.keys() == other.keys()
        problems += [
            f"{name}: {key} of process {number} is another"
            for key in own
            if not np.array_equal(own[key], other[key])
        ]
    if name in ALIKE:
        return problems
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        alone = parallel_rows.run(name)
    assert alone.keys() == own.keys()
    for key, value in alone.items():
        # What a step returns is that of its own rows, and uneven batches are measured by nobody.
        if key in ("history mine", "forms"):
            continue
        bound = CLOSE.get(name, 1e-5)
        if key.startswith("weight"):
            bound = CLOSE.get(name, WEIGHTS_CLOSE.get(name, 1e-6))
        difference = np.abs(own[key].astype("float64") - value).max()
        kind = "weight" if key.startswith("weight") else ""
        largest[kind] = max(largest[kind], difference)
        if not difference <= bound:
            problems.append(f"{name}: {key} is {difference:.1e} from that of one process")
    # `pytest -rP` shows it.
    print(f"{name}: {count} processes, weights {largest['weight']:.1e}, others {largest['']:.1e}")
    return problems


def test_two_processes_train_what_one_trains_and_what_happens_beside(tmp_path):
    names = [name for name in (*ROWS, *ALIKE) if name not in SLOW]
    printed = run(tmp_path, names, events=True)
    for event in parallel_events.EVENTS:
        assert all(f"{event.__name__}: " in text for text in printed)
    problems = [line for name in names for line in problems_of(tmp_path, name)]
    assert not problems, "\n".join(problems)


def test_other_code_is_refused_a_group_of_ones_own_extended_and_a_fault_ends_all(tmp_path):
    other = tmp_path / "other"
    left_out = shutil.ignore_patterns("__pycache__", "files")
    shutil.copytree(processes.ROOT / "keras_mg", other / "keras_mg", ignore=left_out)
    (other / "tests").symlink_to(processes.ROOT / "tests")
    with open(other / "keras_mg" / "training" / "prefetch.py", "a") as file:
        file.write("# changed")
    roots = [processes.ROOT, other]
    arguments = ["-m", "tests.support.parallel_other_code", str(tmp_path)]
    codes = processes.finish(processes.start(2, arguments, tmp_path, roots))
    printed = processes.printed(tmp_path, 2)
    assert codes == [1, 1], "\n".join(printed)
    problems = problems_of(tmp_path, "uneven")
    assert not problems, "\n".join(problems)
    # The group is not ours, and nor is how long it waits.
    assert "ProcessLostError: Process 0 of 2 has lost another one" in printed[0]
    assert "answered for longer than its group allows" in printed[0]
    assert "LookupError: a fault of the second" in printed[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")  # what inductor imports
def test_likewise_where_more_is_captured(tmp_path):
    run(tmp_path, SLOW, timeout=1800)
    problems = [line for name in SLOW for line in problems_of(tmp_path, name)]
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
def test_likewise_four_processes(tmp_path):
    names = ["sgd", "uneven", "no row for some", "adam", "clipping", "accumulation"]
    names += ["frozen and released", "own step", "DataLoader", "PyDataset", *parallel_rows.TFDS]
    names += ["captured", "captured, uneven", "inductor"]
    run(tmp_path, names, 4, timeout=1800)
    problems = [line for name in names for line in problems_of(tmp_path, name, 4)]
    assert not problems, "\n".join(problems)
