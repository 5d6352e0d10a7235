"""A process that has imported everything, and forks those that train: importing takes longest.

It reads one request per line, a JSON object, and answers each with the ids of the processes; how
one of them ended it writes to a file. See `tests.support.processes`.
"""

import json
import os
import runpy
import select
import signal
import sys
import traceback
from pathlib import Path


def _serve():
    import pytest  # noqa: F401
    import torch._dynamo
    import torch._functorch.aot_autograd  # noqa: F401

    import tests.support.parallel_rows  # noqa: F401

    running = {}  # the file of each process
    while True:
        ready, _, _ = select.select([0], [], [], 0.02)
        if ready:
            line = sys.stdin.readline()
            if not line:
                break
            request = json.loads(line)
            pids = [_start(request, number) for number in range(request["count"])]
            for number, pid in enumerate(pids):
                running[pid] = Path(request["folder"]) / f"ended {number}"
            print(json.dumps(pids), flush=True)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                path = running.pop(pid)
                if path.parent.is_dir():
                    partial = path.with_suffix(".partial")
                    partial.write_text(str(os.waitstatus_to_exitcode(status)))
                    partial.replace(path)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _start(request, number):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        printed = os.open(
            Path(request["folder"]) / f"printed {number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        for stream in (1, 2):
            os.dup2(printed, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request["environments"][number])
        module, *arguments = request["arguments"]
        sys.argv = [module, *arguments]
        sys.modules.pop(module, None)  # it is the program now
        runpy.run_module(module, run_name="__main__")
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
