"""`keras_mg.Model`: Keras's behaviour in every respect, and compiled steps that change nothing."""

import keras
import numpy as np
import pytest

import keras_mg
from keras_mg.layers import ConvNormActivation
from tests.support import compiled as support
from tests.support.arrays import numpy as array
from tests.support.compiled import assert_same, graphs, unique_graphs

pytestmark = support.MARKS

SAMPLES, BATCH, CLASSES = 10, 4, 3  # the last batch is a partial one


def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, 8, 8, 3)).astype("float32")
    return x, generator.integers(CLASSES, size=SAMPLES)


def trunk(**options):
    images = keras.Input((8, 8, 3))
    x = ConvNormActivation(4, data_format="channels_last", **options)(images)
    return images, keras.layers.GlobalAveragePooling2D()(x)


def plain():
    images, x = trunk()
    return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")


def with_head(*layers):
    def build():
        images, x = trunk()
        for layer in layers:
            x = layer()(x)
        return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")

    return build


def half_frozen():
    model = plain()
    model.layers[1].trainable = False
    return model


def in_bfloat16():
    images, x = trunk(dtype="mixed_bfloat16")
    return keras_mg.Model(images, keras.layers.Dense(CLASSES)(x), name="small")


def regularized():
    images, x = trunk()
    head = keras.layers.Dense(
        CLASSES, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L2(0.01)
    )
    return keras_mg.Model(images, head(x), name="small")


def two_outputs():
    images, x = trunk()
    outputs = {"a": keras.layers.Dense(CLASSES)(x), "b": keras.layers.Dense(CLASSES)(x)}
    return keras_mg.Model(images, outputs, name="small")


def fine_tuned():
    images, x = trunk()
    inner = keras_mg.Model(images, x)
    image = keras.Input((8, 8, 3))
    return keras_mg.Model(image, keras.layers.Dense(CLASSES)(inner(image)), name="small")


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sgd(**options):
    return keras.optimizers.SGD(0.05, momentum=0.9, **options)


def fit(
    build,
    optimizer,
    jit_compile,
    fit_options=None,
    backend="aot_eager",
    loss=None,
    evaluate=False,
    **options,
):
    """Everything that training, and with `evaluate` evaluation and prediction, leave behind."""
    keras.utils.set_random_seed(1)
    model = build()
    model.torch_backend = backend
    options = {"metrics": ["accuracy"], **options}
    model.compile(optimizer(), loss or crossentropy(), jit_compile=jit_compile, **options)
    x, y = data()
    if isinstance(model.output, dict):
        y = {"a": y, "b": y}
    history = model.fit(
        x,
        y,
        **{"batch_size": BATCH, "epochs": 4, "verbose": 0, "shuffle": False, **(fit_options or {})},
    )
    result = support.left_behind(model, history)
    if evaluate:
        result["scores"] = model.evaluate(x, y, batch_size=BATCH, verbose=0)
        result["predictions"] = model.predict(x, batch_size=BATCH, verbose=0)
    return result, model


def assert_moves(result, model, build):
    """Training changed the weights, and the metrics of no two epochs are the same."""
    keras.utils.set_random_seed(1)
    start = build()
    pairs = zip(start.trainable_weights, model.trainable_weights, strict=True)
    assert all(not np.array_equal(array(a), array(b)) for a, b in pairs)
    losses = result["history"]["loss"]
    assert len(set(losses)) == len(losses)


def schedule(epoch, rate):
    return rate / (1 + epoch)


SCENARIOS = {
    "plain": {},
    "half frozen": {"build": half_frozen},
    "bfloat16": {"build": in_bfloat16},
    "regularized": {"build": regularized},
    "two outputs": {
        "build": two_outputs,
        "loss": {"a": crossentropy(), "b": crossentropy()},
        "metrics": {"a": ["accuracy"], "b": []},
        "loss_weights": {"a": 1.0, "b": 0.5},
    },
    "fine-tuning": {"build": fine_tuned},
    "dropout": {"build": with_head(lambda: keras.layers.Dropout(0.5))},
    "batch norm": {"build": with_head(keras.layers.BatchNormalization)},
    "schedule": {
        "optimizer": lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        )
    },
    "cosine": {
        "optimizer": lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.0, 8, warmup_target=0.1, warmup_steps=3)
        )
    },
    "callback": {"fit_options": {"callbacks": [keras.callbacks.LearningRateScheduler(schedule)]}},
    "sample weights": {
        "fit_options": {"sample_weight": np.linspace(0, 1, SAMPLES)},
        "weighted_metrics": ["accuracy"],
    },
    "class weights": {"fit_options": {"class_weight": {0: 1.0, 1: 0.5, 2: 2.0}}},
    "validation": {"fit_options": {"validation_data": data()}},
    "clipping": {"optimizer": lambda: sgd(clipnorm=0.1, use_ema=True)},
    "global clipping": {"optimizer": lambda: sgd(global_clipnorm=0.1)},
    "value clipping": {"optimizer": lambda: sgd(clipvalue=0.01)},
    "EMA": {"optimizer": lambda: sgd(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)},
    "accumulation": {"optimizer": lambda: sgd(gradient_accumulation_steps=2)},
    "loss scale": {"optimizer": lambda: keras.optimizers.LossScaleOptimizer(sgd())},
    "fixed loss scale": {"optimizer": lambda: sgd(loss_scale_factor=128.0)},
}


EVALUATED = ("plain", "bfloat16", "two outputs", "dropout", "batch norm")


# Tracing takes seconds, whatever the size of the model: the others are run with `-m slow`.
QUICK = (
    "plain",
    "half frozen",
    "bfloat16",
    "batch norm",
    "dropout",
    "cosine",
    "sample weights",
    "EMA",
    "accumulation",
)


def quick(names, fast):
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", quick(SCENARIOS, QUICK))
def test_compiled_is_bit_identical_to_eager(name):
    scenario = {"build": plain, "optimizer": sgd, "evaluate": name in EVALUATED, **SCENARIOS[name]}
    eager, model = fit(jit_compile=False, **scenario)
    assert not graphs(model)
    before = unique_graphs()
    compiled, model = fit(jit_compile=True, **scenario)
    assert len(graphs(model)) == 1
    # Training and update, and where they are run, test and prediction: none of them twice.
    allowed = 4 if scenario["evaluate"] else 3 if name == "validation" else 2
    assert 1 <= unique_graphs() - before <= allowed
    assert_moves(compiled, model, scenario["build"])
    assert_same(eager, compiled)


OPTIMIZERS = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "ScheduleFreeAdamW",
]
# Wrappers of other optimizers.
WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "Optimizer"}


def test_every_optimizer_is_tried():
    known = {n for n in dir(keras.optimizers) if isinstance(getattr(keras.optimizers, n), type)}
    assert known <= {*OPTIMIZERS, *WRAPPERS, "SGD"}


@pytest.mark.parametrize("name", quick(OPTIMIZERS, ("AdamW",)))
def test_every_optimizer(name):
    def optimizer():
        return getattr(keras.optimizers, name)(0.01)

    if not hasattr(keras.optimizers, name):
        pytest.skip(f"this Keras has no {name}")
    eager, _ = fit(plain, optimizer, False)
    compiled, model = fit(plain, optimizer, True)
    assert len(graphs(model)) == 1
    assert_moves(compiled, model, plain)
    # Its weights of the average are numbers on the host in the one and tensors in the other.
    tolerance = 1e-6 if name == "ScheduleFreeAdamW" else 0.0
    assert_same(eager, compiled, tolerance)


class Foreign(keras.layers.Layer):
    """Does what no graph can hold: it looks at a value."""

    def call(self, x):
        if keras.ops.sum(x) > 1e9:
            return x
        return x * 2.0


UNCAPTURABLE = {
    "noise": (lambda: keras.layers.Dropout(0.5, seed=1, name="noise"), "layer 'noise' (Dropout)"),
    "foreign": (lambda: Foreign(name="foreign"), "layer 'foreign' (Foreign)"),
}


@pytest.mark.parametrize("name", UNCAPTURABLE)
def test_what_cannot_be_captured_is_named_once_and_runs_eagerly(name):
    layer, message = UNCAPTURABLE[name]
    eager, _ = fit(with_head(layer), sgd, False)
    with pytest.warns(UserWarning, match="jit_compile=True") as caught:
        fallen_back, model = fit(with_head(layer), sgd, True)
    ours = [str(w.message) for w in caught if "jit_compile=True" in str(w.message)]
    assert len(ours) == 1
    assert message in ours[0]
    assert "'small' cannot be captured as one graph" in ours[0]
    assert not graphs(model)
    assert_moves(fallen_back, model, with_head(layer))
    assert_same(eager, fallen_back)


def test_what_the_compiler_says_is_told():
    model = plain()
    model.torch_backend = "no_such_compiler"
    model.compile(sgd(), crossentropy(), jit_compile=True)
    with pytest.warns(UserWarning, match="eagerly. Reason: .*no_such_compiler"):
        model.fit(*data(), verbose=0)


def test_the_uncapturable_layer_is_found_inside_a_nested_model():
    images, x = trunk()
    inner = keras_mg.Model(images, Foreign(name="deep")(x), name="inner")
    image = keras.Input((8, 8, 3))
    model = keras_mg.Model(image, keras.layers.Dense(CLASSES)(inner(image)))
    model.torch_backend = "aot_eager"
    model.compile("sgd", crossentropy(), jit_compile=True)
    x, y = data()
    with pytest.warns(UserWarning, match=r"layer 'deep' \(Foreign\)"):
        model.fit(x, y, verbose=0)


def reads_the_host(y_true, y_pred):
    scale = 2.0 if y_pred.detach().max() > 1e9 else 1.0
    return scale * keras.ops.sum(y_pred**2, -1)


PARTLY_CAPTURED = {
    "metric": (1, {"metrics": [reads_the_host, "accuracy"]}),
    "loss": (2, {"loss": reads_the_host}),
    "loss beside an activity loss": (2, {"loss": reads_the_host, "build": regularized}),
}


@pytest.mark.parametrize("name", PARTLY_CAPTURED)
@pytest.mark.filterwarnings("error:jit_compile")
def test_a_loss_or_metric_that_needs_the_host_leaves_the_network_captured(name):
    extent, options = PARTLY_CAPTURED[name]
    build = options.get("build", plain)
    options = {"build": build, "optimizer": sgd, "evaluate": True, **options}
    eager, _ = fit(jit_compile=False, **options)
    compiled, model = fit(jit_compile=True, **options)
    assert model._compiled_steps.train_step.extent == extent
    assert model._compiled_steps.test_step.extent == extent
    assert len(graphs(model)) == 1
    assert_moves(compiled, model, build)
    assert_same(eager, compiled)


# Two that Keras writes with a question torch's tracer cannot answer, or with values on the host.
LOSSES = {"binary_crossentropy": 0, "hinge": 2, "mse": 0}
METRICS = {"AUC": 1, "MeanSquaredError": 0, "F1Score": 1}


@pytest.mark.parametrize("loss", quick(LOSSES, ("binary_crossentropy",)))
@pytest.mark.parametrize("metric", quick(METRICS, ("AUC",)))
@pytest.mark.filterwarnings("error:jit_compile")
def test_losses_and_metrics_of_keras(loss, metric):
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = with_head(lambda: keras.layers.Dense(3, "softmax"))()
        model = keras_mg.Model(model.input, model.layers[-2].output)
        model.torch_backend = "aot_eager"
        model.compile(
            sgd(), loss, metrics=[getattr(keras.metrics, metric)()], jit_compile=jit_compile
        )
        y_hot = keras.utils.to_categorical(y, CLASSES)
        history = model.fit(x, y_hot, batch_size=BATCH, epochs=2, verbose=0, shuffle=False)
        scores = model.evaluate(x, y_hot, verbose=0)
        results.append(
            {"weights": model.get_weights(), "history": history.history, "scores": scores}
        )
    assert model._compiled_steps.train_step.extent == max(LOSSES[loss], METRICS[metric])
    assert len(graphs(model)) == 1
    assert_same(*results)


def test_a_shape_is_compiled_at_once_or_when_it_comes_twice_in_a_row():
    _, model = fit(plain, sgd, True)
    steps = model._compiled_steps
    assert [tuple(key[1][0]) for key in steps.train_step.graph.compiled] == [(BATCH, 8, 8, 3)]
    x, y = data()
    for _ in range(2):
        model.fit(x[:6], y[:6], batch_size=3, epochs=1, verbose=0)
    assert [key[1][0][0] for key in steps.train_step.graph.compiled] == [BATCH, 3]
    before = unique_graphs()
    model.fit(x, y, batch_size=BATCH, epochs=3, verbose=0)
    assert unique_graphs() == before


def test_compile_drops_the_graphs_and_takes_new_trainable_layers():
    _, model = fit(plain, sgd, True)
    first = model._compiled_steps
    model.layers[1].trainable = False
    model.compile(sgd(), crossentropy(), jit_compile=True)
    frozen = [array(w) for w in model.layers[1].weights]
    head = array(model.layers[-1].kernel)
    x, y = data()
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    assert model._compiled_steps is not first
    for before, after in zip(frozen, model.layers[1].weights, strict=True):
        np.testing.assert_array_equal(before, array(after))
    assert not np.array_equal(head, array(model.layers[-1].kernel))


def test_a_step_of_the_users_own_is_left_alone():
    class Own(keras_mg.Model):
        def train_step(self, data):
            self.calls = getattr(self, "calls", 0) + 1
            return {"loss": keras.ops.zeros(())}

    images, x = trunk()
    model = Own(images, x)
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(data()[0], np.zeros((SAMPLES, 4)), batch_size=5, verbose=0)
    assert model.calls == 2


def test_save_and_resume_compiled(tmp_path):
    x, y = data()
    options = {"batch_size": 5, "verbose": 0, "shuffle": False}
    _, model = fit(plain, sgd, True, {"epochs": 4, **options})
    _, stopped = fit(plain, sgd, True, {"epochs": 2, **options})
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert resumed.jit_compile is True
    resumed.torch_backend = "aot_eager"
    resumed.fit(x, y, epochs=2, **options)
    assert len(graphs(resumed)) == 1
    for a, b in zip(model.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_weights_set_between_steps_are_used():
    _, model = fit(plain, sgd, True)
    x, _ = data()
    compiled = [model.predict(x, batch_size=5, verbose=0)]
    model.set_weights([w * 0.5 for w in model.get_weights()])
    compiled.append(model.predict(x, batch_size=5, verbose=0))
    assert np.abs(compiled[0] - compiled[1]).max() > 0.01
    np.testing.assert_allclose(compiled[1], array(model(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_code_that_inductor_makes_trains_as_eager_does(name):
    from torch._inductor import config

    scenario = {"build": plain, "optimizer": sgd, "evaluate": name in EVALUATED, **SCENARIOS[name]}
    eager, _ = fit(jit_compile=False, **scenario)
    # Else inductor draws random numbers of its own.
    with config.patch(fallback_random=True):
        compiled, model = fit(jit_compile=True, backend="inductor", **scenario)
    assert len(graphs(model)) == 1
    assert_moves(compiled, model, scenario["build"])
    # bfloat16 has 8 bits, and inductor leaves out roundings between the operations it fuses.
    assert_same(eager, compiled, tolerance=0.02 if name == "bfloat16" else 1e-5)


def compiled_model(build=plain, **options):
    model = build()
    model.torch_backend = "aot_eager"
    model.compile(sgd(), crossentropy(), jit_compile=True, **options)
    return model


@pytest.mark.filterwarnings("error:jit_compile")
def test_single_batches_of_numpy_arrays_are_captured():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model() if jit_compile else plain()
        if not jit_compile:
            model.compile(sgd(), crossentropy())
        model(x[:1])
        logs = [model.train_on_batch(x, y), model.test_on_batch(x.astype("float64"), y)]
        results.append({"logs": logs, "y": model.predict_on_batch(x), "w": model.get_weights()})
    assert not model._compiled_steps.failed
    assert len(graphs(model)) == 1
    assert_same(*results)


def test_a_bad_batch_raises_and_changes_nothing_about_the_graphs():
    x, y = data()
    model = compiled_model()
    with pytest.raises(Exception, match="(?i)out of bounds|index"):
        model.train_on_batch(x, y + 100)
    with pytest.raises(ValueError, match="(?i)shape"):
        model.train_on_batch(x[:, :, :, :2], y)
    assert np.isfinite(model.train_on_batch(x, y))
    steps = model._compiled_steps
    assert (steps.failed, steps.train_step.extent, steps.failure) == (False, 0, None)


class Idle(keras.layers.Layer):
    """Has a weight that its output does not depend on."""

    def build(self, shape):
        self.idle = self.add_weight(shape=(3,), name="idle")

    def call(self, x):
        return x * 2.0


def test_the_update_is_captured_where_a_weight_has_no_gradient():
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        eager, _ = fit(with_head(Idle), sgd, False)
    before = unique_graphs()
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['idle.*/idle'\]"):
        compiled, model = fit(with_head(Idle), sgd, True)
    assert len(graphs(model)) == 1
    assert unique_graphs() - before == 2
    assert_same(eager, compiled)


class OwnMetrics(keras_mg.Model):
    """Keras's own pattern of a loss that the model computes and tracks."""

    @property
    def metrics(self):
        if not hasattr(self, "own"):
            self.own = keras.metrics.Mean(name="own")
        return [self.own]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.own.update_state(y_pred[:, 0])
        return keras.ops.mean(keras.ops.square(y_pred[:, 0] - keras.ops.cast(y, "float32")))


class NoMetrics(keras_mg.Model):
    @property
    def metrics(self):
        return []


@pytest.mark.parametrize("kind", [OwnMetrics, NoMetrics])
def test_metrics_of_a_subclass(kind):
    def build():
        images, x = trunk()
        return kind(images, keras.layers.Dense(CLASSES)(x))

    eager, _ = fit(build, sgd, False, metrics=[])
    compiled, model = fit(build, sgd, True, metrics=[])
    assert len(graphs(model)) == 1
    assert eager.pop("history") == compiled.pop("history")
    assert_same(eager, compiled)


def test_freezing_without_compile_counts_from_the_next_step():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model() if jit_compile else plain()
        if not jit_compile:
            model.compile(sgd(), crossentropy())
        model.fit(x, y, verbose=0, shuffle=False)
        model.layers[1].trainable = False
        frozen = [array(w) for w in model.layers[1].weights]
        model.fit(x, y, verbose=0, shuffle=False)
        for before, after in zip(frozen, model.layers[1].weights, strict=True):
            np.testing.assert_array_equal(before, array(after))
        results.append({"weights": model.get_weights()})
    assert len(graphs(model)) == 1
    assert_same(*results)


def test_settings_of_the_optimizer_count_from_the_next_step():
    results = []
    x, y = data()
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        model = compiled_model() if jit_compile else plain()
        optimizer = keras.optimizers.AdamW(0.01)
        model.compile(optimizer, crossentropy(), jit_compile=jit_compile)
        model.torch_backend = "aot_eager"
        model.fit(x, y, verbose=0, shuffle=False)
        optimizer.weight_decay = 5.0
        model.fit(x, y, verbose=0, shuffle=False)
        optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        model.fit(x, y, verbose=0, shuffle=False)
        results.append({"weights": model.get_weights()})
    assert len(graphs(model)) == 1
    assert_same(*results, tolerance=1e-6)


def test_a_model_that_is_built_by_its_first_prediction_is_captured():
    class Own(keras_mg.Model):
        def __init__(self):
            super().__init__()
            self.unit = ConvNormActivation(4)
            self.head = keras.layers.Dense(CLASSES)

        def call(self, x, training=None):
            return self.head(keras.ops.mean(self.unit(x, training=training), (1, 2)))

    model = compiled_model(Own)
    x, y = data()
    model.predict(x, verbose=0)
    model.fit(x, y, verbose=0)
    assert len(graphs(model)) == 1


def test_a_batch_norm_inside_a_layer_of_the_users_own():
    class Composite(keras.layers.Layer):
        def build(self, shape):
            self.norm = keras.layers.BatchNormalization()
            self.norm.build(shape)

        def call(self, x, training=None):
            return self.norm(x, training=training)

    _, model = fit(with_head(Composite), sgd, True)
    assert len(graphs(model)) == 1


def test_auto_compiles_on_cuda_but_not_a_step_of_the_users_own(monkeypatch):
    class Own(keras_mg.Model):
        def train_step(self, data):
            return {"loss": keras.ops.zeros(())}

    monkeypatch.setattr(keras_mg.Model, "_on_cuda", lambda self: True)
    image = keras.Input((4,))
    for kind, compiles in ((keras_mg.Model, True), (Own, False)):
        model = kind(image, keras.layers.Dense(2)(image))
        model.torch_backend = "aot_eager"
        model.compile("sgd", "mse")
        before = unique_graphs()
        model.fit(np.ones((4, 4), "float32"), np.ones((4, 2), "float32"), verbose=0)
        assert (unique_graphs() > before) is compiles
