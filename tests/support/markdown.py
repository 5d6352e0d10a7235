"""What stands in Markdown files: blocks of code, and links."""

import inspect
import re

FENCE = re.compile(r"^(?P<indent> *)```python(?P<words>[^\n]*)\n(?P<code>.*?)^ *```", re.M | re.S)
ANY_FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
SOURCE = re.compile(r'<(?:img|script)\b[^>]*\bsrc="([^"]+)"')
HEADING = re.compile(r"^#+ +(.*?) *#*$", re.M)


def fenced_blocks(text):
    """Yield `(line, words, code)` for each fenced `python` block, its indentation taken off."""
    for match in FENCE.finditer(text):
        code = inspect.cleandoc("\n" + match["code"])
        yield text.count("\n", 0, match.start()) + 1, match["words"].split(), code


def broken_links(text, path):
    """Return the relative links of a Markdown text that lead nowhere."""
    broken = []
    bare = ANY_FENCE.sub("", text)
    for target in [*LINK.findall(bare), *SOURCE.findall(bare)]:
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # an address, not a path
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            source = text if file == path else file.read_text(encoding="utf-8")
            if anchor not in {slug(heading) for heading in HEADING.findall(source)}:
                broken.append(target)
    return broken


def slug(heading):
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
