"""Compares every network with its twin, at full width: `python -m tests.support.differences FILE`.

The table has the trainable parameters, the multiply-accumulates of ours and of the twin, and
max |ours - twin's| / max |twin's| of the logits, with random weights and batch-norm statistics.
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")

from tests.support import zoo


def lines():
    yield "| network | trainable parameters | multiply-accumulates | of the twin | difference |"
    yield "|---|---:|---:|---:|---:|"
    for row in zoo.ROWS:
        info = zoo.info(row.name, **row.arguments)
        _, macs = zoo.twin_cost(row)
        difference = zoo.difference_from_twin(row, zoo.randomized(row))
        call = info.call if info.arguments else info.name
        yield (
            f"| {call} | {info.parameters:,} | {info.multiply_accumulates:,} | {macs:,} "
            f"| {difference:.1e} |"
        )


def main(path):
    with open(path, "w", encoding="utf-8") as file:
        for line in lines():
            print(line, file=file, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
