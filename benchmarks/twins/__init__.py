"""Every network of the four systems, hand-written in plain PyTorch.

They share no code with keras_mg, so they serve as its reference for equal outputs and as the
baseline of its speed. Classifiers return logits, dense networks logits of their maps.
"""

from benchmarks.twins.baselines import CifarRES as CifarRES
from benchmarks.twins.baselines import CifarVGG as CifarVGG
from benchmarks.twins.igc import IGC_L4M32 as IGC_L4M32
from benchmarks.twins.igc import IGC_L16M16 as IGC_L16M16
from benchmarks.twins.igc import IGC_L100M2 as IGC_L100M2
from benchmarks.twins.igc import IGCResNet18_C64 as IGCResNet18_C64
from benchmarks.twins.igc import IGCResNet18_C69 as IGCResNet18_C69
from benchmarks.twins.igc import plain_baseline as plain_baseline
from benchmarks.twins.igc import plain_igc as plain_igc
from benchmarks.twins.igc import resnet_baseline as resnet_baseline
from benchmarks.twins.igc import resnet_igc as resnet_igc
from benchmarks.twins.mgnet import MgNet as MgNet
from benchmarks.twins.multigrid import RMG as RMG
from benchmarks.twins.multigrid import RMG18 as RMG18
from benchmarks.twins.multigrid import RMG34 as RMG34
from benchmarks.twins.multigrid import CifarMG as CifarMG
from benchmarks.twins.multigrid import CifarPMG as CifarPMG
from benchmarks.twins.multigrid import CifarPRMG as CifarPRMG
from benchmarks.twins.multigrid import CifarRMG as CifarRMG
from benchmarks.twins.multigrid import PRMGSeg as PRMGSeg
from benchmarks.twins.multigrid import PRMGSeg30 as PRMGSeg30
from benchmarks.twins.multigrid import PRMGSeg52 as PRMGSeg52
from benchmarks.twins.resnet import AttributeNet as AttributeNet
from benchmarks.twins.resnet import ResNet20 as ResNet20
from benchmarks.twins.resnet import ResNet32 as ResNet32
from benchmarks.twins.resnet import ResNet44 as ResNet44
from benchmarks.twins.resnet import ResNet56 as ResNet56
from benchmarks.twins.resnet import ResNet110 as ResNet110
from benchmarks.twins.resnet import TorchResNet as TorchResNet
from benchmarks.twins.segmentation import SegPMG as SegPMG
from benchmarks.twins.segmentation import SegPRMG as SegPRMG
from benchmarks.twins.segmentation import SegUMG as SegUMG
from benchmarks.twins.segmentation import SegUNet as SegUNet
