"""A process that trains in children of its own, and kills them: importing Keras once is enough.

It reads one request per line, a JSON object, and answers with one. See `KillServer`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What changes the disk. A kill between two of these is one before the second.
CALLS = ("fsync", "mkdir", "replace", "rename", "rmdir", "unlink")


class KillServer:
    """The process, seen from a test.

    Example:
        with KillServer() as server:
            server.run(folder, kill_after=0.5)["status"] == -9
            server.run(folder)["status"] == 0
    """

    def __enter__(self):
        environment = {
            **os.environ,
            "KERAS_BACKEND": "torch",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.kill_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, folder, **request):
        """Train in a child.

        Args:
            folder: the output folder.
            kill_after: seconds until SIGKILL, or another `signal`, or None.
            kill_when: likewise, as soon as there is a file of this pattern in the folder.
            kill_at: the call of `CALLS`, counted from 1, before which the child kills itself.
            steps: `save_every_steps`.
            limit: the largest file that the child may write, in bytes.

        Returns:
            `status`, as of `subprocess`; `calls`, how many there were; `seconds`; `said`.
        """
        self._process.stdin.write(json.dumps({"folder": str(folder), **request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        answer["said"] = Path(f"{folder}.out").read_text()
        return answer


def _serve():
    import dataclasses
    from functools import partial

    import keras
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401 (the runs would each import it)

    from keras_mg.datasets import Images, MeanImage
    from keras_mg.datasets.images import load_images
    from keras_mg.recipes import data, get_recipe

    digits = {split: load_images("digits", split) for split in ("train", "test")}
    few = {split: Images(*(part[:120] for part in each)) for split, each in digits.items()}
    data.load_images = lambda dataset, split, data_dir: few[split]

    def network(**options):
        x = keras.Input((32, 32, 3))
        y = keras.layers.Conv2D(4, 5, 4, use_bias=False)(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        y = keras.layers.Dropout(0.2)(keras.layers.Flatten()(y))
        return keras.Model(x, keras.layers.Dense(10)(y), name="small")

    recipe = get_recipe("igc-resnet-digits").shortened(3)
    recipe = recipe.changed({"data.preprocessing": MeanImage(), "batch_size": 8})
    recipe = dataclasses.replace(recipe, network=partial(network), restarts_velocity=True)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        readable, writable = os.pipe()
        child = os.fork()
        if not child:
            os.close(readable)
            _train(recipe, request, writable)
        os.close(writable)
        if "kill_after" in request or "kill_when" in request:
            pattern = request.get("kill_when")
            while pattern and not list(Path(request["folder"]).glob(pattern)):
                if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break  # it has ended without making such a file
                time.sleep(0.002)
            time.sleep(request.get("kill_after", 0))
            os.kill(child, request.get("signal", signal.SIGKILL))
        _, status = os.waitpid(child, 0)
        with os.fdopen(readable) as pipe:
            calls = pipe.read()
        answer = {
            "status": os.waitstatus_to_exitcode(status),
            "calls": int(calls) if calls else None,
            "seconds": time.monotonic() - begun,
        }
        print(json.dumps(answer), flush=True)


def _train(recipe, request, answers):
    """Run in a child, which it ends."""
    import resource
    import traceback

    from keras_mg.recipes import RunStopped, train

    status, calls = 1, 0
    output = os.open(f"{request['folder']}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    if request.get("limit") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], resource.RLIM_INFINITY))

    def counting(call):
        def counted(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == request.get("kill_at"):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))
    try:
        train(
            recipe,
            request["folder"],
            verbose=0,
            validation_fraction=0.2,
            save_every_steps=request.get("steps"),
            report=print,
        )
        status = 0
    except RunStopped as stopped:
        print(stopped)
        status = 128 + stopped.number
    except BaseException:
        if request.get("limit") is not None:  # of the run; what is said of it may be longer
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        traceback.print_exc()
    sys.stdout.flush()
    os.write(answers, str(calls).encode())
    os._exit(status)


if __name__ == "__main__":
    _serve()
