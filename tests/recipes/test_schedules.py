"""Learning rates at the steps where they change, by hand."""

import dataclasses

import pytest

from keras_mg.recipes import GeometricDecay, StepDecay, WarmUpCosine, get_recipe


def rates(schedule, steps_per_epoch, steps, epochs=200):
    rate = schedule.rate(steps_per_epoch, epochs)
    return pytest.approx([float(rate(step)) for step in steps], rel=1e-5)


def schedule(name):
    return get_recipe(name).schedule


def test_igc_drops_after_half_three_quarters_and_seven_eighths():
    steps = [0, 1999, 2000, 2999, 3000, 3499, 3500, 3999]
    expected = [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    assert expected == rates(schedule("igc-resnet-cifar10"), 10, steps)
    steps = [0, 59, 60, 89, 90, 104, 105, 119]
    assert expected == rates(schedule("igc-plain-svhn"), 3, steps)


def test_mgnet_counts_its_epochs_from_1():
    steps_per_epoch = 391
    firsts = [epoch * steps_per_epoch for epoch in range(300)]
    lasts = [first + steps_per_epoch - 1 for first in firsts]
    by_formula = [0.1 * 0.1 ** (epoch // 50) for epoch in range(1, 301)]
    assert by_formula[48] == 0.1
    assert by_formula[49] == pytest.approx(0.01)
    assert by_formula[298:] == pytest.approx([1e-6, 1e-7])  # the sixth drop, for one epoch
    assert by_formula == rates(schedule("mgnet-cifar100"), steps_per_epoch, firsts)
    assert by_formula == rates(schedule("mgnet-cifar100"), steps_per_epoch, lasts)


def test_resnet_drops_at_80_and_120():
    steps = [0, 31279, 31280, 46919, 46920, 78199]
    assert rates(schedule("resnet20-cifar10"), 391, steps) == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_the_110_layers_warm_up_for_400_steps():
    warm = schedule("resnet110-cifar10")
    steps = [0, 399, 400, 31279, 31280, 46919, 46920]
    assert rates(warm, 391, steps) == [0.001, 0.001, 0.1, 0.1, 0.01, 0.01, 0.001]
    # Ten steps per epoch: 400 steps end in epoch 40; two: they outlast both drops, at 160 and 240.
    assert rates(warm, 10, [399, 400, 799, 800, 1200]) == [0.001, 0.1, 0.1, 0.01, 0.001]
    assert rates(warm, 2, [160, 240, 399]) == [0.001, 0.001, 0.001]
    # A drop on the warm-up's last step takes effect when it is over.
    assert rates(warm, 5, [399, 400, 599, 600]) == [0.001, 0.01, 0.01, 0.001]


def test_a_geometric_decay_is_that_of_the_formula():
    # 10 ** -(1 + 3 (e - 1) / 199), e = 1 to 200.
    by_formula = [10 ** -(1 + 3 * (epoch - 1) / 199) for epoch in range(1, 201)]
    decay = GeometricDecay(0.1, 1e-4)
    assert by_formula == rates(decay, 300, [epoch * 300 for epoch in range(200)])
    assert by_formula == rates(decay, 300, [epoch * 300 + 299 for epoch in range(200)])
    assert rates(decay, 4, [0, 3], epochs=1) == [0.1, 0.1]
    assert decay.shortened(5, of=200) is decay


def test_a_warm_up_and_half_a_cosine():
    decay = WarmUpCosine(0.01, warmup=0.05)
    rate = decay.rate(100, 10)
    found = [float(rate(step)) for step in (0, 25, 50, 525, 1000)]
    assert found == pytest.approx([0.0, 0.005, 0.01, 0.005, 0.0], abs=1e-7)
    assert float(decay.rate(1, 1)(0)) == 0.0  # a single step is all warm-up


def test_shortened():
    igc, mgnet, resnet, warm = map(
        schedule, ("igc-resnet-cifar10", "mgnet-cifar10", "resnet20-cifar10", "resnet110-cifar10")
    )
    assert igc.shortened(40, of=400) == dataclasses.replace(igc, drops=(20, 30, 35))
    assert igc.shortened(400, of=400) == igc
    assert mgnet.shortened(600, of=300).drops == (98, 198, 298, 398, 498, 598)
    assert resnet.shortened(10, of=200).drops == (4, 6)
    assert warm.shortened(10, of=200).warmup_steps == 20
    # What is left where drops meet each other, the start or the end.
    assert mgnet.shortened(3, of=300).drops == (1, 2)
    assert igc.shortened(2, of=400).drops == (1,)
    assert rates(igc.shortened(1, of=400), 10, [0, 1, 1000]) == [0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(0.0), "StepDecay: learning_rate must be greater than 0. Received: .*=0"),
        (lambda: StepDecay(0.1, (5,), 1.0), r"factor must be in \(0, 1\)"),
        (lambda: StepDecay(0.1, (120, 80)), r"drops must rise, from 1. Received: .*\(120, 80\)"),
        (lambda: StepDecay(0.1, (0, 80)), "drops must rise"),
        (lambda: StepDecay(0.1, warmup_steps=5), "warmup_learning_rate must be greater than 0"),
        (lambda: StepDecay(0.1, warmup_steps=-1), "warmup_steps must be at least 0"),
        (lambda: GeometricDecay(0.1, 0.0), "GeometricDecay: last must be greater than 0"),
        (lambda: WarmUpCosine(0.1, 1.0), r"WarmUpCosine: warmup must be in \[0, 1\)"),
        (lambda: StepDecay(0.1).rate(0, 1), "steps_per_epoch must be a positive integer"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
