"""Images of which every crop can be told apart, and all crops of one."""

import itertools

import keras
import numpy as np

from keras_mg.datasets import Images

HEIGHT, WIDTH, SHIFT = 7, 5, 4
PLACES = 2 * SHIFT + 1


def as_it_is(x, data_format):
    return x


def images(count, seed=0):
    """Noise without a black pixel, so that the frame shows; the label is the image's number."""
    rng = np.random.default_rng(seed)
    return Images(rng.integers(1, 256, (count, HEIGHT, WIDTH, 3)).astype("uint8"), np.arange(count))


def moved(image, down, right, mirrored, fill=0):
    """One image, pixel by pixel: moved into a plain image by (down, right), mirrored first."""
    source = image[:, ::-1] if mirrored else image
    result = np.full_like(image, fill)
    for row, column in itertools.product(range(HEIGHT), range(WIDTH)):
        if 0 <= row + down < HEIGHT and 0 <= column + right < WIDTH:
            result[row + down, column + right] = source[row, column]
    return result


def all_ways(image, shift=SHIFT, fill=0):
    steps = range(-shift, shift + 1)
    return {
        moved(image, down, right, mirrored, fill).tobytes(): (down, right, mirrored)
        for down, right, mirrored in itertools.product(steps, steps, (False, True))
    }


def epoch_of(data):
    """All batches of an epoch in one, as arrays."""
    batches = [map(keras.ops.convert_to_numpy, data[i]) for i in range(len(data))]
    return tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))
