"""`keras-mg train` in huge pages: where it starts itself anew, and that the C library obeys."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from keras_mg.cli import _huge_pages, main

RECIPE = ["train", "no-such-recipe"]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine where huge pages help; gives the file of its kernel's switch."""
    switch = tmp_path / "enabled"
    switch.write_text("always [madvise] never\n", encoding="ascii")
    monkeypatch.setattr(_huge_pages, "_SWITCH", switch)
    monkeypatch.setattr(_huge_pages, "_GPU", tmp_path / "none")
    monkeypatch.setattr(_huge_pages.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.delenv(_huge_pages.VARIABLE, raising=False)
    return switch


def test_where_they_help(machine):
    assert _huge_pages.helps({})


@pytest.mark.parametrize("version", [("glibc", "2.34"), ("", ""), ("musl", "1.2"), ("glibc", "x")])
def test_an_older_or_another_c_library(machine, monkeypatch, version):
    monkeypatch.setattr(_huge_pages.platform, "libc_ver", lambda: version)
    assert not _huge_pages.helps({})


def test_where_the_kernel_gives_none(machine):
    machine.write_text("always madvise [never]\n", encoding="ascii")
    assert not _huge_pages.helps({})
    machine.unlink()
    assert not _huge_pages.helps({})


def test_what_the_user_has_set_stays(machine):
    assert not _huge_pages.helps({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"})


def test_on_a_gpu_nothing_is_changed(machine, monkeypatch, tmp_path):
    gpu = tmp_path / "nvidiactl"
    gpu.touch()
    monkeypatch.setattr(_huge_pages, "_GPU", gpu)
    assert not _huge_pages.helps({})


@pytest.fixture
def started(machine, monkeypatch):
    """The programs that the command becomes, where it is the process's own."""
    commands = []

    def become(program, words):
        commands.append((program, words, os.environ.get("GLIBC_TUNABLES")))
        raise SystemExit(0)  # it does not return

    monkeypatch.setattr(_huge_pages.os, "execv", become)
    monkeypatch.setattr(_huge_pages, "is_command", lambda: True)
    # `use` writes to the environment: what it wrote goes with the test.
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.delenv("GLIBC_TUNABLES")
    return commands


def test_the_command_starts_itself_anew(started, monkeypatch, capsys):
    words = ["python3", "-m", "keras_mg", *RECIPE]
    monkeypatch.setattr(sys, "orig_argv", words)
    with pytest.raises(SystemExit):
        main(RECIPE)
    assert started == [(sys.executable, [sys.executable, *words[1:]], _huge_pages.TUNABLES)]
    assert "--no-huge-pages" in capsys.readouterr().out


def test_not_where_it_was_asked_not_to(started):
    assert main([*RECIPE, "--no-huge-pages"]) == 2
    assert not started


def test_not_in_the_process_of_another_program(started, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(_huge_pages.os, "execv", lambda *_: pytest.fail("replaced the process"))
    assert main(RECIPE) == 2


@pytest.mark.parametrize("asked", [True, False])
def test_the_process_of_the_module_starts_itself_anew(asked):
    """`python -m keras_mg`, as torchrun starts it: two starts of one process, the second with
    settings."""
    if not _huge_pages.helps({}):
        pytest.skip("no huge pages on this machine")
    environment = {k: v for k, v in os.environ.items() if k != _huge_pages.VARIABLE}
    words = [*RECIPE] if asked else [*RECIPE, "--no-huge-pages"]
    done = subprocess.run(
        [sys.executable, "-m", "keras_mg", *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout.count("Memory in huge pages") == asked
    assert "no-such-recipe" in done.stderr


def test_the_names_are_those_of_the_c_library():
    """The dynamic linker lists its settings; a name that it does not know it ignores silently."""
    linker = "/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(linker) or _huge_pages._glibc() < _huge_pages.OLDEST_GLIBC:
        pytest.skip("another C library, or an older one")
    environment = {**os.environ, "GLIBC_TUNABLES": _huge_pages.TUNABLES}
    listed = subprocess.run(
        [linker, "--list-tunables"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.split(" (")[0].split(": ") for line in listed.splitlines() if ": " in line)
    for setting in _huge_pages.TUNABLES.split(":"):
        name, wanted = setting.split("=")
        assert int(values[name], 16 if values[name].startswith("0x") else 10) == int(wanted), name
