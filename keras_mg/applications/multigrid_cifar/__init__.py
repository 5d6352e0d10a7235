"""Multigrid classifiers for CIFAR: plain and residual ones, with and without progressive start.

Paper: Ke, Maire, Yu, "Multigrid Neural Architectures", CVPR 2017, https://arxiv.org/abs/1611.07661.
Original code: Torch7, https://github.com/buttomnutstoast/Multigrid-Neural-Architectures. The
code here is written from the description of the networks and holds none of it.

Different from the released networks: nothing in the arithmetic.
"""

from keras_mg.applications.multigrid import preprocess_input as preprocess_input
from keras_mg.applications.multigrid_cifar.plain import MG6 as MG6
from keras_mg.applications.multigrid_cifar.plain import MG11 as MG11
from keras_mg.applications.multigrid_cifar.plain import MG16 as MG16
from keras_mg.applications.multigrid_cifar.plain import MG21 as MG21
from keras_mg.applications.multigrid_cifar.plain import PMG9 as PMG9
from keras_mg.applications.multigrid_cifar.plain import PMG16 as PMG16
from keras_mg.applications.multigrid_cifar.plain import PMG23 as PMG23
from keras_mg.applications.multigrid_cifar.plain import PMG30 as PMG30
from keras_mg.applications.multigrid_cifar.residual import PRMG16 as PRMG16
from keras_mg.applications.multigrid_cifar.residual import PRMG30 as PRMG30
from keras_mg.applications.multigrid_cifar.residual import PRMG44 as PRMG44
from keras_mg.applications.multigrid_cifar.residual import PRMG58 as PRMG58
from keras_mg.applications.multigrid_cifar.residual import RMG12 as RMG12
from keras_mg.applications.multigrid_cifar.residual import RMG22 as RMG22
from keras_mg.applications.multigrid_cifar.residual import RMG32 as RMG32
from keras_mg.applications.multigrid_cifar.residual import RMG42 as RMG42
