"""Processes of one training, started as a launcher does."""

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(**more):
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": "torch",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **more,
    }


def _places(count):
    port = str(free_port())
    return [
        {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        for number in range(count)
    ]


def start(count, arguments, folder, roots=None):
    """`count` processes of `python ARGUMENTS`; what they print goes to files in `folder`.

    `roots` are the folders whose code they run, one per process, in place of this one's.
    """
    started = []
    for number, place in enumerate(_places(count)):
        root = roots[number] if roots else ROOT
        with open(Path(folder) / f"printed {number}", "w", encoding="utf-8") as printed:
            started.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    env=environment(**place, PYTHONPATH=str(root)),
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    cwd=root,
                )
            )
    return started


def fork(count, module, arguments, folder):
    """`count` processes of `python -m MODULE ARGUMENTS`, which need not import first."""
    for path in Path(folder).glob("ended *"):
        path.unlink()
    request = {
        "count": count,
        "arguments": [module, *map(str, arguments)],
        "folder": str(folder),
        "environments": _places(count),
    }
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    pids = json.loads(server.stdout.readline())
    return [Forked(pid, Path(folder) / f"ended {i}") for i, pid in enumerate(pids)]


class Forked:
    """What `subprocess.Popen` is, of a process that is the child of another."""

    def __init__(self, pid, path):
        self.pid, self.path = pid, path

    def poll(self):
        return int(self.path.read_text()) if self.path.exists() else None

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(9)


@functools.cache
def _server():
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=ROOT,
    )

    def end():
        server.stdin.close()
        server.wait()
        server.stdout.close()

    atexit.register(end)
    return server


def printed(folder, count):
    texts = (Path(folder) / f"printed {number}" for number in range(count))
    return [path.read_text(encoding="utf-8") for path in texts]


def finish(processes, timeout=900):
    """The exit codes; whoever takes longer is killed."""
    try:
        return [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
