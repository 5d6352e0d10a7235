"""Constructors of the published networks, in the manner of `keras.applications`.

Besides its own arguments, each has these, in the meaning of `keras.applications`:

- `include_top`: bool, whether the network ends in its classifier (or output maps). Defaults to
  True.
- `weights`: None (random initialisation), the tag of published weights (`weights_info` lists
  them), or the path or address of a weights file of any format that `keras_mg.weights.load` reads.
  Defaults to None.
- `input_tensor`: Keras tensor to use as the image input, or None. Defaults to None.
- `input_shape`: tuple, shape of an image without the batch axis, in `data_format`; a side may be
  None. Defaults to the published image, without the top to sides of None.
- `pooling`: without the top: None gives the last feature map, "avg" and "max" its global average or
  maximum. Defaults to None.
- `classes`: int, number of classes; networks for dense prediction have `outputs`, the number of
  output maps, in front.
- `classifier_activation`: activation of the classifier, "softmax" by default, or of the output
  maps, "sigmoid" by default; None gives logits.
- `name`: str, name of the model. Defaults to the constructor's in lower case.
- `skip_mismatch`: bool, whether layers that do not fit the weights file keep their own weights,
  with a warning, instead of raising: for a new classifier on a whole network. Defaults to False.
- `pyramid_outputs`: bool, without the top: whether the output is a dict with the deepest feature
  map of each resolution, "P0" at the image's side, "P1" at half of it and so on; the model has it
  as `pyramid_outputs`, too. Defaults to False.
- `data_format`: "channels_last", "channels_first" or None for Keras's global setting. Defaults to
  None.
- `dtype`: dtype or dtype policy of the layers and the model ("mixed_bfloat16", ...) or None for
  Keras's global policy. The classifier, or the activation of the output maps, computes in the
  policy's variable dtype, unless a `DTypePolicyMap` has an entry for it. Defaults to None.
"""

from keras_mg.applications import _igc_weights as _igc_weights
from keras_mg.applications import _mgnet_weights as _mgnet_weights
from keras_mg.applications import attributes as attributes
from keras_mg.applications import igc as igc
from keras_mg.applications import igc_cifar as igc_cifar
from keras_mg.applications import mgnet as mgnet
from keras_mg.applications import multigrid as multigrid
from keras_mg.applications import multigrid_baselines as multigrid_baselines
from keras_mg.applications import multigrid_cifar as multigrid_cifar
from keras_mg.applications import multigrid_dense as multigrid_dense
from keras_mg.applications import resnet as resnet
from keras_mg.applications._catalogue import ModelInfo as ModelInfo
from keras_mg.applications._catalogue import list_models as list_models
from keras_mg.applications._catalogue import model_info as model_info
from keras_mg.applications._catalogue import network_record as network_record
from keras_mg.applications._catalogue import published_figures as published_figures
from keras_mg.applications._records import Form as Form
from keras_mg.applications._records import NetworkRecord as NetworkRecord
from keras_mg.applications._records import PublishedFigure as PublishedFigure
from keras_mg.applications.attributes import AttributeNet as AttributeNet
from keras_mg.applications.igc import IGC_L4M32 as IGC_L4M32
from keras_mg.applications.igc import IGC_L16M16 as IGC_L16M16
from keras_mg.applications.igc import IGC_L100M2 as IGC_L100M2
from keras_mg.applications.igc import IGCResNet18_C64 as IGCResNet18_C64
from keras_mg.applications.igc import IGCResNet18_C69 as IGCResNet18_C69
from keras_mg.applications.igc_cifar import IGCPlain as IGCPlain
from keras_mg.applications.igc_cifar import IGCPlainBaseline as IGCPlainBaseline
from keras_mg.applications.igc_cifar import IGCResNet as IGCResNet
from keras_mg.applications.igc_cifar import IGCResNetBaseline as IGCResNetBaseline
from keras_mg.applications.mgnet import MgNet as MgNet
from keras_mg.applications.multigrid import RMG18 as RMG18
from keras_mg.applications.multigrid import RMG34 as RMG34
from keras_mg.applications.multigrid import PRMGSeg30 as PRMGSeg30
from keras_mg.applications.multigrid import PRMGSeg52 as PRMGSeg52
from keras_mg.applications.multigrid_baselines import CifarRES12 as CifarRES12
from keras_mg.applications.multigrid_baselines import CifarRES22 as CifarRES22
from keras_mg.applications.multigrid_baselines import CifarRES32 as CifarRES32
from keras_mg.applications.multigrid_baselines import CifarRES42 as CifarRES42
from keras_mg.applications.multigrid_baselines import CifarVGG6 as CifarVGG6
from keras_mg.applications.multigrid_baselines import CifarVGG11 as CifarVGG11
from keras_mg.applications.multigrid_baselines import CifarVGG16 as CifarVGG16
from keras_mg.applications.multigrid_baselines import CifarVGG21 as CifarVGG21
from keras_mg.applications.multigrid_cifar import MG6 as MG6
from keras_mg.applications.multigrid_cifar import MG11 as MG11
from keras_mg.applications.multigrid_cifar import MG16 as MG16
from keras_mg.applications.multigrid_cifar import MG21 as MG21
from keras_mg.applications.multigrid_cifar import PMG9 as PMG9
from keras_mg.applications.multigrid_cifar import PMG16 as PMG16
from keras_mg.applications.multigrid_cifar import PMG23 as PMG23
from keras_mg.applications.multigrid_cifar import PMG30 as PMG30
from keras_mg.applications.multigrid_cifar import PRMG16 as PRMG16
from keras_mg.applications.multigrid_cifar import PRMG30 as PRMG30
from keras_mg.applications.multigrid_cifar import PRMG44 as PRMG44
from keras_mg.applications.multigrid_cifar import PRMG58 as PRMG58
from keras_mg.applications.multigrid_cifar import RMG12 as RMG12
from keras_mg.applications.multigrid_cifar import RMG22 as RMG22
from keras_mg.applications.multigrid_cifar import RMG32 as RMG32
from keras_mg.applications.multigrid_cifar import RMG42 as RMG42
from keras_mg.applications.multigrid_dense import SegPMG as SegPMG
from keras_mg.applications.multigrid_dense import SegPRMG as SegPRMG
from keras_mg.applications.multigrid_dense import SegUMG as SegUMG
from keras_mg.applications.multigrid_dense import SegUNet as SegUNet
from keras_mg.applications.resnet import ResNet20 as ResNet20
from keras_mg.applications.resnet import ResNet32 as ResNet32
from keras_mg.applications.resnet import ResNet44 as ResNet44
from keras_mg.applications.resnet import ResNet56 as ResNet56
from keras_mg.applications.resnet import ResNet110 as ResNet110
from keras_mg.weights import weights_info as weights_info
