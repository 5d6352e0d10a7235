"""Picks the implementation of the primitives for the Keras backend in use."""

import keras

if keras.backend.backend() == "torch":
    from keras_mg.ops import _torch_ops as _implementation
else:
    from keras_mg.ops import _keras_ops as _implementation

add_channels = _implementation.add_channels
average_pool = _implementation.average_pool
batch_norm = _implementation.batch_norm
concatenate = _implementation.concatenate
conv2d = _implementation.conv2d
conv2d_transpose = _implementation.conv2d_transpose
conv2d_upsampled = _implementation.conv2d_upsampled
from_native = _implementation.from_native
interleave = _implementation.interleave
jacobian = _implementation.jacobian
lay_out_kernel = _implementation.lay_out_kernel
max_pool = _implementation.max_pool
native_format = _implementation.native_format
recomputed = _implementation.recomputed
relu = _implementation.relu
splits_upsampling = _implementation.splits_upsampling
subsample = _implementation.subsample
to_native = _implementation.to_native
upsample = _implementation.upsample
