"""Right and wrong calls, which `make lint` has pyright tell apart. Nothing here is run.

A line that is told to be ignored must be an error, or the comment is one; no other line may be.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from pathlib import Path

import keras
import numpy as np

import keras_mg
from keras_mg import weights
from keras_mg.applications import (
    IGC_L100M2,
    RMG18,
    RMG34,
    IGCPlain,
    MgNet,
    PRMGSeg30,
    ResNet20,
    SegPMG,
    list_models,
    model_info,
    multigrid,
)

# --- constructors

RMG34()
RMG34(True, None, None, (224, 224, 3), "avg", 10, None, "mine")
RMG34(weights=Path("mine.keras"), classes=10, dtype="mixed_bfloat16", data_format="channels_first")
RMG34(dtype=keras.dtype_policies.DTypePolicyMap("mixed_float16"), skip_mismatch=True)
RMG34(clases=10)  # pyright: ignore
RMG34(classes="ten")  # pyright: ignore
RMG34(pooling="average")  # pyright: ignore
RMG34(data_format="NCHW")  # pyright: ignore
RMG34(True, None, None, None, None, 10, None, "mine", True)  # pyright: ignore
RMG18(weights=3)  # pyright: ignore
RMG18(dropout=True)  # pyright: ignore
IGCPlain(38, 24, 2)
IGCPlain(depth=38, primary_partitions=24, secondary_partitions=2, classes=100)
IGCPlain()  # pyright: ignore
IGCPlain(38, 24)  # pyright: ignore
IGCPlain(38, 24, 2, depth=3)  # pyright: ignore
MgNet((2, 2), filters=[8, 16])
MgNet((1, 1), 16, False, "imagenet", include_top=False, pooling="avg", input_shape=(None, None, 3))
MgNet(filters="8")  # pyright: ignore
MgNet(stem="svhn")  # pyright: ignore
PRMGSeg30(shortcut="A", include_top=False, pyramid_outputs=True)
PRMGSeg30(shortcut="D")  # pyright: ignore
ResNet20(block="bn_after_add", final_relu=False)
ResNet20(block="before")  # pyright: ignore
SegPMG(3, filters=(16, 8), output_bias=-2.0, depth=2)
SegPMG(classes=3)  # pyright: ignore
IGC_L100M2(weights="imagenet", input_tensor=keras.Input((224, 224, 3)))

# --- what they return

model: keras_mg.Model = RMG34()
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=True)
model.compile("sgd", "mse", remat=True)
images = multigrid.preprocess_input(np.ones((1, 224, 224, 3)), data_format="channels_last")
multigrid.decode_predictions(images, top=3)
multigrid.decode_prediction(images)  # pyright: ignore

# --- what is known of them

names: list[str] = list_models("rmg*")
parameters: int = model_info("RMG34", classes=10).parameters
misspelt = model_info("RMG34").parametres  # pyright: ignore
for figure in model_info("MG6").published:
    value: float = figure.value

# --- a head of one's own, deployment, weights

trunk = MgNet((1, 1), filters=16, include_top=False, pooling="avg", input_shape=(32, 32, 3))
trunk.trainable = False
own = keras_mg.Model(trunk.input, keras.layers.Dense(10)(trunk.output))
own.compile(remats=True)  # pyright: ignore
own.fit(np.ones((2, 32, 32, 3)), np.ones((2, 10)), epochs=2, callbacks=[])
own.evaluate(np.ones((2, 32, 32, 3)), np.ones((2, 10)), return_dict=True)
own.predict(np.ones((2, 32, 32, 3)), verbose=0)
deployed = keras_mg.deploy(own)
keras_mg.deploy()  # pyright: ignore
weights.export(trunk, "mgnet.pth")
weights.load(trunk, "mgnet.pth", skip_mismatch=True)
weights.load(trunk)  # pyright: ignore
weights.load(trunk, "mgnet.pth", skip=True)  # pyright: ignore

# --- layers

keras_mg.layers.MultigridConv((64, 32, 16), kernel_size=3, dropout=0.1, name="conv")
keras_mg.layers.MultigridConv(kernel=3)  # pyright: ignore
keras_mg.layers.IGCBlock(16, primary_partitions=8, secondary_partitions=2, strides=2)
keras_mg.layers.IGCBlock(16)  # pyright: ignore
