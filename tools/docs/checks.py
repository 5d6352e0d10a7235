"""What a built site must hold: links that lead somewhere, and nothing from elsewhere."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements whose address the browser fetches by itself; a link is followed by people.
_FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# Links between pages, not files that the browser fetches.
_NAMED = {"canonical", "next", "prev", "edit"}


class _Page(HTMLParser):
    """What a page has and what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(given["id"])
        if tag == "a":
            if given.get("name"):
                self.anchors.add(given["name"])
            if given.get("href"):
                self.links.append(given["href"])
        address = given.get(_FETCHED.get(tag, ""))
        if address and not (tag == "link" and given.get("rel") in _NAMED):
            self.fetched.append(address)


def problems(site: Path) -> list[str]:
    """What is wrong with a built site, as readable lines.

    Args:
        site: its folder.

    Returns:
        Links to files or anchors that are not there, and whatever a browser would fetch from
        another host.
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
        found += [f"{here} fetches {each}" for each in page.fetched if urlsplit(each).netloc]
        led = [_problem(site, path, each, pages) for each in [*page.links, *page.fetched]]
        found += [f"{here}: {problem}" for problem in led if problem]
    for path in sorted(site.rglob("*.css")):
        here = path.relative_to(site).as_posix()
        fetched = re.findall(r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text("utf-8"))
        found += [f"{here} fetches {each}" for each in fetched]
    return found


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
