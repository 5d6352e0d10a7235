"""The table of networks in the documentation, made of what `model_info` says.

`python tools/networks_table.py docs/networks.md` writes it between its two marks;
without a file it goes to the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from keras_mg.applications import (
    ModelInfo,
    PublishedFigure,
    list_models,
    model_info,
    network_record,
)

BEGIN, END = "<!-- networks:begin -->", "<!-- networks:end -->"

_SCALES = {"million": ("M", 1e6), "billion": ("G", 1e9)}

_INTRODUCTION = """\
`keras_mg.applications.list_models("rmg*")` lists names, and `model_info("RMG34")` says of a network
what this table says of all: trainable parameters and, for one image, multiply-accumulates of
convolutions, transposed convolutions and fully connected layers. Both are counted on the models.
The figures in brackets, the errors and the accuracies are the authors', none is a measurement of
this project."""

_NOTES = """\
Where ours differ from the printed figures:

- The multigrid networks for CIFAR need up to {excess:.1%} more than their paper's FLOPs. The
  printed parameters fit, and the spacing of the printed FLOPs shows that they count the last block
  with fewer channels than the parameters do. The networks here follow the parameters.
- The MgNets need fewer than their formulas as written, whose outputs they have: each convolution
  `A(u)` that the carried residual makes superfluous is left out (see `MgNetSmoother`).
- The IGC authors' printed parameters of IGC-L100M2 leave out batch norm's 30,200. Those of their
  four other ImageNet networks cannot be had from the released arrays on any one basis, so they are
  not shown."""


def _size(info: ModelInfo) -> str:
    """Multiply-accumulates, in the unit of the printed figure."""
    printed = info.find("FLOPs")
    count = info.multiply_accumulates
    unit = printed[0].unit if printed else "million" if count < 1e9 else "billion"
    letter, scale = _SCALES[unit]
    return f"{count / scale:.2f} {letter}{_printed(printed)}"


def _printed(figures: Iterable[PublishedFigure]) -> str:
    return "".join(f" ({f.value:g} {_SCALES[f.unit][0]})" for f in figures)


def _errors(info: ModelInfo) -> tuple[str, str]:
    """The published errors, and where they stand, in the same order."""
    figures = [figure for figure in info.published if figure.dataset]
    errors = [f"{f.dataset} {f.metric} {f.value:g} %" for f in figures]
    sources = dict.fromkeys(figure.source for figure in figures or info.published)
    return "; ".join(errors), "; ".join(sources)


def _row(info: ModelInfo) -> str:
    call = f"`{info.call}`" if info.arguments else f"`{info.name}`"
    parameters = f"{info.parameters:,}{_printed(info.find('parameters'))}"
    return f"| {' | '.join((call, parameters, _size(info), *_errors(info)))} |"


def _excess(infos: Iterable[ModelInfo]) -> float:
    """By how much multigrid networks exceed their printed multiply-accumulates, at most."""
    return max(
        info.multiply_accumulates / (figure.value * _SCALES[figure.unit][1]) - 1
        for info in infos
        if info.family == "multigrid"
        for figure in info.find("FLOPs")
    )


def make_table(describe: Callable[..., ModelInfo] = model_info) -> str:
    """The table of all networks and the notes below it, as Markdown.

    Args:
        describe: gives what is known of a network; `model_info`, or the same with a memory.
    """
    infos = [
        describe(name, **form.arguments)
        for name in list_models()
        for form in network_record(name).forms
    ]
    infos.sort(key=lambda info: info.family.lower())
    lines = [
        _INTRODUCTION,
        "",
        "| network | trainable parameters (published) | multiply-accumulates (published) "
        "| published error | source |",
        "|---|---:|---:|---|---|",
        *map(_row, infos),
        "",
        _NOTES.format(excess=_excess(infos)),
    ]
    return "\n".join(lines)


def replace_table(text: str, table: str) -> str:
    """`text` with `table` between its two marks.

    Raises:
        ValueError: if the marks are not there once each, in this order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the text must have {BEGIN} and, after it, {END}, each once.")
    return f"{before}{begin}\n{table}\n{end}{after}"


def main(arguments: Sequence[str]) -> None:
    """Write the table to the terminal, or into the files named."""
    table = make_table()
    if not arguments:
        sys.stdout.write(table + "\n")
    for name in arguments:
        path = Path(name)
        path.write_text(replace_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
