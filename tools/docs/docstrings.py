"""How docstrings become Markdown: an extension of griffe, which reads them for the site.

The docstrings are in Google's form with sections of Keras's (`Input shape:`, `Reference:`) that
griffe does not know, and with examples of doctest, in which Markdown would see quotations.
"""

from __future__ import annotations

import re
import textwrap

import griffe

_SECTION = re.compile(
    r"^(?P<title>Input shape|Output shape|Examples?|References?):[ \t]*\n"
    r"(?P<body>(?:[ \t]*\n)*(?:[ ]{2,}[^\n]*(?:\n|$)|[ \t]*\n)+)",
    re.M,
)
_PROMPT = ">>> "


def to_markdown(text: str) -> str:
    """A docstring whose own sections are headings, and whose examples are blocks of code.

    Args:
        text: of the docstring, without its common indentation.
    """

    def heading(match: re.Match) -> str:
        body = textwrap.dedent(match["body"]).strip("\n")
        return f"**{match['title']}**\n\n{body}\n\n"

    return _fence_examples(_SECTION.sub(heading, text))


def _fence_examples(text: str) -> str:
    lines, in_example, fenced = [], False, False
    for line in text.split("\n"):
        bare = line.lstrip()
        if bare.startswith("```"):
            fenced = not fenced
        if not fenced and not in_example and bare.startswith(_PROMPT):
            in_example = True
            if lines and lines[-1].strip():
                lines.append("")
            lines.append("```pycon")
        elif in_example and not bare:
            in_example = False
            lines.append("```")
        lines.append(bare if in_example and bare.startswith((_PROMPT, "...")) else line)
    if in_example:
        lines.append("```")
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Changes each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Called when griffe has read a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
