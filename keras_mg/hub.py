"""Trunks as backbones of keras-hub: its classifiers, detectors and segmenters on our grids.

Not imported by `keras_mg` itself: `import keras_mg.hub` needs keras-hub (the extra `hub`), and
comes before a saved model of these is loaded.
"""

from __future__ import annotations

import keras
import keras_hub

from keras_mg._private.keras import flatten_layers


@keras.saving.register_keras_serializable(package="keras_mg")
class PyramidBackbone(keras_hub.models.FeaturePyramidBackbone):
    """A trunk as what keras-hub's tasks are built on.

    Its output is the trunk's coarsest feature map, which `ImageClassifier` pools, and its
    `pyramid_outputs` are all of them, by level: what `RetinaNetBackbone` and `DeepLabV3Backbone`
    take as `image_encoder`. It is saved and loaded with the trunk in it, alone and inside a task,
    and by `save_to_preset`.

    Args:
        trunk: a functional model of feature maps: any network of `keras_mg.applications` with
            `include_top=False, pyramid_outputs=True`, also deployed; or one with a single feature
            map, whose `pyramid_outputs` are empty.
        dtype: dtype policy that the tasks give their heads. Defaults to the trunk's.
        **kwargs: `name` and `trainable` of a Keras model.

    Raises:
        ValueError: if the trunk has not one input and feature maps of rank 4 for outputs.

    Example:
        >>> import keras_mg, keras_hub
        >>> from keras_mg.hub import PyramidBackbone
        >>> trunk = keras_mg.applications.MgNet(
        ...     filters=8, include_top=False, pyramid_outputs=True, input_shape=(32, 32, 3)
        ... )
        >>> backbone = PyramidBackbone(trunk)
        >>> sorted(backbone.pyramid_outputs)
        ['P0', 'P1', 'P2', 'P3']
        >>> keras_hub.models.ImageClassifier(backbone, num_classes=5).output_shape
        (None, 5)
    """

    def __init__(self, trunk: keras.Model, dtype=None, **kwargs):
        levels = trunk.output if isinstance(trunk.output, dict) else {"": trunk.output}
        if len(trunk.inputs) != 1 or any(len(x.shape) != 4 for x in levels.values()):
            shapes = {name: tuple(x.shape) for name, x in levels.items()}
            raise ValueError(
                "trunk must have one input and feature maps for outputs, as a network with "
                "include_top=False and pooling=None has. Received: trunk with "
                f"{len(trunk.inputs)} input(s) and outputs of shape {shapes}"
            )
        image = keras.Input(trunk.inputs[0].shape[1:], name="images")
        made = trunk(image)
        made = made if isinstance(made, dict) else {"": made}
        coarsest = max(made, key=lambda name: int(name[1:] or 0))
        super().__init__(image, made[coarsest], dtype=dtype or trunk.dtype_policy, **kwargs)
        self.trunk = trunk
        self.pyramid_outputs = {name: x for name, x in made.items() if name}
        formats = [getattr(layer, "data_format", None) for layer in flatten_layers(trunk)]
        # `ImageClassifier` asks for it.
        self.data_format = next(filter(None, formats), keras.config.image_data_format())

    def get_config(self):
        return {**super().get_config(), "trunk": keras.saving.serialize_keras_object(self.trunk)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config["trunk"], dict):
            config["trunk"] = keras.saving.deserialize_keras_object(config["trunk"])
        return super().from_config(config)
