"""`keras-mg weights`: published weights and weights files."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_mg._files import expand, replacing
from keras_mg.cli._shared import Failure, Settings, check_memory, network_info, parse_settings

KERAS_SUFFIXES = (".weights.h5", ".keras")
EXPORT_SUFFIXES = (".pth", ".pt", ".safetensors")

app = typer.Typer()


@app.command("list")
def list_weights(
    network: Annotated[str | None, typer.Option(help="Only this network's.")] = None,
) -> None:
    """What is published."""
    from keras_mg import applications, weights

    if network is not None and network not in applications.list_models():
        raise Failure(f"--network: there is no {network!r}; `keras-mg list` gives all names")
    for record in weights.weights_info(network):
        if isinstance(record, weights.TrainedInfo):
            _print_trained(record)
            continue
        print(f"{record.network} weights={record.tag!r}")
        print(f"  address  {record.address}")
        print(f"  hash     {record.hash}")
        print(f"  licence  {record.licence}")
        print(f"  input    {record.input_size[0]}x{record.input_size[1]} {record.channel_order}, "
              f"mean {record.mean}, std {record.std}")  # fmt: skip
        print(f"  error    top-1 {record.top1_error} %, top-5 {record.top5_error} % (published), "
              f"{record.classes} classes, {record.parameters:,} parameters")  # fmt: skip


def _print_trained(record) -> None:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in record.figures.items())
    print(record.call())
    print(f"  file     {record.filename}, {record.size:,} bytes, in the package")
    print(f"  hash     {record.hash}")
    print(f"  licence  {record.licence}; of the data ({record.data}): {record.data_licence}")
    print(f"  input    {'x'.join(map(str, record.input_shape))}")
    print(f"  test     {figures} (after the last epoch, {record.images['test']:,} images), "
          f"{record.parameters:,} parameters")  # fmt: skip
    for name, each in record.spread.items():
        if name != "epochs":
            print(f"  spread   {name} {each['mean']:.4f} ± {each['std']:.4f} over the last "
                  f"{record.spread['epochs']} epochs")  # fmt: skip
    print(f"  made by  {record.command}")
    print(f"           {record.epochs} epochs in {record.hours} hours on {record.hardware}")
    for text in (*record.differs, *(f"published {k} {v:g}" for k, v in record.claims.items())):
        print(f"           {text}")


@app.command()
def publish(
    run: Annotated[str, typer.Argument(help="The folder of a finished run.")],
    folder: Annotated[str, typer.Argument(help="What a host will serve; made where it is none.")],
    tag: Annotated[str, typer.Option(help="What will be given as weights=.")],
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "Apache-2.0",
    hardware: Annotated[
        str | None, typer.Option(help="That the run was trained on. [default: this processor]")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Folder of prepared tensorflow-datasets: what was trained in mixed precision is "
            "measured again in float32.  [default: TFDS_DATA_DIR or ~/tensorflow_datasets]"
        ),
    ] = None,
) -> None:
    """Add a run's weights, their record and a card to a folder for a host of weights."""
    from keras_mg import recipes

    record = recipes.publish(
        run, folder, tag, licence=licence, hardware=hardware, data_dir=data_dir
    )
    print(f"{record.folder}: {record.filename}, {record.size:,} bytes; the index has it as")
    print(f"  {record.call()}")


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A published tag, a path or an address.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="NAME.weights.h5 or NAME.keras; for MgNet also NAME.pth or NAME.safetensors.",
        ),
    ],
    network: Annotated[str, typer.Option(help="The constructor, such as IGC_L100M2.")],
    settings: Settings = [],  # noqa: B006 (typer copies it)
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Load IN, of any format that can be read, into a network and save it as OUT."""
    from keras_mg import applications, weights

    path = expand(target)
    suffix = next((s for s in KERAS_SUFFIXES + EXPORT_SUFFIXES if path.name.endswith(s)), None)
    if suffix is None:
        raise Failure(f"OUT must end in one of {', '.join(KERAS_SUFFIXES + EXPORT_SUFFIXES)}. "
                      f"Received: {target}")  # fmt: skip
    if path.exists() and not path.is_file():
        raise Failure(f"{target} is there and is no file")
    if path.exists() and not overwrite:
        raise Failure(f"{target} is there already; --overwrite replaces it")
    arguments = parse_settings(settings)
    # First without weights: a mistake in the settings shows before anything is fetched or filled.
    check_memory(network_info(network, arguments))
    if "classes" not in arguments and arguments.get("include_top", True):
        classes = weights.head_classes(source, network=network)
        arguments |= {} if classes is None else {"classes": classes}
    model = getattr(applications, network)(weights=source, **arguments)
    try:
        if suffix in EXPORT_SUFFIXES:
            weights.export(model, path)
        else:
            with replacing(path) as temporary:
                (model.save if suffix == ".keras" else model.save_weights)(temporary)
    except RuntimeError as error:  # what h5py and torch make of a full disk
        raise Failure(f"{target}: cannot be written ({error})") from error
    print(f"{target}: {model.count_params():,} numbers of {network}")


@app.command()
def verify(
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...")] = None,
    cache_dir: Annotated[
        str | None, typer.Option(help="Instead of KERAS_HOME or ~/.keras.")
    ] = None,
) -> None:
    """Without FILE, check the cache folder by hashes; with it, read every array of the files."""
    from keras_mg import weights

    if not files:
        checks = weights.verify(cache_dir)
        for check in checks:
            print(f"{check.state:8} {check.network} {check.tag!r} {check.path}")
        if damaged := sum(check.state == "damaged" for check in checks):
            raise Failure(f"{damaged} damaged files; they are never loaded, and fetched anew")
        return
    bad = 0
    for file in files:
        try:
            kind, count, numbers = weights.read_through(file)
            print(f"{file}: good, {kind}, {count} arrays, {numbers:,} numbers")
        except (ValueError, OSError, MemoryError) as error:
            bad += 1
            reason = " ".join(str(error).split()).removeprefix(f"{file}: ")
            print(f"{file}: bad, {reason}")
    if bad:
        raise Failure(f"{bad} of {len(files)} files cannot be read")
