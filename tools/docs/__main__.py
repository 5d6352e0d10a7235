"""Builds the site into build/docs/site; `make docs` installs what it needs and runs it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.docs import browser, checks, notebooks, pages, staging

BUILD = staging.ROOT / "build" / "docs"


def write_sources(folder: Path, cache: Path) -> None:
    """Write all sources of the site into an empty folder."""
    steps = [
        ("pages of the repository", lambda: staging.stage(folder)),
        ("pages of the interface", lambda: pages.write_interface(folder)),
        ("table of recipes", lambda: pages.write_recipes(folder)),
        ("pictures of grids", lambda: pages.write_grids(folder)),
        ("table of networks", lambda: pages.refresh_networks(folder)),
        *(
            (f"notebook {path.stem}", lambda path=path: notebooks.write_page(path, folder))
            for path in notebooks.all_of_them()
        ),
        ("network for the browser", lambda: browser.write(folder, cache)),
    ]
    for words, step in steps:
        start = time.perf_counter()
        step()
        print(f"{words}: {time.perf_counter() - start:.1f} s", flush=True)


def build() -> list[str]:
    """Build the site, and return what is wrong with it."""
    source, site = BUILD / "source", BUILD / "site"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    write_sources(source, BUILD / "npm")
    # Told to be quiet, mkdocs does not count the warnings that it does not print.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    subprocess.run(
        [*command, "--config-file", str(staging.ROOT / "mkdocs.yml")],
        check=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    return checks.problems(site)


def main() -> None:
    """Build, check, and say where the site is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        found = build()
    except browser.FetchError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    if found:
        sys.exit("\n".join(["The site is built, but:", *found]))
    print(f"The site is in {BUILD / 'site'}. To read it with the network in the browser:")
    print(f"  python -m http.server --directory {BUILD / 'site'}")


if __name__ == "__main__":
    main()
