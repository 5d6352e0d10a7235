"""The one door to what Keras and torch keep private.

No other file of the package names anything private of theirs. Each name stands in a table (`NAMES`
of `keras_names`, `torch` or `torch_compiler`) with the reason why it is needed and the public way
to watch for, and belongs to a feature. In a Keras or torch whose names are others,
`missing(feature)` says so, and that feature is left out or refused in a sentence: everything else
works.
"""

from keras_mg._private.features import missing as missing
from keras_mg._private.names import Feature as Feature
