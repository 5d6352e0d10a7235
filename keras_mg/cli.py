"""The command line, `keras-mg`: it parses and calls, and holds no logic of its own."""

from __future__ import annotations

import argparse
import ast
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from keras_mg import applications, weights

KERAS_SUFFIXES = (".weights.h5", ".keras")
EXPORT_SUFFIXES = (".pth", ".pt", ".safetensors")


class Failure(Exception):
    """What went wrong, for one line on the terminal."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `keras-mg`.

    Args:
        arguments: the words after `keras-mg`; those of the process by default.

    Returns:
        The exit code: 0, or 2 after an error, which is printed as one line.
    """
    try:
        options = _parser().parse_args(arguments)
        return options.run(options)
    except (Failure, ValueError, OSError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"keras-mg: error: {text}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="keras-mg", description="Multigrid networks for Keras.")
    topics = parser.add_subparsers(required=True, metavar="TOPIC", parser_class=_Parser)
    topic = topics.add_parser("weights", help="published weights and weights files")
    commands = topic.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    command = commands.add_parser("list", help="what is published")
    command.add_argument("--network", help="only this network's")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "convert",
        help="from any format that can be read to another",
        description="Load IN into a network and save it as OUT. IN: a published tag, a path or an "
        "address. OUT: NAME.weights.h5, NAME.keras; for MgNet also NAME.pth, NAME.safetensors.",
    )
    command.add_argument("source", metavar="IN")
    command.add_argument("target", metavar="OUT")
    command.add_argument("--network", required=True, help="the constructor, such as IGC_L100M2")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the constructor, such as classes=10 or iterations=3,4,6,3",
    )
    command.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    command.set_defaults(run=_convert)

    command = commands.add_parser(
        "verify",
        help="check files by their hashes, or read them through",
        description="Without FILE: check the cache folder. With FILE: read every array of it.",
    )
    command.add_argument("files", metavar="FILE", nargs="*")
    command.add_argument("--cache-dir", help="instead of KERAS_HOME or ~/.keras")
    command.set_defaults(run=_verify)
    return parser


def _list(options: argparse.Namespace) -> int:
    if options.network is not None:
        _constructor(options.network)
    for record in weights.weights_info(options.network):
        print(f"{record.network} weights={record.tag!r}")
        print(f"  address  {record.address}")
        print(f"  hash     {record.hash}")
        print(f"  licence  {record.licence}")
        print(f"  input    {record.input_size[0]}x{record.input_size[1]} {record.channel_order}, "
              f"mean {record.mean}, std {record.std}")  # fmt: skip
        print(f"  error    top-1 {record.top1_error} %, top-5 {record.top5_error} % (published), "
              f"{record.classes} classes, {record.parameters:,} parameters")  # fmt: skip
    return 0


def _constructor(name: str) -> Callable:
    names = [n for n in dir(applications) if n[0].isupper() and callable(getattr(applications, n))]
    if name not in names:
        raise Failure(f"--network: there is no {name!r}; there are {', '.join(names)}")
    return getattr(applications, name)


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _convert(options: argparse.Namespace) -> int:
    target = Path(options.target)
    suffix = next((s for s in KERAS_SUFFIXES + EXPORT_SUFFIXES if target.name.endswith(s)), None)
    if suffix is None:
        raise Failure(f"OUT must end in one of {', '.join(KERAS_SUFFIXES + EXPORT_SUFFIXES)}. "
                      f"Received: {options.target}")  # fmt: skip
    if target.exists() and not options.overwrite:
        raise Failure(f"{target} is there already; --overwrite replaces it")
    construct = _constructor(options.network)
    settings = {}
    for setting in options.set:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"--set takes NAME=VALUE. Received: {setting}")
        settings[name] = _value(value)
    if "classes" not in settings and settings.get("include_top", True):
        classes = weights.head_classes(options.source, network=options.network)
        settings |= {} if classes is None else {"classes": classes}
    try:
        model = construct(weights=options.source, **settings)
    except TypeError as error:
        raise Failure(f"{options.network}: {error}") from error
    if suffix in EXPORT_SUFFIXES:
        weights.export(model, target)
    else:
        _save(model, target, suffix)
    print(f"{target}: {model.count_params():,} numbers of {options.network}")
    return 0


def _save(model, target: Path, suffix: str) -> None:
    """Save under another name first, so that `target` is never a part of a file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        path = Path(folder, f"model{suffix}")
        if suffix == ".keras":
            model.save(path)
        else:
            model.save_weights(path)
        os.replace(path, target)


def _verify(options: argparse.Namespace) -> int:
    if options.files:
        for file in options.files:
            kind, count, numbers = weights.read_through(file)
            print(f"{file}: good, {kind}, {count} arrays, {numbers:,} numbers")
        return 0
    checks = weights.verify(options.cache_dir)
    for check in checks:
        print(f"{check.state:8} {check.network} {check.tag!r} {check.path}")
    damaged = [check for check in checks if check.state == "damaged"]
    if damaged:
        raise Failure(f"{len(damaged)} damaged files; they are never loaded, and fetched anew")
    return 0
