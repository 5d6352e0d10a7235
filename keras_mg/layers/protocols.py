"""What a layer can say of itself to `keras_mg.deploy`, `compile(remat=True)` and a graph that runs.

Any Keras layer can; the layers of this package do. A class says it in its own body. A subclass says
it anew or not at all, for nobody else knows what it changes.

A layer that has a form for deployment has a method `fold(source)`. `deploy` makes a layer of the
same configuration, sets its attribute `folded` to True and builds it: `build` makes the weights of
that form, and sets `folded` of those layers inside that shall have theirs. Then `fold` is called
with the trained layer, to take over its arithmetic. From there on the layer is called with
`training=False` alone. In a layer that holds a unit of this package, that is

    folded = False

    def build(self, input_shape):
        self.unit.folded = self.folded
        self.unit.build(input_shape)

    def fold(self, source):
        self.unit.fold(source.unit)

A layer that can be computed once more in the backward pass, so that what it made need not be kept,
has an attribute `remat`:

- "whole": a second call with the same input and weights gives the same and changes nothing. The
  layers of this package count as such, as they do not move their statistics twice. What the layer
  holds is looked at: nothing is recomputed where there is an activity regularizer, a random layer
  (but for a `keras.layers.Dropout` without a seed) or a batch norm of Keras's.
- "parts": the layer recomputes parts of itself, with `keras_mg.ops.recomputed`, where its attribute
  `recomputes` is True, which `compile` sets. It hands `training` on to what it calls there, which
  the backward pass calls outside of the layer.

A layer that hands its input on to one inside, with `training=False`, and does nothing else has an
attribute `hands_on_to`: the name of the attribute that holds that one. A graph then calls it
without Keras's preparations, as it does the layer around it.
"""

from __future__ import annotations


def stated(layer, name: str):
    """What the class of `layer` itself says under that name, None where it says nothing."""
    return vars(type(layer)).get(name)
