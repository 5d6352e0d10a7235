"""The twin's synchronised batch norm: of one process, it is torch's own."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.twins.synchronized import SyncBatchNorm, synchronized  # noqa: E402


@pytest.fixture
def alone():
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def trained(network, x):
    x = x.clone().requires_grad_()
    y = network(x)
    (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
    return [y, x.grad, *(p.grad for p in network.parameters()), *network.buffers()]


# Of torch's own, where it traces a function of autograd's.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_batch_norm(alone, compiled):
    make = lambda: torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU())  # noqa: E731
    own, other = make(), synchronized(make())
    assert type(other[0]) is SyncBatchNorm
    x = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    run = torch.compile(other, backend="aot_eager", fullgraph=True) if compiled else other
    for one, two in zip(trained(own, x), trained(run, x), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
