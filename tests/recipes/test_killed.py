"""A run that is killed goes on and ends bit for bit as one that is not."""

import json
import random
import signal
import sys

import filelock
import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from tests.support.kill_server import KillServer

if sys.platform == "win32":
    pytest.skip("forks and signals", allow_module_level=True)

LEFT = {
    *("best.keras", "curves.png", "history.csv", "model.keras", "preprocessing.npz"),
    "result.json",
}
FIRST_EPOCH = "checkpoints/epoch-000001-*.safetensors"
SECOND_SAVE = "checkpoints/epoch-000000-step-00000004.safetensors"


@pytest.fixture(scope="module")
def server():
    with KillServer() as server:
        yield server


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """A run that nothing disturbs: its folder and what it took."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run = server.run(folder)
    assert run["status"] == 0, run["said"]
    return folder, run


def files(folder):
    return {path.name for path in folder.iterdir()} - {".lock"}


def state(folder, name):
    model = keras.saving.load_model(folder / name)
    return [*model.get_weights(), *map(keras.ops.convert_to_numpy, model.optimizer.variables)]


def assert_ended_alike(folder, whole):
    assert files(folder) == LEFT
    for name in ("model.keras", "best.keras"):
        for one, other in zip(state(folder, name), state(whole, name), strict=True):
            np.testing.assert_array_equal(one, other)
    assert (folder / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    ours, theirs = (json.loads((f / "result.json").read_text()) for f in (folder, whole))
    for key in ("test", "validation", "best", "history", "recipe", "images"):
        assert ours[key] == theirs[key]


def go_on(server, folder, whole, **request):
    run = server.run(folder, **request)
    assert run["status"] == 0, run["said"]
    assert_ended_alike(folder, whole[0])
    return run["said"]


def kill_at_random(server, folder, whole, rng, times):
    """Kill a run at random moments, the last time that it goes on included."""
    steps = rng.choice([None, 2, 3])
    killed = 0
    for _ in range(times):
        after = rng.uniform(0.05, 1.0) * whole[1]["seconds"]
        killed += server.run(folder, kill_after=after, steps=steps)["status"] == -signal.SIGKILL
    go_on(server, folder, whole, steps=steps)
    return killed


def test_a_run_that_is_killed_twice(server, whole, tmp_path):
    # Each of the two is at another moment in each run of the tests, which the message tells.
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    kill_at_random(server, tmp_path / "run", whole, random.Random(seed), times=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_killed_at_ten_moments(server, whole, tmp_path, seed):
    rng = random.Random(seed)
    killed = sum(
        kill_at_random(server, tmp_path / f"run{i}", whole, rng, times=2) for i in range(5)
    )
    assert killed > 3


@pytest.mark.slow
def test_a_run_that_is_killed_at_each_change_of_the_disk(server, whole, tmp_path):
    steps = 7  # of 13 in an epoch
    calls = server.run(tmp_path / "count", steps=steps)["calls"]
    assert calls > 50
    for at in range(1, calls + 1):
        folder = tmp_path / f"run{at}"
        run = server.run(folder, kill_at=at, steps=steps)
        assert run["status"] == -signal.SIGKILL, at
        finished = folder.exists() and "result.json" in files(folder)
        said = go_on(server, folder, whole, steps=steps)
        assert ("finished" in said) == finished, at


def test_a_run_that_is_killed_inside_an_epoch_goes_on_there(server, whole, tmp_path):
    assert server.run(tmp_path / "run", steps=2, kill_when=SECOND_SAVE)["status"] == -9
    said = go_on(server, tmp_path / "run", whole, steps=3)
    assert "going on after epoch 0 and " in said


def test_a_run_that_is_killed_when_its_result_is_there(server, whole, tmp_path):
    folder = tmp_path / "run"
    assert server.run(folder, kill_when="result.json")["status"] in (-9, 0)
    model = (folder / "model.keras").read_bytes()
    assert "holds this run, finished" in go_on(server, folder, whole)
    assert (folder / "model.keras").read_bytes() == model


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_the_step_that_went_on(server, whole, tmp_path, number, code):
    for attempt in range(8):
        folder = tmp_path / f"run{attempt}"
        run = server.run(folder, kill_when=FIRST_EPOCH, kill_after=0.02, signal=number)
        if run["status"] != 0:  # else it had ended before the signal came
            break
    assert run["status"] == code
    assert "Traceback" not in run["said"]
    last = run["said"].splitlines()[-1]
    assert last.startswith(f"Stopped; {folder} holds the run after epoch ")
    assert last.endswith("the same command goes on from there.")
    place = last.split("after ")[1].split(":")[0]
    assert f"going on after {place}." in go_on(server, folder, whole)


def test_a_full_disk(server, whole, tmp_path):
    folder = tmp_path / "run"
    server.run(folder, kill_when=FIRST_EPOCH)
    before = {path: path.read_bytes() for path in folder.glob("checkpoints/*.safetensors")}
    run = server.run(folder, limit=4000)
    assert run["status"] == 1
    last = run["said"].splitlines()[-1]
    assert "File too large" in last
    assert str(folder) in last
    assert {path: path.read_bytes() for path in before} == before
    assert files(folder) <= {"checkpoints", "history.csv"}  # nothing half written
    go_on(server, folder, whole)


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "text"])
def test_a_damaged_checkpoint(server, whole, tmp_path, how):
    folder = tmp_path / "run"
    server.run(folder, steps=2, kill_when=SECOND_SAVE)
    before, last = sorted(folder.glob("checkpoints/*.safetensors"))[-2:]
    content = bytearray(last.read_bytes())
    content[-5] ^= 4
    damaged = {"flipped": content, "cut": content[:-9], "empty": b"", "text": b"[]"}
    last.write_bytes(damaged[how])
    epoch, step = (int(word) for word in before.stem.split("-")[1::2])
    assert f"after epoch {epoch} and {step} steps" in go_on(server, folder, whole)


def test_the_second_run_in_a_folder_is_refused(server, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with filelock.FileLock(folder / ".lock"):
        run = server.run(folder)
        assert run["status"] == 1
        last = run["said"].splitlines()[-1]
        assert f"Another run writes to {folder}: wait until it ends, or give another" in last
    assert files(folder) == set()
