from benchmarks.timing import Timing


def test_each_side_is_its_faster_variant():
    timing = Timing(
        "net",
        {
            "PyTorch compiled": [4.0, 5.0, 6.0],
            "keras_mg compiled": [3.0, 3.0, 9.0],
            "PyTorch": [2.0, 4.0, 9.0],
            "keras_mg": [4.0, 4.0, 1.0],
        },
    )
    best = timing.best_of(
        "net, best",
        {
            "PyTorch": ("PyTorch compiled", "PyTorch"),
            "keras_mg": ("keras_mg compiled", "keras_mg"),
        },
    )
    theirs, ours = best.seconds
    assert (theirs, ours) == ("best of PyTorch: PyTorch", "best of keras_mg: keras_mg compiled")
    assert best.ratio(ours) == 1.0  # of 1.5, 0.75 and 1.0, in the same rounds
