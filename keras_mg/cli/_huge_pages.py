"""Training in huge pages: on a Linux CPU the kernel's zeroing of fresh small ones costs time.

The C library reads its settings once, when a process starts. The command therefore starts itself
anew, in the same process, before it has imported anything that is large.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from keras_mg._command import is_command
from keras_mg.cli._processes import is_first
from keras_mg.cli._shared import say

VARIABLE = "GLIBC_TUNABLES"
# Huge pages where the kernel lets a program ask for them; and memory that is freed stays with the
# process, up to 8 GiB, so that the next step needs no fresh pages.
TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        f"glibc.malloc.mmap_threshold={32 * 2**20}",
        f"glibc.malloc.trim_threshold={8 * 2**30}",
        f"glibc.malloc.top_pad={256 * 2**20}",
    )
)
OLDEST_GLIBC = (2, 35)  # the first with `glibc.malloc.hugetlb`
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_GPU = Path("/dev/nvidiactl")


def use() -> None:
    """Start this command anew with the settings, where they help and nobody has chosen others."""
    if not is_command() or not helps(os.environ):
        return
    if is_first():
        say(f"Memory in huge pages ({VARIABLE}); --no-huge-pages leaves it as it is.")
    os.environ[VARIABLE] = TUNABLES
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def helps(environment: Mapping[str, str]) -> bool:
    """Whether this machine has huge pages to ask for, trains on a CPU, and nothing is set yet."""
    if VARIABLE in environment or _GPU.exists():
        return False
    try:
        allowed = "[never]" not in _SWITCH.read_text(encoding="ascii")
    except OSError:  # not Linux, or without them
        return False
    return allowed and _glibc() >= OLDEST_GLIBC


def _glibc() -> tuple[int, ...]:
    name, version = platform.libc_ver()
    parts = version.split(".")
    known = name == "glibc" and all(part.isdecimal() for part in parts)
    return tuple(map(int, parts)) if known else ()
