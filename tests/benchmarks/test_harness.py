"""The benchmark harness: its arithmetic, its fairness and what it leaves behind."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import cases, networks, report, steps, timing  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Clock:
    """Stands still but for what `spend` adds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


def test_medians_and_ratios():
    result = timing.Timing("x", {"base": [1.0, 2.0, 4.0], "other": [3.0, 3.0, 4.0]})
    assert result.base == "base"
    assert result.median("other") == 3.0
    assert result.best("base") == 1.0
    assert result.ratio("other") == 1.5  # of 3, 1.5 and 1
    assert result.best_ratio("other") == 3.0
    assert result.ratio("base") == 1.0


def test_variants_take_turns_and_warm_up_is_not_counted():
    clock, order = Clock(), []

    def variant(name, first, later):
        costs = itertools.chain([first], itertools.repeat(later))

        def run():
            order.append(name)
            clock.spend(next(costs))

        return run

    result = timing.measure(
        "x",
        {"a": variant("a", 100, 2), "b": variant("b", 100, 3)},
        rounds=3,
        warm_up=1,
        clock=clock,
    )
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert result.seconds == {"a": [2, 2, 2], "b": [3, 3, 3]}
    assert result.ratio("b") == 1.5


def test_calls_are_averaged_and_the_device_is_awaited():
    clock, waited = Clock(), []
    result = timing.measure(
        "x",
        {"a": lambda: clock.spend(1)},
        rounds=2,
        warm_up=0,
        calls=5,
        synchronize=lambda: waited.append(clock.now),
        clock=clock,
    )
    assert result.seconds == {"a": [1.0, 1.0]}
    assert waited == [0, 5, 5, 10]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_both_sides_are_the_same_network(name):
    network = networks.NETWORKS[name]
    ours, twin = network.ours(), networks.make_twin(network, "cpu")
    assert networks.parameters(ours) == networks.parameters(twin)
    batch = networks.make_batch(network, 1, "cpu")
    assert batch.nchw.data_ptr() == batch.images.data_ptr()
    assert batch.nchw.is_contiguous(memory_format=torch.channels_last)
    if name == "tiny":
        with torch.no_grad():
            assert twin.eval()(batch.nchw).shape == ours(batch.images).shape


def test_every_step_runs_and_trains():
    network = networks.NETWORKS["tiny"]
    batch = networks.make_batch(network, 2, "cpu")
    ours, twin = network.ours(), networks.make_twin(network, "cpu")
    before = [p.detach().clone() for p in twin.parameters()]
    steps.twin_train(network, twin, batch)()
    assert any(not torch.equal(a, b) for a, b in zip(before, twin.parameters(), strict=True))
    assert "loss" in steps.keras_train(network, ours, batch)()
    assert steps.twin_predict(twin, batch)().shape == (2, 10)
    assert steps.keras_predict(network, ours, batch)().shape == (2, 10)


def test_tables_name_every_variant():
    results = [
        timing.Timing("net", {"PyTorch": [1.0], "keras_mg": [1.25]}),
        report.Figures("peak", "MiB", {"PyTorch": 100.0, "keras_mg": 104.0}),
        report.Figures("speed", "GB/s", {"copy": 10.0}, compared=False),
    ]
    text = report.table(results)
    assert "| net | keras_mg | 1250.00 | 1250.00 | 1.250 | 1.250 |" in text
    assert "| peak | keras_mg | 104 MiB | 1.040 |" in text
    assert "| speed | copy | 10 GB/s |  |" in text


def test_results_are_added_not_replaced(tmp_path):
    path = tmp_path / "RESULTS.md"
    report.append(path, "one")
    report.append(path, "two")
    assert path.read_text().endswith("one\n\ntwo\n")
    assert path.read_text().count("# Results") == 1


def test_the_command_measures_prints_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setitem(cases.CASES, "train", fake_case)
    command.main(["train", "--device", "cpu", "--output-dir", str(tmp_path), "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "## train, 20" in printed
    assert "torch" in printed
    assert "| fake | keras_mg | 2000.00" in printed
    assert "| fake | keras_mg | 2000.00" in (tmp_path / "RESULTS.md").read_text()
    assert (tmp_path / "train_cpu.png").read_bytes().startswith(b"\x89PNG")


def fake_case(settings):
    """Stands for a benchmark."""
    return [timing.Timing("fake", {"PyTorch": [1.0], "keras_mg": [2.0]})]


def test_an_unknown_name_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    error = capsys.readouterr().err
    assert "nonsense" in error
    assert "inference" in error
