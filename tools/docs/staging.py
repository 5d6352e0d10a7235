"""The Markdown files of the repository as the sources of a site.

A page of the site is a Markdown file of the repository, with its links led to where the other pages
stand. What a page links to and is no page itself comes along: examples as pages of code, folders as
lists of their files, pictures and records as they are.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

# Pages that stand elsewhere in the repository than in the site.
PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "results.md",
    "applications/README.md": "cards/index.md",
}

FENCE = re.compile(r"^ *```.*?^ *```[^\n]*$", re.M | re.S)
_WORDS = re.compile(r"^( *```\w+)[ \t]+[^\n]*$", re.M)
_LINK = re.compile(r"(?P<head>!?\[[^\]]*\]\(\s*<?)(?P<target>[^)\s>]+)(?P<tail>>?[^)]*\))")
_IMAGE = re.compile(r'(?P<head><img\b[^>]*\bsrc=")(?P<target>[^"]+)(?P<tail>")')
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:")


def sources() -> list[str]:
    """The pages, as paths in the repository."""
    found = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    found += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("applications/*/README.md")]
    return sorted([*found, *PLACES])


def place(path: str) -> str:
    """Where a file or folder of the repository stands in the site."""
    if (ROOT / path / "README.md").is_file():
        path = f"{path}/README.md"
    pure = PurePosixPath(path)
    if path in PLACES:
        return PLACES[path]
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    if pure.parts[0] == "docs":
        return str(
            PurePosixPath(*pure.parts[1:]).with_suffix(
                ".md" if pure.suffix == ".ipynb" else pure.suffix
            )
        )
    if pure.parts[0] == "applications" and pure.name == "README.md" and len(pure.parts) == 3:
        return f"cards/{pure.parts[1]}.md"
    if pure.parts[0] == "examples" and pure.suffix == ".py":
        return str(pure.with_suffix(".md"))
    # A build leaves files without a suffix, such as LICENSE, to the browser to guess.
    return f"files/{path}" if pure.suffix else f"files/{path}.txt"


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """`text` with everything but its fenced blocks changed."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def targets(text: str) -> Iterator[str]:
    """The relative links of a Markdown text, pictures among them."""
    bare = FENCE.sub("", text)
    for pattern in (_LINK, _IMAGE):
        for match in pattern.finditer(bare):
            if not _ADDRESS.match(match["target"]):
                yield match["target"]


def move_links(text: str, path: str, to: str | None = None) -> tuple[str, set[str]]:
    """A page's text with its links as they have to be in the site.

    Args:
        text: Markdown.
        path: of the page in the repository.
        to: where it stands in the site; by default its place.

    Returns:
        The text, and what it links to, as paths in the repository.
    """
    linked: set[str] = set()
    here = PurePosixPath(to or place(path)).parent

    def moved(match: re.Match) -> str:
        target = match["target"]
        if _ADDRESS.match(target) or target.startswith("#"):
            return match[0]
        name, mark, anchor = target.partition("#")
        file = os.path.normpath((ROOT / path).parent / name)
        there = PurePosixPath(os.path.relpath(file, ROOT)).as_posix()
        if there.startswith("../"):
            raise ValueError(f"{path} links to {target}, which is outside the repository.")
        linked.add(there)
        relative = os.path.relpath(place(there), here).replace(os.sep, "/")
        return f"{match['head']}{relative}{mark}{anchor}{match['tail']}"

    def change(part: str) -> str:
        return _IMAGE.sub(moved, _LINK.sub(moved, part))

    return outside_fences(text, change), linked


def stage(folder: Path) -> list[str]:
    """Write the pages and what they link to into a folder.

    Args:
        folder: of the site's sources.

    Returns:
        The paths of the pages in it; lists of files and pages of code are no pages of their own.

    Raises:
        FileNotFoundError: if a page links to what is not there.
    """
    pages = sources()
    waiting, done = list(pages), set(pages)
    while waiting:
        path = waiting.pop()
        target = folder / place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        linked = _stage_one(path, target)
        new = {each for each in linked if place(each) not in {place(p) for p in done}}
        done |= new
        waiting += sorted(new)
    for asset in sorted((ROOT / "docs").rglob("*")):
        if asset.is_file() and asset.suffix in {".js", ".css", ".svg", ".png"}:
            target = folder / asset.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(asset, target)
    return sorted(map(place, pages))


def _stage_one(path: str, target: Path) -> set[str]:
    """Write one page or file, and return what it links to."""
    source = ROOT / path
    if source.is_dir():
        if (source / "README.md").is_file():
            return {f"{path}/README.md"}
        inside = sorted(p for p in source.iterdir() if not p.name.startswith((".", "__")))
        names = [f"- [{p.name}]({p.name})" for p in inside]
        text = f"# {path}\n\n" + "\n".join(names) + "\n"
        text, linked = move_links(text, f"{path}/index.md", place(path))
        target.write_text(text, encoding="utf-8")
        return linked
    if not source.exists():
        raise FileNotFoundError(f"A page links to {path}, which is not there.")
    if source.suffix == ".ipynb":
        return set()  # the page is what its run gives
    if source.suffix == ".py":
        code = source.read_text(encoding="utf-8")
        target.write_text(f"# {path}\n\n```python\n{code}```\n", encoding="utf-8")
        return set()
    if source.suffix != ".md":
        shutil.copyfile(source, target)
        return set()
    text = source.read_text(encoding="utf-8")
    text, linked = move_links(text, path)
    # What follows a fence's language is for the tests.
    target.write_text(_WORDS.sub(r"\1", text), encoding="utf-8")
    return linked
