"""The benchmark harness: its arithmetic, its fairness and what it leaves behind."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import cases, networks, report, steps, timing  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402

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


def test_a_part_is_compared_in_the_same_rounds():
    result = timing.Timing("x", {"a": [1.0], "b": [2.0], "c": [3.0]}).part("y", ("b", "c"))
    assert result == timing.Timing("y", {"b": [2.0], "c": [3.0]})
    assert result.ratio("c") == 1.5


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
        calls={"a": 5},
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


def test_the_record_names_every_variant_and_keeps_what_was_there(tmp_path, capsys):
    path = tmp_path / "RESULTS.md"
    results = [
        timing.Timing("net", {"PyTorch": [1.0], "keras_mg": [1.25]}),
        timing.Timing("other", {"PyTorch": [1.0], "keras_mg": [0.5]}),
        report.Figures("peak", "MiB", {"PyTorch": 100.0, "keras_mg": 104.0}),
        report.Figures("speed", "GB/s", {"copy": 10.0}, compared=False),
    ]
    for heading in ("## first", "## second"):
        record = report.Record(path, heading)
        for i, result in enumerate(results):
            record.add(result)
            # Each is there at once: what follows may be cut off.
            assert f"| {result.name} |" in path.read_text().split(heading)[1]
            assert record.results == results[: i + 1]
    text = path.read_text()
    assert text.count("# Results\n") == 1
    _, first, second = text.split("\n## ")
    assert first.removeprefix("first") == second.removeprefix("second").removesuffix("\n") + "\n"
    lines = text.splitlines()
    assert lines.count("| net | keras_mg | 1250.00 | 1250.00 | 1.250 | 1.250 |") == 2
    assert lines.count("| peak | keras_mg | 104 MiB | 1.040 |") == 2
    assert lines.count("| speed | copy | 10 GB/s |  |") == 2
    # One table of each kind per section.
    assert [lines.count(report.head(r)[0]) for r in results[1:3]] == [2, 2]
    assert capsys.readouterr().out.count("| net | keras_mg |") == 2


def test_the_command_measures_prints_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Settings, "prepare", lambda self: None)
    monkeypatch.setitem(cases.CASES, "fit", fake_case)
    command.main(["fit", "--device", "cpu", "--output-dir", str(tmp_path), "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "## fit, 20" in printed
    assert "torch" in printed
    assert "| fake | keras_mg | 2000.00" in printed
    assert "| fake | keras_mg | 2000.00" in (tmp_path / "RESULTS.md").read_text()
    assert (tmp_path / "fit_cpu.png").read_bytes().startswith(b"\x89PNG")


def fake_case(settings):
    """Stands for a benchmark."""
    fake = timing.Timing("fake", {"PyTorch": [1.0], "keras_mg": [2.0]})
    yield fake, timing.Timing("fake, again", fake.seconds)
    yield timing.Timing("further", fake.seconds)


def test_a_limit_of_time_keeps_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(Settings, "prepare", lambda self: None)
    monkeypatch.setitem(cases.CASES, "fit", fake_case)
    monkeypatch.setitem(cases.CASES, "predict", fake_case)
    limit = ["--seconds", "1e-9", "--output-dir", str(tmp_path)]
    command.main(["fit", "predict", "--device", "cpu", *limit])
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| fake | keras_mg |" in text
    assert "| fake, again | keras_mg |" in text
    assert "further" not in text
    assert "## predict" not in text
    assert "more was to be measured" in text
    assert (tmp_path / "fit_cpu.png").exists()


def test_a_failure_keeps_what_was_measured(tmp_path, monkeypatch):
    def failing(settings):
        """Breaks off."""
        yield from fake_case(settings)
        raise MemoryError("the second network")

    monkeypatch.setattr(Settings, "prepare", lambda self: None)
    monkeypatch.setitem(cases.CASES, "fit", failing)
    with pytest.raises(MemoryError, match="the second network"):
        command.main(["fit", "--device", "cpu", "--output-dir", str(tmp_path)])
    assert "| further | keras_mg |" in (tmp_path / "RESULTS.md").read_text()


def test_a_slow_variant_is_called_less_often():
    clock, calls = Clock(), {"fast": 0, "slow": 0}

    def variant(name, seconds):
        def run():
            calls[name] += 1
            clock.spend(seconds)

        return run

    result = Settings(rounds=2).time(
        "x", {"fast": variant("fast", 0.01), "slow": variant("slow", 1)}, clock=clock
    )
    assert result.ratio("slow") == pytest.approx(100)
    assert calls["fast"] - calls["slow"] == 4 * 9  # of two rounds to warm up and two that count


def test_an_unknown_name_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    error = capsys.readouterr().err
    assert "nonsense" in error
    assert "predict" in error
