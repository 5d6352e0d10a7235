"""The custom layers."""

from keras_mg.layers.conv_norm_activation import ConvNormActivation as ConvNormActivation
from keras_mg.layers.convolution import Convolution as Convolution
from keras_mg.layers.freeze_batch_norm import freeze_batch_norm as freeze_batch_norm
from keras_mg.layers.igc_block import IGCBlock as IGCBlock
from keras_mg.layers.igc_residual import IGCResidual as IGCResidual
from keras_mg.layers.max_pool import MaxPool as MaxPool
from keras_mg.layers.mgnet_restriction import MgNetRestriction as MgNetRestriction
from keras_mg.layers.mgnet_smoother import MgNetSmoother as MgNetSmoother
from keras_mg.layers.multigrid_conv import MultigridConv as MultigridConv
from keras_mg.layers.multigrid_input import MultigridInput as MultigridInput
from keras_mg.layers.multigrid_pool import MultigridPool as MultigridPool
from keras_mg.layers.multigrid_residual import MultigridResidual as MultigridResidual
from keras_mg.layers.multigrid_transposed_conv import (
    MultigridTransposedConv as MultigridTransposedConv,
)
from keras_mg.layers.norm_activation import NormActivation as NormActivation
from keras_mg.layers.residual_block import ResidualBlock as ResidualBlock
from keras_mg.layers.transposed_conv_norm_activation import (
    TransposedConvNormActivation as TransposedConvNormActivation,
)
