"""Docstrings as Markdown: Keras's sections become headings, examples blocks of code."""

import inspect

import pytest

pytest.importorskip("griffe")

from keras_mg.layers import MultigridConv
from tools.docs.docstrings import to_markdown

TEXT = """One line.

Args:
    a: int.

Input shape:
    `(batch, a)`, which
    goes on.

    And on.

Example:
    >>> f(
    ...     1
    ... )
    [(1, 2)]

    >>> g()

Reference:
    - [A paper](https://example.org)
"""


def test_sections_and_examples():
    assert (
        to_markdown(TEXT)
        == """One line.

Args:
    a: int.

**Input shape**

`(batch, a)`, which
goes on.

And on.

**Example**

```pycon
>>> f(
...     1
... )
[(1, 2)]
```

```pycon
>>> g()
```

**Reference**

- [A paper](https://example.org)

"""
    )


def test_a_fenced_block_stays_as_it_is():
    text = "```python\n>>> a\n```"
    assert to_markdown(text) == text


def test_a_layer_of_ours():
    text = to_markdown(inspect.getdoc(MultigridConv))
    assert "**Output shape**\n\nThe same sides" in text
    assert text.count("```pycon") == text.count("```") / 2 == 1
    assert "\nArgs:\n    filters: int" in text
