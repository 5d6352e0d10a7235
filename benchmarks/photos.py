"""Reading photographs for training against torchvision's reference pipeline, on the same files.

    python -m benchmarks.photos FOLDER [--rounds 5]

FOLDER has a folder of JPEGs for each class; 1,000 of ImageNet are in the repository
EliSchwartz/imagenet-sample-images. Both decode with Pillow, crop a random area to 224x224, mirror,
normalise and batch by 64. Counted are CPU seconds of one thread: the machine may have other work.
torchvision's own crop is bilinear by default; with the published bicubic one it is given, too.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.timing import measure
from keras_mg.datasets import ImageFolder, PhotoBatches, RandomAreaCrop

BATCH = 64


def ours(folder: Path):
    """An epoch of ours, as a function that reads it."""
    data = PhotoBatches(
        ImageFolder(folder),
        RandomAreaCrop(224),
        BATCH,
        flip=True,
        threads=1,
        data_format="channels_last",
    )

    def read() -> int:
        count = sum(len(data[i][1]) for i in range(len(data)))
        data.epoch += 1
        return count

    return read


def torchvision_reference(folder: Path, interpolation: str):
    """An epoch of references/classification in torchvision."""
    from torchvision import datasets, transforms

    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                224, interpolation=transforms.InterpolationMode(interpolation)
            ),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder, steps), BATCH, shuffle=True, num_workers=0
    )
    return lambda: sum(len(labels) for _, labels in loader)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folder", type=Path)
    p.add_argument("--rounds", type=int, default=5)
    options = p.parse_args()
    torch.set_num_threads(1)
    readers = {"keras_mg": ours(options.folder)}
    for interpolation in ("bilinear", "bicubic"):
        name = f"torchvision, {interpolation}"
        try:
            readers[name] = torchvision_reference(options.folder, interpolation)
        except ImportError as error:
            print(f"{name}: not measured, {error}")
    # The first round also brings the files into the disk's cache.
    timing = measure("photographs", readers, options.rounds, warm_up=1, clock=time.process_time)
    for name in readers:
        speed = len(ImageFolder(options.folder)) / timing.median(name)
        print(
            f"{name:22} {speed:6.1f} images per CPU second; keras_mg is {timing.ratio(name):.2f} "
            "of it"
        )


if __name__ == "__main__":
    main()
