"""Trains a network in many processes on a Ray cluster: `pip install "keras-mg[ray]"`.

    python examples/train_on_ray.py                      # 2 workers on this machine's CPU
    python examples/train_on_ray.py --workers 16 --gpu    # one GPU each

Ray Train starts the processes and lets them meet; `keras_mg.distribution` takes them as they are.
Where a worker is lost, Ray starts all again, and they go on from the last checkpoint in
`--storage`, a folder that the machine of the first worker sees.
"""

import argparse
from pathlib import Path


def train(options):
    """What each worker runs."""
    import keras_mg  # before Keras: picks PyTorch where nobody has chosen a backend

    # isort: split
    import keras
    from ray import train as ray_train

    from keras_mg import distribution
    from keras_mg.applications import ResNet20, resnet
    from keras_mg.datasets import AugmentedImages, SetEpoch, ShiftAndFlip, load_images

    distribution.initialize()
    distribution.set_distribution(distribution.DataParallel())
    keras.utils.set_random_seed(0)
    images = load_images("digits", "train")
    data = AugmentedImages(images, resnet.preprocess_input, options["batch"], ShiftAndFlip(4))
    model = ResNet20(classifier_activation=None)
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    checkpoint = keras_mg.training.Checkpoint(options["checkpoints"])
    report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ray_train.report(logs))
    model.fit(
        data,
        epochs=options["epochs"],
        initial_epoch=checkpoint.saved_epoch,
        shuffle=False,
        verbose=2,
        callbacks=[SetEpoch(data), checkpoint, report],
    )


def main():
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2, help="default: 2")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    parser.add_argument("--epochs", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="of all workers together (default: 64)"
    )
    parser.add_argument("--storage", default="ray_results", help="folder (default: ray_results)")
    options = parser.parse_args()
    storage = Path(options.storage).resolve()
    trainer = TorchTrainer(
        train,
        train_loop_config={
            "epochs": options.epochs,
            "batch": options.batch_size,
            "checkpoints": str(storage / "checkpoints"),
        },
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=options.gpu),
        run_config=RunConfig(
            storage_path=str(storage), failure_config=FailureConfig(max_failures=3)
        ),
    )
    print("Done:", trainer.fit().path)


if __name__ == "__main__":
    main()
