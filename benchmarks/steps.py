"""One step of training or inference, by Keras's own functions and written by hand."""

from __future__ import annotations

from collections.abc import Callable

import keras
import torch

from benchmarks.networks import Batch, Network, keras_loss, parameters, twin_loss
from keras_mg.training import prefetch

# The recipe of all four families: SGD with momentum.
LEARNING_RATE = 0.01
MOMENTUM = 0.9

Step = Callable[[], object]


def compile_keras(network: Network, model: keras.Model, **options) -> keras.Model:
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    model.compile(optimizer=optimizer, loss=keras_loss(network), **options)
    return model


def keras_train(network: Network, model: keras.Model, batch: Batch, **options) -> Step:
    """What `fit` runs on each batch; the options are those of `compile`."""
    compile_keras(network, model, **{"jit_compile": False, **options})
    data = (batch.images, batch.targets)
    # Builds loss, metrics and optimizer the way `fit` does.
    model.fit(*data, batch_size=len(batch.images), verbose=0)
    model.train()
    function = model.make_train_function() or model.train_function
    return lambda: function([data])


SMALL = 2**20  # parameters


def _fastest_sgd(twin: torch.nn.Module, device: str) -> dict[str, bool]:
    """The form of SGD that an expert asks for where the step runs eagerly."""
    if device == "cuda":
        return {"fused": True}  # torch itself takes `foreach` there, which runs more kernels
    # On a CPU the dispatcher's work counts in a small network: `foreach` takes 0.7 times the time
    # of torch's loop over the parameters there, but 1.1 times in the large ones; `fused` takes 0.9
    # to 3 times.
    return {"foreach": parameters(twin) < SMALL}


def twin_train(
    network: Network, twin: torch.nn.Module, batch: Batch, compiled: bool = False, autocast=None
) -> Step:
    """The training loop that an expert writes."""
    twin.train()
    loss_function = twin_loss(network)
    device = batch.images.device.type
    optimizer = torch.optim.SGD(
        twin.parameters(),
        LEARNING_RATE,
        momentum=MOMENTUM,
        **({} if compiled else _fastest_sgd(twin, device)),
    )
    total = torch.zeros((), device=device)

    def loss_of(x, y):
        with torch.autocast(device, autocast, enabled=autocast is not None):
            return loss_function(twin(x), y)

    update = optimizer.step
    if compiled:
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)
        update = torch.compile(lambda: optimizer.step(), dynamic=False)

    def step(batch=batch):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch.nchw, batch.twin_targets)
        loss.backward()
        update()
        return total.add_(loss.detach())

    return step


def keras_predict(network: Network, model: keras.Model, batch: Batch, jit_compile=False) -> Step:
    """What `predict` runs on each batch."""
    compile_keras(network, model, jit_compile=jit_compile)
    model.predict(batch.images, batch_size=len(batch.images), verbose=0)
    model.eval()
    function = model.make_predict_function() or model.predict_function
    data = (batch.images,)
    return lambda: function([data])


def twin_predict(twin: torch.nn.Module, batch: Batch, compiled: bool = False, autocast=None):
    """Inference as an expert writes it."""
    twin.eval()
    x = batch.nchw
    function = torch.compile(twin, fullgraph=True, dynamic=False) if compiled else twin

    def step():
        with (
            torch.inference_mode(),
            torch.autocast(x.device.type, autocast, enabled=autocast is not None),
        ):
            return function(x)

    return step


def repeated(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The host's copy of a batch, `count` times over."""
    return tensor.cpu().repeat(count, *[1] * (tensor.dim() - 1))


def keras_epoch(network: Network, model: keras.Model, batch: Batch, count: int) -> Step:
    """`fit` on `count` batches: arrays on a CPU, and on a GPU what README advises there."""
    compile_keras(network, model, jit_compile=True)
    images = repeated(batch.images, count)
    targets = repeated(batch.targets, count)
    if batch.images.device.type == "cuda":
        data = torch.utils.data.TensorDataset(images, targets)
        loader = torch.utils.data.DataLoader(data, len(batch.images), shuffle=True)
        return lambda: model.fit(prefetch(loader), verbose=0)
    arrays = images.numpy(), targets.numpy()
    return lambda: model.fit(*arrays, batch_size=len(batch.images), verbose=0)


def twin_epoch(
    network: Network, twin: torch.nn.Module, batch: Batch, count: int, autocast=None
) -> Step:
    """The loop that an expert writes around `twin_train`, over a `DataLoader`."""
    device = batch.images.device
    step = twin_train(network, twin, batch, compiled=True, autocast=autocast)
    data = torch.utils.data.TensorDataset(
        repeated(batch.images, count), repeated(batch.targets, count)
    )
    loader = torch.utils.data.DataLoader(
        data, len(batch.images), shuffle=True, pin_memory=device.type == "cuda"
    )

    def epoch() -> float:
        twin.train()
        for images, targets in loader:
            moved = (t.to(device, non_blocking=True) for t in (images, targets))
            loss = step(Batch(*moved, batch.maps))
        return loss.item()

    return epoch
