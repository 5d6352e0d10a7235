"""Processes of one training, started as a launcher does."""

import os
import socket
import subprocess
import sys
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


def start(count, arguments, folder, roots=None, **more):
    """`count` processes of `python ARGUMENTS`; what they print goes to files in `folder`.

    `roots` are the folders whose code they run, one per process, in place of this one's.
    """
    port = str(free_port())
    processes = []
    for number in range(count):
        place = {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        root = {"PYTHONPATH": str(roots[number])} if roots else {}
        with open(Path(folder) / f"printed {number}", "w", encoding="utf-8") as printed:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    env=environment(**place, **root, **more),
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    cwd=roots[number] if roots else ROOT,
                )
            )
    return processes


def printed(folder, count):
    texts = (Path(folder) / f"printed {number}" for number in range(count))
    return [path.read_text(encoding="utf-8") for path in texts]


def finish(processes, timeout=240):
    """The exit codes; whoever takes longer is killed."""
    try:
        return [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
