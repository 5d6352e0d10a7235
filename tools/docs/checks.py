"""What a built site must hold: links that lead somewhere, and nothing from elsewhere.

Pages and style sheets are read. What scripts ask for is not: the test of the page that runs a
network opens it in a browser and refuses every foreign request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose address the browser fetches by itself; a link is followed by people.
_FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href", "imagesrcset"),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
# Links between pages, not files that the browser fetches.
_NAMED = {"canonical", "next", "prev", "edit"}
_STYLED = re.compile(
    r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^'")\s]+))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')"""
)
_COMMENT = re.compile(r"/\*.*?\*/", re.S)


class _Page(HTMLParser):
    """What a page has and what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag, attrs):
        given = {name: value for name, value in attrs if value}
        self._in_style = tag == "style"
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "name" in given:
            self.anchors.add(given["name"])
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in _NAMED:
            return
        for name in _FETCHED.get(tag, ()):
            if name.endswith("srcset") and name in given:
                self.fetched += [each.split()[0] for each in given[name].split(",") if each.strip()]
            elif name in given:
                self.fetched.append(given[name])
        self.fetched += _styled(given.get("style", ""))

    def handle_data(self, data):
        if self._in_style:
            self.fetched += _styled(data)

    def handle_endtag(self, tag):
        self._in_style = False


def _styled(text: str) -> Iterator[str]:
    """The addresses in a style sheet."""
    for found in _STYLED.finditer(_COMMENT.sub("", text)):
        yield next(filter(None, found.groups()), "")


def problems(site: Path) -> list[str]:
    """What is wrong with a built site, as readable lines.

    Args:
        site: its folder.

    Returns:
        Links of pages and style sheets to files or anchors that are not there, and what either
        would have a browser fetch from another host.
    """
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = pages[path] = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        if here == "404.html":
            continue  # its links begin at the root of wherever the site is served
        found += _problems(site, path, page.links, page.fetched, pages)
    for path in sorted(site.rglob("*.css")):
        found += _problems(site, path, [], [*_styled(path.read_text(encoding="utf-8"))], pages)
    return found


def _problems(site: Path, path: Path, links: list[str], fetched: list[str], pages) -> list[str]:
    here = path.relative_to(site).as_posix()
    found = [f"{here} fetches {each}" for each in fetched if urlsplit(each).netloc]
    led = [_problem(site, path, each, pages) for each in [*links, *fetched]]
    return found + [f"{here}: {problem}" for problem in led if problem]


def _problem(site: Path, path: Path, address: str, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = path
    if parts.path:
        target = Path(os.path.normpath(path.parent / unquote(parts.path)))
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or site not in target.parents:
            return f"{address} is not there"
    anchor = unquote(parts.fragment)
    known = pages[target].anchors if target in pages else {anchor}
    # Those that begin with two underscores are of the theme's switches.
    if anchor and anchor not in known and not anchor.startswith("__"):
        return f"{address} has no such anchor"
    return None
