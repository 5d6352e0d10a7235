"""What the package uses of Keras's private names, whatever the backend."""

from __future__ import annotations

import functools
from typing import Any

import keras

from keras_mg._private.names import find


def _functional_class() -> Any:
    x = keras.Input((1,), name="x")
    return type(keras.Model(x, x, name="probe"))


# Base classes need a stand-in where they are missing: the module must still import.
DataAdapter = find("keras.src.trainers.data_adapters.data_adapter", "DataAdapter", object)
H5IOStore = find("keras.src.saving.saving_lib", "H5IOStore", object)
DynamicBackend = find("keras.src.utils.backend_utils", "DynamicBackend")
Functional = find("keras.src.models.functional", "Functional") or _functional_class()
AutocastScope = find("keras.src.backend.common.variables", "AutocastScope")
get_autocast_scope = find("keras.src.backend.common.variables", "get_autocast_scope")
_get_global_attribute = find("keras.src.backend.common.global_state", "get_global_attribute")
get_keras_mask = find("keras.src.backend.common.masking", "get_keras_mask")
set_keras_mask = find("keras.src.backend.common.masking", "set_keras_mask")
global_state = find("keras.src.backend.common", "global_state")
get_data_adapter = find("keras.src.trainers.data_adapters", "get_data_adapter")
_train_validation_split = find(
    "keras.src.trainers.data_adapters.array_slicing", "train_validation_split"
)
global_seed_generator = find("keras.src.random.seed_generator", "global_seed_generator")
pythonify_logs = find("keras.src.utils.python_utils", "pythonify_logs")
save_state = find("keras.src.saving.saving_lib", "_save_state")
# Where nobody can tell, the way that is right inside such a scope is right outside, too.
in_stateless_scope = find(
    "keras.src.backend.common.stateless_scope", "in_stateless_scope", lambda: True
)

# Attributes that Keras stores in lists of its own kind, which torch's tracer does not know.
TRACKED_LISTS = {
    keras.layers.BatchNormalization: ("_reduction_axes",),
    keras.layers.Rescaling: ("scale", "offset"),
}


def existing_seed_generator() -> keras.random.SeedGenerator | None:
    """The generator of random operations without a seed, None where nobody has drawn from it."""
    if _get_global_attribute is None:
        return None
    return _get_global_attribute("global_seed_generator")


def flatten_layers(
    layer, include_self: bool = True, recursive: bool = True
) -> list[keras.layers.Layer]:
    """`layer` and all that it holds, in the order in which they were made."""
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def nodes(model) -> list:
    """The calls that make up a functional model, in the order of computation; of others, none."""
    by_depth = getattr(model, "_nodes_by_depth", {})
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def operation_of(model, node):
    """The layer or operation that a node of a functional model calls."""
    return model._get_operation_for_node(node)


def outputs_structure(model):
    """The nest that a functional model's outputs are in."""
    return model._outputs_struct


def maker(tensor):
    """The layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def graph_of(sequential):
    """The functional model in a sequential one, None where it has none."""
    return sequential._functional


def own_state(layer) -> list[keras.Variable]:
    """The variables that `layer` holds itself, not through sublayers, and does not train."""
    return list(layer._non_trainable_variables)


def takes_training(layer) -> bool:
    """Whether Keras hands `training` to a layer or model."""
    return layer._call_has_training_arg


def call_context():
    """What the outermost call that goes on in this thread says to those inside; None if none is."""
    return _get_global_attribute("current_call_ctx")


def training_in(context) -> bool | None:
    """What the outermost call that goes on says of `training`."""
    return getattr(context, "training", None)


def error_of_call(error: Exception, layer, args: tuple, kwargs: dict) -> Exception:
    """An error of a layer's `call` with Keras's words on what was called with what."""
    of_torch = type(error).__module__.split(".")[0] == "torch"  # as at the end of a recomputation
    if of_torch or not keras.config.is_traceback_filtering_enabled():
        return error
    name = f"{type(layer).__name__}.call()"
    since_3_16 = find("keras.src.utils.traceback_utils", "inject_argument_info_in_error")
    if since_3_16 is not None:
        return since_3_16(error, layer.call, args, kwargs, object_name=name)
    before = find("keras.src.utils.traceback_utils", "inject_argument_info_in_traceback")
    if before is None:
        return error

    @functools.wraps(layer.call)
    def fail(*args, **kwargs):
        raise error

    try:
        before(fail, name)(*args, **kwargs)
    except Exception as said:
        return said
    return error


def as_it_is(error: Exception) -> Exception:
    """An error that Keras hands on as it is: no layer that was being called is to blame for it."""
    error._keras_call_info_injected = True  # type: ignore[attr-defined]
    return error


def only_training_is_handed_on(layer) -> bool:
    """Whether a layer takes nothing from the calls around it but `training`."""
    return set(layer._call_context_args) <= {"training"}


def differs_from_its_class(layer) -> bool:
    """Whether this layer alone is called in another way: recomputed, calibrated, replaced.

    A layer looks for what it does not have among its weights, which takes long. Since 3.16 Keras
    may look at what a layer is called with, to quantise it.
    """
    own = layer.__dict__
    return (
        own["_remat_mode"] is not None
        or own.get("_calibration_capture") is not None
        or "forward" in own
    )


def training_of_callers(layer) -> bool | None:
    """What the outermost call that goes on says of `training`."""
    return getattr(layer._get_call_context(), "training", None)


def compute_loss(model, x, y, y_pred, sample_weight, training: bool):
    """A model's loss of a batch, called as Keras's own steps do: a subclass may override it."""
    return model._compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
    )


def track_loss(model, loss, samples: int) -> None:
    """Let the metric `loss` see the loss of a batch."""
    model._loss_tracker.update_state(loss, sample_weight=samples)


def mask_of(tensor):
    """The mask of a `torch.Tensor` of no subclass: it can have attributes, so it is one."""
    return getattr(tensor, "_keras_mask", None)


def clear_losses(model) -> None:
    """Forget the activity losses of the last call."""
    model._clear_losses()


def masks_of(nest) -> list:
    """The masks of the tensors in a nest, None where one has none."""
    return [get_keras_mask(tensor) for tensor in keras.tree.flatten(nest)]


def set_masks(nest, masks: list) -> None:
    """Give the tensors in a nest the masks that `masks_of` has found."""
    for tensor, mask in zip(keras.tree.flatten(nest), masks, strict=True):
        if mask is not None:
            set_keras_mask(tensor, mask)


def prepare_thread() -> None:
    """Let this thread have what Keras keeps per thread and a graph of another one reads."""
    state = global_state.GLOBAL_STATE_TRACKER
    if not hasattr(state, "name_scope_stack"):
        state.name_scope_stack = []


def filter_empty_gradients(optimizer, gradients, variables) -> None:
    """Warn of variables without gradient, as Keras does."""
    optimizer._filter_empty_gradients(gradients, variables)


def rate_of(optimizer):
    """The variable or the schedule that an optimizer takes its rate from."""
    return getattr(optimizer, "_learning_rate", None)


def variable_index(optimizer, variable) -> int:
    """Where an optimizer keeps what belongs to a variable."""
    return optimizer._get_variable_index(variable)


def uses_weight_decay(optimizer, variable) -> bool:
    """Whether a variable decays, by `exclude_from_weight_decay`."""
    return optimizer._use_weight_decay(variable)


def tensor_of(variable):
    """A variable's tensor, whatever scopes there are."""
    return variable._value


def scopes_are_open() -> bool:
    """Whether something may stand between a variable and its tensor, as far as one can tell."""
    state = global_state.GLOBAL_STATE_TRACKER
    return (
        getattr(state, "stateless_scope", None) is not None
        or getattr(state, "autocast_scope", None) is not None
    )


def last_drawn(progress_bar) -> float:
    """When a `keras.utils.Progbar` was drawn last, in seconds as `time.time` has them."""
    return getattr(progress_bar, "_last_update", 0)


def initial_epoch(model) -> int | None:
    """The epoch that a callback lets training begin at, instead of the one that `fit` was told."""
    return model._initial_epoch


def set_initial_epoch(model, epoch: int | None) -> None:
    """Let training begin at an epoch."""
    model._initial_epoch = epoch


def split_validation(options: dict) -> None:
    """Cut the validation data off the arrays among the arguments of `fit`, as `fit` does."""
    part = options["validation_split"]
    if not part or options["validation_data"] is not None:
        return
    names = ("x", "y", "sample_weight")
    train, held = _train_validation_split(
        tuple(options[name] for name in names), validation_split=part
    )
    options.update(zip(names, train, strict=True))
    options["validation_split"], options["validation_data"] = 0.0, held


# The method of a batch norm that computes mean and variance of its input.
MOMENTS = "_moments"


def moments_of(layer) -> tuple[Any, Any]:
    """A batch norm's own moments, and the function that gives the axes which they are along."""
    return type(layer)._moments.__get__(layer), lambda: tuple(layer._reduction_axes)


_METRICS_RESULT = [
    vars(kind)["get_metrics_result"]
    for kind in keras.Model.__mro__
    if "get_metrics_result" in vars(kind)
][-1]


def own_metrics_result(model) -> dict:
    """What a model's metrics say of this process alone."""
    return _METRICS_RESULT(model)


def skip_epochs_of_order(iterator, epochs: int) -> None:
    """Lets shuffled arrays go on in the order of a later epoch, where Keras counts them itself.

    Since 3.16 the order is a function of the epochs that `fit` has had, and nothing of the random
    states; before, it is nothing but a function of these.
    """
    adapter: Any = getattr(iterator, "data_adapter", None)
    while hasattr(adapter, "adapter"):  # of ours, around Keras's
        adapter = adapter.adapter
    if hasattr(adapter, "_epoch"):
        adapter._epoch += epochs
