"""README as a package index shows it: without the links and pictures that only the repository has.

`pyproject.toml` names this file as a hook of hatchling. An index shows the text far from the
repository, where relative links lead nowhere; until the project has an address that they could be
completed with, their words stay and the links go.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.M | re.S)
_ELSEWHERE = r"(?![a-z][a-z0-9+.-]*:)[^)]*"
_PICTURE = re.compile(rf"!\[[^\]]*\]\({_ELSEWHERE}\)\n*")
_IMG = re.compile(r"""<img\b[^>]*\bsrc="(?![a-z][a-z0-9+.-]*:)[^"]*"[^>]*>\s*""")
_LINK = re.compile(rf"(?<!!)\[([^\]]*)\]\({_ELSEWHERE}\)")


def for_an_index(text: str) -> str:
    """A Markdown text whose relative pictures are gone, and whose relative links are words.

    Args:
        text: Markdown. What stands in fenced blocks stays as it is.
    """
    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(r"\1", _IMG.sub("", _PICTURE.sub("", part))) for part in parts[::2]]
    return "".join(parts)


class LongDescription(MetadataHookInterface):
    """Gives the wheel README as its description."""

    def update(self, metadata: dict) -> None:
        """Called by hatchling with the project's metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_an_index(text)}
