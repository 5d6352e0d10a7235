"""Pure functions on tensors: the one place that knows which backend runs.

Layers hand tensors over with `to_native`, compute on *native* tensors in the layout that the
backend likes best (`native_format`), and hand the result back with `from_native`. On torch the
native layout is `(batch, channels, height, width)` as a view of whatever the model holds, so a
`channels_last` model runs torch's own channels-last kernels and copies nothing.
"""

from keras_mg.ops._backend import add_channels as add_channels
from keras_mg.ops._backend import average_pool as average_pool
from keras_mg.ops._backend import batch_norm as batch_norm
from keras_mg.ops._backend import concatenate as concatenate
from keras_mg.ops._backend import conv2d as conv2d
from keras_mg.ops._backend import conv2d_transpose as conv2d_transpose
from keras_mg.ops._backend import from_native as from_native
from keras_mg.ops._backend import interleave as interleave
from keras_mg.ops._backend import jacobian as jacobian
from keras_mg.ops._backend import lay_out_kernel as lay_out_kernel
from keras_mg.ops._backend import max_pool as max_pool
from keras_mg.ops._backend import native_format as native_format
from keras_mg.ops._backend import recomputed as recomputed
from keras_mg.ops._backend import relu as relu
from keras_mg.ops._backend import subsample as subsample
from keras_mg.ops._backend import to_native as to_native
from keras_mg.ops._backend import upsample as upsample
from keras_mg.ops._constants import constant_like as constant_like
from keras_mg.ops._counting import multiply_accumulates as multiply_accumulates
from keras_mg.ops._grids import crop as crop
from keras_mg.ops._grids import halved as halved
from keras_mg.ops._grids import pool_grids as pool_grids
from keras_mg.ops._grids import resample_concat as resample_concat
from keras_mg.ops._grids import resample_conv as resample_conv
from keras_mg.ops._grids import resampled_grid as resampled_grid
from keras_mg.ops._normalize import normalize as normalize
from keras_mg.ops._normalize import normalize_images as normalize_images
