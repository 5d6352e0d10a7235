"""The private names of Keras that the package uses, with the reason for each."""

from __future__ import annotations

import keras

from keras_mg._private.names import Feature, Name

_STEPS = (Feature.COMPILED_STEPS,)
_RUN = (Feature.OWN_GRAPH_RUN,)
_LOGS = (Feature.LAZY_LOGS,)
_FILES = (Feature.WEIGHTS_FILES,)
_COUPLED = (Feature.COUPLED_SGD,)
_RANDOM = (Feature.RANDOM_STATE,)
_PARALLEL = (Feature.PARALLEL,)
_VALUES = (Feature.VALUES_AT_ONCE,)

NAMES = (
    Name(
        *("layer", "_flatten_layers", (*_STEPS, *_RUN, Feature.DEPLOY)),
        why="all layers inside a layer, itself included; Model.layers are those of the first level",
        watch="a public `flatten_layers`, as trackable objects of TensorFlow have",
        parameters=("include_self", "recursive"),
    ),
    Name(
        *("graph", "_nodes_by_depth", (*_STEPS, *_RUN, Feature.DEPLOY)),
        why="the calls of a functional model, in the order in which it makes them",
        watch="Model.operations with a public way to their nodes",
    ),
    Name(
        *("graph", "_run_through_graph", _RUN),
        why="overridden, so that tensors go after their last reader",
        watch="Keras letting go of them itself",
        parameters=("inputs", "operation_fn", "call_fn"),
    ),
    Name(
        *("graph", "_get_operation_for_node", _RUN),
        why="the layer of a node, which may be given to the graph later",
        watch="node.operation being it",
        parameters=("node",),
    ),
    Name(
        *("graph", "_outputs_struct", _RUN),
        why="the nest of the outputs; Model.outputs is flat",
        watch="a public structure beside Model.input and Model.output",
    ),
    Name(
        *("symbolic tensor", "_keras_history", (Feature.DEPLOY,)),
        why="the layer that made a symbolic tensor",
        watch="a public producer of a KerasTensor",
    ),
    Name(
        *("sequential", "_functional", (Feature.DEPLOY,)),
        why="the graph of a sequential model",
        watch="Sequential being a functional model",
    ),
    Name(
        *("layer", "_non_trainable_variables", _RUN),
        why="those that a layer holds itself; the public list has its sublayers', too",
        watch="an argument `recursive` of Layer.non_trainable_variables",
    ),
    Name(
        *("layer", "_get_call_context", _RUN),
        why="whether a layer's caller trains, which a recomputation must know as well",
        watch="a public call context",
        parameters=(),
    ),
    Name(
        *("keras.src.backend.common.variables", "AutocastScope", _RUN),
        why="a recomputation runs outside of the layer whose weights were cast for it",
        watch="keras.AutocastScope",
        parameters=("dtype",),
    ),
    Name(
        *("keras.src.backend.common.variables", "get_autocast_scope", (*_RUN, *_VALUES)),
        why="likewise",
        watch="likewise",
        parameters=(),
    ),
    Name(
        *("layer", "_call_context_args", _RUN),
        why="what a layer's callers hand to it: a direct call must know all of it",
        watch="a public call context",
    ),
    Name(
        *("layer", "_remat_mode", _RUN),
        why="a layer that recomputes itself cannot be called directly",
        watch="a public attribute",
    ),
    *(
        Name(
            *("scopes", name, (*_RUN, *_VALUES)),
            why="whether a scope is open, asked in each layer: Keras's functions are several calls",
            watch="functions as fast",
        )
        for name in ("stateless_scope", "autocast_scope")
    ),
    Name(
        *("layer", "_call_has_training_arg", (*_STEPS, *_RUN)),
        why="whether `call` takes `training`, as Keras's steps ask",
        watch="Model.__call__ taking `training` whatever `call` does",
    ),
    Name(
        *("compiled model", "_compute_loss", _STEPS),
        why="Keras's steps call it: it takes old overrides of `compute_loss` without `training`",
        watch="compute_loss being called by Keras itself",
        parameters=("x", "y", "y_pred", "sample_weight", "training"),
    ),
    Name(
        *("compiled model", "_loss_tracker", _STEPS),
        why="the metric `loss`, which a step updates",
        watch="compute_metrics updating it",
    ),
    Name(
        *("graph", "_clear_losses", _STEPS),
        why="activity losses of one step would be inputs of the next one's graph",
        watch="losses returned by a call instead of kept",
        parameters=(),
    ),
    Name(
        *("graph", "_symbolic_build", _LOGS),
        why="overridden: `fit` calls it when it knows the number of batches, before callbacks run",
        watch="a public hook between data and training",
        parameters=("iterator", "data_batch"),
    ),
    Name(
        *("keras.src.backend.common.masking", "get_keras_mask", _STEPS),
        why="which time steps a prediction is masked in: losses and metrics leave them out",
        watch="a public one",
        parameters=("x",),
    ),
    Name(
        *("keras.src.backend.common.masking", "set_keras_mask", _STEPS),
        why="likewise",
        watch="likewise",
        parameters=("x", "mask"),
    ),
    Name(
        *("keras.src.backend.common.global_state", "GLOBAL_STATE_TRACKER", _STEPS),
        why="what Keras keeps per thread: a graph sets it, and another thread has none of it",
        watch="graphs that leave the state of a thread alone",
    ),
    Name(
        *("optimizer", "_filter_empty_gradients", _STEPS),
        why="drops variables without gradient, with a warning that no graph can hold",
        watch="Optimizer.apply that takes None",
        parameters=("grads", "vars"),
    ),
    Name(
        *("optimizer", "_learning_rate", _STEPS),
        why="the variable or schedule; Optimizer.learning_rate is its value",
        watch="a public variable",
    ),
    Name(
        *("variable", "_value", (*_STEPS, *_VALUES)),
        why="the tensor; Variable.value looks for scopes first, a sixth of a small prediction",
        watch="a Variable.value as fast",
    ),
    Name(
        *("keras.src.random.seed_generator", "global_seed_generator", (*_STEPS, *_RANDOM)),
        why="what a run without a seed moves on, which a search must not, and a checkpoint holds",
        watch="keras.random.global_seed_generator",
        parameters=(),
    ),
    Name(
        *("keras.src.backend.common.global_state", "get_global_attribute", _RANDOM),
        why="whether there is such a generator: asking for it makes one, which draws a number",
        watch="keras.random.global_seed_generator that can be asked",
        parameters=("name", "default", "set_to_default"),
    ),
    Name(
        *("keras.src.utils.backend_utils", "DynamicBackend", _STEPS),
        why="layers that prepare data find their backend through it, by an import per look-up",
        watch="its attributes being captured by torch",
        parameters=("backend",),
    ),
    Name(
        *("optimizer", "_get_variable_index", (*_COUPLED, Feature.RATE_ON_DEVICE)),
        why="where an optimizer keeps a variable's velocity",
        watch="slots by variable",
        parameters=("variable",),
    ),
    Name(
        *("optimizer", "_use_weight_decay", _COUPLED),
        why="what `exclude_from_weight_decay` has noted",
        watch="a public list of it",
        parameters=("variable",),
    ),
    Name(
        *("optimizer", "_apply_weight_decay", _COUPLED),
        why="overridden: the decay is part of the gradient here",
        watch="a public choice between coupled and decoupled decay",
        parameters=("variables",),
    ),
    Name(
        *("optimizer", "_backend_update_step", _COUPLED),
        why="overridden: all variables at once",
        watch="a public update of all variables",
        parameters=("grads", "trainable_variables", "learning_rate"),
    ),
    Name(
        *("callback list", "_add_default_callbacks", _LOGS),
        why="overridden: another progress bar",
        watch="CallbackList taking a progress bar",
        parameters=("add_history", "add_progbar"),
    ),
    Name(
        *("callback list", "_configure_async_dispatch", _LOGS),
        why="overridden: nothing is dispatched to threads, for nothing is read",
        watch="logs that Keras reads late itself",
        parameters=("callbacks",),
    ),
    Name(
        *("callback list", "_progbar", _LOGS),
        why="the progress bar among the callbacks",
        watch="a public attribute",
    ),
    Name(
        *("progress bar", "_update_progbar", _LOGS),
        why="overridden: logs are looked at when the bar is drawn",
        watch="Keras's bar doing so",
        parameters=("batch", "logs"),
    ),
    Name(
        *("progress bar's own", "_last_update", _LOGS),
        why="when the bar was drawn last",
        watch="likewise",
    ),
    Name(
        *("keras.src.utils.python_utils", "pythonify_logs", _LOGS),
        why="Keras's own conversion, so that the logs are Keras's in every respect",
        watch="a public one",
        parameters=("logs",),
    ),
    Name(
        *("keras.src.trainers.data_adapters", "get_data_adapter"),
        (*_LOGS, *_PARALLEL, Feature.PREFETCH),
        why="what `fit` makes of its data",
        watch="a public adapter interface",
        parameters=(
            *("x", "y", "sample_weight", "batch_size", "steps_per_epoch"),
            *("shuffle", "class_weight"),
        ),
    ),
    Name(
        *("keras.src.trainers.data_adapters.data_adapter", "DataAdapter"),
        (*_PARALLEL, Feature.PREFETCH),
        why="Keras takes an adapter of one's own wherever it takes data",
        watch="likewise",
        parameters=(),
    ),
    Name(
        *("compiled model", "_get_metrics_result_or_logs", _PARALLEL),
        why="overridden: the end of an epoch's batches, where processes add what they measured",
        watch="a public hook between training and validation",
        parameters=("logs",),
    ),
    Name(
        *("compiled model", "_initial_epoch", _PARALLEL),
        why="where a callback of the first process lets training begin; the others have none",
        watch="a public attribute",
    ),
    Name(
        *("keras.src.trainers.data_adapters.array_slicing", "train_validation_split", _PARALLEL),
        why="`validation_split` is cut off before the processes take their parts",
        watch="a public one",
        parameters=("arrays", "validation_split"),
    ),
    Name(
        *("batch norm", "_moments", (Feature.SYNCHRONIZED_BATCH_NORM,)),
        why="replaced by the moments over all processes",
        watch="BatchNormalization(synchronized=True) on torch",
        parameters=("inputs", "mask"),
    ),
    Name(
        *("batch norm", "_reduction_axes", (Feature.SYNCHRONIZED_BATCH_NORM,)),
        why="along which axes the moments are",
        watch="likewise",
    ),
    Name(
        *("keras.src.backend.common.stateless_scope", "in_stateless_scope"),
        (Feature.STATELESS_SCOPE, *_VALUES),
        why="under a StatelessScope variables must not change in place",
        watch="keras.StatelessScope telling whether it is entered",
        parameters=(),
    ),
    Name(
        *("keras.src.models.functional", "Functional", (*_RUN, Feature.DEPLOY)),
        why="`keras.Model` makes one of inputs and outputs, of a class by that name",
        watch="keras.models.Functional",
        base=keras.Model,
    ),
    Name(
        *("keras.src.saving.saving_lib", "H5IOStore", _FILES),
        why="a store that takes notes stands in the place of one",
        watch="a public map from variables to their places in a file",
        parameters=("path_or_io", "archive", "mode"),
    ),
    Name(
        *("keras.src.saving.saving_lib", "_save_state", _FILES),
        why="writes to that store",
        watch="likewise",
        parameters=(
            *("saveable", "weights_store", "assets_store", "inner_path", "visited_saveables"),
        ),
    ),
)
