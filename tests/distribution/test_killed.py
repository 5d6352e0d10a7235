"""A process that is killed: torchrun starts all again, and they end as if nothing had happened."""

import random
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.support import processes
from tests.support.parallel_killed import EPOCHS, STEPS

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="for torch"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.slow,
]


def train(folder, restarts, *pairs):
    """The exit code of torchrun, and what was printed."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", f"--max-restarts={restarts}"]
    command += ["-m", "tests.support.parallel_killed", str(folder)]
    command += [str(number) for pair in pairs for number in pair]
    done = subprocess.run(
        command,
        env=processes.environment(),
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, said = train(folder, 0)
    assert code == 0, said
    return folder


def assert_ended_alike(folder, whole):
    for number in range(2):
        with np.load(folder / f"{number}.npz") as own, np.load(whole / "0.npz") as other:
            assert own.files == other.files
            for name in own.files:
                np.testing.assert_array_equal(own[name], other[name])


def pairs_of(seed, count=2):
    rng = random.Random(seed)
    return [(rng.randrange(EPOCHS * STEPS), rng.randrange(2)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(2))
def test_killed_it_goes_on_by_itself(seed, whole, tmp_path):
    code, said = train(tmp_path / "run", 3, *pairs_of(seed))
    assert code == 0, said
    assert_ended_alike(tmp_path / "run", whole)


def test_killed_it_goes_on_when_it_is_started_again(whole, tmp_path):
    pairs = pairs_of(5, 1)
    code, said = train(tmp_path / "run", 0, *pairs)
    assert code != 0
    assert "SIGKILL" in said or "Signal 9" in said
    code, said = train(tmp_path / "run", 0, *pairs)
    assert code == 0, said
    assert_ended_alike(tmp_path / "run", whole)
