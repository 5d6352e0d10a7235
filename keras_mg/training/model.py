"""The Keras model whose steps compile."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable
from typing import TypeVar, cast

import keras

from keras_mg._private import Feature, missing
from keras_mg._private import keras as private_keras
from keras_mg._private.keras import Functional
from keras_mg.distribution.data_parallel import is_parallel
from keras_mg.distribution.processes import have_met
from keras_mg.training import _lazy_logs as lazy_logs
from keras_mg.training import _recomputed_layers as recomputed_layers
from keras_mg.training import measured_steps
from keras_mg.training._choices import Choices
from keras_mg.training._exporting import with_inputs, without_notices
from keras_mg.training._graph_run import GraphRun
from keras_mg.training._hdf5_files import name_package
from keras_mg.training._images import refusal_of
from keras_mg.training._small_gradients import loses_small_gradients
from keras_mg.training._step_model import StepModel, is_torch, on_cuda
from keras_mg.training.prefetch import refuse_beside_adapter
from keras_mg.training.stored_in_order import stored_in_order

# Whether a functional model runs its graph itself.
_RUNS_GRAPHS = not missing(Feature.OWN_GRAPH_RUN)

Method = TypeVar("Method", bound=Callable)


def _as_in_keras(method: Method) -> Method:
    """`method` with the signature and the docstring that it has in Keras."""
    return cast(Method, functools.wraps(getattr(keras.Model, method.__name__))(method))


@keras.saving.register_keras_serializable(package="keras_mg")
class Model(StepModel):
    """A `keras.Model` that trains, tests and predicts as captured graphs on torch.

    `Model(inputs, outputs)` makes a functional model, as `keras.Model(inputs, outputs)` does, and
    everything else is Keras's. The difference is `jit_compile` in `compile()`:

    - `True` captures forward pass, loss and metrics as one torch graph, its backward pass as
      another and the optimizer's update as a third, and compiles them. The first batch shape
      compiles at once (seconds to minutes), a further one when it comes twice in a row; other
      shapes, such as that of a partial last batch, run eagerly.
    - `False` runs eagerly.
    - `"auto"` (the default) compiles on a CUDA device. On a CPU it runs eagerly until there is so
      much work left that compiling would take at most a tenth of it; then it runs and times a few
      steps either way, goes on with what was faster, says so in one line, and remembers it for this
      network, batch shape and machine (`keras_mg.training.forget_measured_steps`).

    `remat=True` in `compile()` trades time for memory: of each layer of `keras_mg.layers` that is
    part of a functional `Model`, or of one inside it, training keeps the input alone and computes
    the rest once more in the backward pass. Results do not change. Torch only. Layers of yours can
    say that they may be recomputed, too (`keras_mg.layers.protocols`).

    Changes of `trainable`, of the optimizer's settings, and of numbers in Python attributes of your
    own layers, losses and metrics take effect at the next step; other changes of layers, as with
    every compiled Keras model, at the next `compile()`. Where a layer cannot be captured (one that
    calls other libraries or looks at values, and of the random ones all but a `Dropout` without a
    `seed`), or counts in Python, a warning names it and the forward pass runs eagerly; a loss or a
    metric that needs numbers on the host stays out of the graph, and so does the optimizer's update
    where Keras decides by a value. `Dropout` draws other numbers compiled than eagerly: inductor
    has a generator of its own.

    In a model without trainable weights, such as one from `deploy`, a compiled `predict` on a CPU
    makes constants of the weights. It notices `assign`, `set_weights`, loading and in-place changes
    of the tensors, but not writes to their `.data`.

    On other backends the model is Keras's in every respect.

    Args:
        *args: of `keras.Model`: `inputs` and `outputs`.
        **kwargs: of `keras.Model`: `name`, `trainable`.

    Raises:
        ValueError: as `keras.Model` does.

    Example:
        >>> import keras_mg, keras, numpy as np
        >>> trunk = keras_mg.applications.MgNet(
        ...     (1, 1), filters=8, include_top=False, pooling="avg", input_shape=(16, 16, 3)
        ... )
        >>> model = keras_mg.Model(trunk.input, keras.layers.Dense(3)(trunk.output))
        >>> model.compile("sgd", "mse", jit_compile="auto")
        >>> history = model.fit(np.ones((4, 16, 16, 3)), np.ones((4, 3)), verbose=0)
        >>> sorted(history.history)
        ['loss']
    """

    # Until `compile()` sets them.
    _jit_compile_request: bool | str | None = "auto"
    _remat = False
    _recomputed_layers: frozenset[int] = frozenset()

    # A reference to what `fit` or `evaluate` iterates over.
    _last_iterator: weakref.ref | None = None

    # While `fit` or `evaluate` has not told the callbacks yet how many batches there are.
    _lazy_callbacks: lazy_logs.LazyCallbackList | None = None

    def __new__(cls, *args, **kwargs):
        if cls is Model and _are_functional(args, kwargs):
            cls = FunctionalModel
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args, **kwargs):
        if _are_functional(args, kwargs) and not isinstance(self, Functional):
            _make_functional(type(self))
        super().__init__(*args, **kwargs)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str | None = "auto",
        auto_scale_loss: bool = True,
        remat: bool = False,
    ):
        """Configure training, as `keras.Model.compile` does, whose arguments but two these are.

        Args:
            optimizer: name or `keras.optimizers.Optimizer`. Defaults to `"rmsprop"`.
            loss: name, function or `keras.losses.Loss`, or a nest of them. Defaults to None.
            loss_weights: floats, one per output. Defaults to None.
            metrics: list of names and `keras.metrics.Metric`, or a nest of them. Defaults to None.
            weighted_metrics: likewise of those that sample weights apply to. Defaults to None.
            run_eagerly: bool, whether nothing is ever compiled. Defaults to False.
            steps_per_execution: int, batches per call of the step. Defaults to 1.
            jit_compile: True, False or `"auto"`, see the class. Defaults to `"auto"`.
            auto_scale_loss: bool, whether `mixed_float16` scales the loss: of the model, or of a
                layer in it that trains. Defaults to True.
            remat: bool, whether training recomputes layers in place of keeping what they make, see
                the class. Defaults to False.

        Raises:
            ValueError: if `remat` or `jit_compile` is something else, or `remat=True` cannot be
                had with this backend or this Keras.
        """
        if not isinstance(remat, bool):
            raise ValueError(f"remat must be a boolean. Received: remat={remat!r}")
        if remat and not is_torch():
            raise ValueError(
                "remat=True is for the torch backend (on others, build the model inside "
                f"`keras.RematScope`). Received: backend={keras.backend.backend()!r}"
            )
        if remat and not _RUNS_GRAPHS:
            raise ValueError(
                f"remat=True cannot be had with Keras {keras.__version__}, which does not have "
                f"{', '.join(missing(Feature.OWN_GRAPH_RUN))}. Received: remat=True"
            )
        requested = jit_compile
        if requested not in (True, False, None, "auto"):
            raise ValueError(
                f'jit_compile must be True, False or "auto". Received: jit_compile={requested!r}'
            )
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        if _RUNS_GRAPHS and self._recompute(remat) == 0 and remat:
            warnings.warn(
                f"remat=True: model '{self.name}' has no layer that can be recomputed. These are "
                "the layers of keras_mg.layers, and those that say so themselves, in a "
                "keras_mg.Model(inputs, outputs).",
                stacklevel=2,
            )
        if auto_scale_loss and loses_small_gradients(self):
            self._scale_loss()
        self._jit_compile_request = requested
        self._compiled_steps = None
        self._slots_laid_out = False
        self._choices = None
        if requested == "auto" and is_torch() and not self.run_eagerly:
            self._let_steps_choose()
        if is_torch() and self.jit_compile and missing(Feature.COMPILED_STEPS):
            self.jit_compile = False
            _warn_that_nothing_compiles()
        if is_torch():
            from keras_mg.training import _torch_optimizers as torch_optimizers

            torch_optimizers.keep_rate_on_device(self.optimizer)

    def _scale_loss(self) -> None:
        given: keras.optimizers.Optimizer | None = getattr(self, "optimizer", None)
        if given is not None and not isinstance(given, keras.optimizers.LossScaleOptimizer):
            scaled = keras.optimizers.LossScaleOptimizer(given, name="loss_scale_optimizer")
            self.optimizer = scaled

    def _recompute(self, remat: bool) -> int:
        """Mark the layers that `remat` is for, and say how many there are."""
        layers = private_keras.flatten_layers(self)
        return recomputed_layers.mark([x for x in layers if isinstance(x, Model)], remat)

    def _let_steps_choose(self) -> None:
        """What `jit_compile="auto"` means."""
        if self._on_cuda():
            self.jit_compile = True
            if not self.jit_compile:  # there are layers that say that they cannot
                return
        if not missing(Feature.COMPILED_STEPS) and not measured_steps.is_off():
            self._choices = Choices(self, self._on_cuda())

    def _on_cuda(self) -> bool:
        return is_torch() and on_cuda(self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Of a functional model alone: to a class of your own, "dtype" is an argument of `__init__`.
        config, policy = dict(config), None
        if "input_layers" in config:
            policy, _ = config.pop("dtype", None), config.pop("requires", None)
        model = super().from_config(config, custom_objects=custom_objects)
        if policy is not None:  # files from before do not have it
            model.dtype_policy = policy
        return model

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and "jit_compile" in config:
            # What "auto" means depends on the machine that loads the model.
            config["jit_compile"] = self._jit_compile_request
        if config and self._remat:
            config["remat"] = True
        return config

    def compile_from_config(self, config):
        if type(self).compile is not Model.compile:
            return super().compile_from_config(config)
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    @_as_in_keras
    def fit(self, *args, **kwargs):
        return self._with_lazy_logs(super().fit, args, kwargs)

    @_as_in_keras
    def evaluate(self, *args, **kwargs):
        return self._with_lazy_logs(super().evaluate, args, kwargs)

    @_as_in_keras
    def predict(self, *args, **kwargs):
        return self._with_lazy_logs(super().predict, args, kwargs)

    def _with_lazy_logs(self, method, args, kwargs):
        refuse_beside_adapter(method, args, kwargs)
        if is_parallel():
            from keras_mg.training import _parallel as parallel

            return parallel.call(self, method, self._run_with_lazy_logs, args, kwargs)
        return self._run_with_lazy_logs(method, args, kwargs)

    def _run_with_lazy_logs(self, method, args, kwargs):
        if not is_torch() or missing(Feature.LAZY_LOGS):
            return method(*args, **kwargs)
        return lazy_logs.call(self, method, args, kwargs)

    def _symbolic_build(self, iterator=None, data_batch=None):
        super()._symbolic_build(iterator, data_batch)
        object.__setattr__(self, "_last_iterator", iterator and weakref.ref(iterator))
        if self._lazy_callbacks is not None:
            self._lazy_callbacks.begin(getattr(iterator, "num_batches", None))
            self._lazy_callbacks = None

    def _initialize_ddp(self):
        # Keras's own wrapper, since 3.16: wherever processes have met it would synchronise them.
        if not have_met():
            super()._initialize_ddp()

    def get_metrics_result(self):
        # Likewise it would add the metrics of all processes in each step.
        if have_met():
            return private_keras.own_metrics_result(self)
        return super().get_metrics_result()

    def _get_metrics_result_or_logs(self, logs):
        run = self._parallel_run
        if run is None:
            return super()._get_metrics_result_or_logs(logs)
        run.batches_end()
        result = super()._get_metrics_result_or_logs(logs)
        return run.mean(result) if result is logs else result

    def quantize(self, *args, **kwargs):
        super().quantize(*args, **kwargs)
        self._compiled_steps = None

    @_as_in_keras
    def save(self, filepath, *args, **kwargs):
        super().save(filepath, *args, **kwargs)
        name_package(filepath, type(self))

    def export(self, filepath, *args, **kwargs):
        """Keras's own `export`, of weights that lie in the order of their axes meanwhile.

        See `keras_mg.training.stored_in_order`. A functional model need not have been called.

        Args:
            filepath: where to.
            *args: of `keras.Model.export`.
            **kwargs: likewise.
        """
        with stored_in_order(self), without_notices():
            return super().export(filepath, *args, **with_inputs(self, args, kwargs))


@keras.saving.register_keras_serializable(package="keras_mg", name="Functional")
class FunctionalModel(Model, Functional):
    """What `Model(inputs, outputs)` makes.

    Running the graph lets go of each tensor after its last reader: Keras keeps the outputs of all
    layers to the end, which in inference takes memory and, on a CPU, time.
    """

    _graph_run: GraphRun | None = None

    @property
    def pyramid_outputs(self) -> dict[str, keras.KerasTensor]:
        """The feature maps by level ("P2", ...) of a trunk with `pyramid_outputs=True`.

        Detectors and segmenters of keras-hub look for them under this name.
        """
        if not isinstance(self.output, dict):
            raise AttributeError(f"model {self.name!r} has no pyramid_outputs: it has one output")
        return dict(self.output)

    def __call__(self, *args, **kwargs):
        try:
            return super().__call__(*args, **kwargs)
        except ValueError as error:
            # Keras speaks of the layer that the images reached, and may have taken them for others.
            refusal = refusal_of(self, args[0] if args else kwargs.get("inputs"))
            if refusal is None:
                raise
            raise ValueError(refusal) from error

    def get_config(self):
        config = super().get_config()
        # Keras leaves it out: a model would be loaded with the policy that is global then, by which
        # `compile` decides whether to scale the loss. A quantised one is that of the layers.
        if "input_layers" in config and self.dtype_policy.quantization_mode is None:
            config["dtype"] = keras.dtype_policies.serialize(self.dtype_policy)
        if "input_layers" in config:
            # Where nobody has, Keras ends its error with the config of what it does not know.
            config["requires"] = "import keras_mg"
        return config

    def _run_through_graph(self, inputs, operation_fn=lambda op: op, call_fn=None):
        if not _RUNS_GRAPHS or call_fn is not None:
            return super()._run_through_graph(inputs, operation_fn, call_fn)
        return self.graph_run()(inputs, operation_fn, self._recomputed_layers)

    def graph_run(self) -> GraphRun:
        """What runs the graph, made once."""
        run = self._graph_run
        if run is None:
            run = GraphRun(self)
            object.__setattr__(self, "_graph_run", run)
        return run


# HDF5 files of Keras 2's kind (`model.save("m.h5")`) name a class by its own name.
keras.saving.get_custom_objects()[FunctionalModel.__name__] = FunctionalModel


def _make_functional(cls: type) -> None:
    """Let a subclass of `Model`, at any depth, be one of `FunctionalModel`."""
    for base in cls.__bases__:
        if base is not Model and issubclass(base, Model) and not issubclass(base, Functional):
            _make_functional(base)
    cls.__bases__ = tuple(FunctionalModel if base is Model else base for base in cls.__bases__)


def _are_functional(args, kwargs) -> bool:
    """Whether these arguments of `Model` are the inputs and outputs of a functional model."""
    given = len(args) + sum(name in kwargs for name in ("inputs", "outputs"))
    return given >= 2


@functools.cache
def _warn_that_nothing_compiles() -> None:
    warnings.warn(
        f"Models run eagerly, not compiled: this keras_mg does not know Keras {keras.__version__} "
        f"with its torch, which do not have {', '.join(missing(Feature.COMPILED_STEPS))}.",
        stacklevel=3,
    )
