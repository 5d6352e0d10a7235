"""What a recipe is, for people: network and its cost, data, training, claim and source."""

from __future__ import annotations

from keras_mg.applications import model_info
from keras_mg.recipes.recipe import Recipe


def describe(recipe: Recipe) -> str:
    """A recipe in some lines.

    The network's cost is counted on the network, which is made as shapes alone: that takes seconds
    for large ones.

    Args:
        recipe: the `Recipe`.

    Example:

    >>> from keras_mg.recipes import describe, get_recipe
    >>> print(describe(get_recipe("resnet20-cifar10")))
    resnet20-cifar10
      network    ResNet20(classes=10), 271,886 trainable parameters
      cost       36,258,148 multiply-accumulates per image, forward
      data       LabelledImages: cifar10
      training   200 epochs, batches of 128, CoupledSGD, StepDecay
      published  accuracy 0.9155 (see network_record("ResNet20"))
      source     He, Zhang, Ren, Sun, 2015, https://arxiv.org/abs/1512.03385, as ...
    """
    network = recipe.network
    name = getattr(network, "func", network).__name__
    info = model_info(name, **getattr(network, "keywords", {}))
    record = recipe.record()
    data = record["data"]
    what = next((data[key] for key in ("dataset", "task") if key in data), None)
    steps = data.get("steps_per_epoch")
    length = f"{recipe.epochs} epochs" + (f" of {steps:,} steps" if steps else "")
    claims = ", ".join(f"{key} {value:.4f}" for key, value in recipe.claims.items())
    rows = [
        ("network", f"{_call(info.call)}, {info.parameters:,} trainable parameters"),
        ("cost", f"{info.multiply_accumulates:,} multiply-accumulates per image, forward"),
        ("data", type(recipe.data).__name__ + (f": {what}" if what else "")),
        (
            "training",
            f"{length}, batches of {recipe.batch_size}, {record['optimizer']['call']}, "
            f"{record['schedule']['kind']}",
        ),
        ("published", f'{claims} (see network_record("{name}"))' if claims else "no figure"),
        ("source", recipe.source),
        *(("differs", difference) for difference in recipe.differs),
    ]
    return "\n".join([recipe.name, *(f"  {key:10} {value}" for key, value in rows)])


def _call(call: str) -> str:
    """The call without what every recipe has: a network that gives logits."""
    return call.replace(", classifier_activation=None", "").replace(
        "classifier_activation=None", ""
    )
