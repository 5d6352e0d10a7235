"""Constructors of the published networks, in the manner of `keras.applications`."""

from keras_mg.applications import igc as igc
from keras_mg.applications import mgnet as mgnet
from keras_mg.applications import multigrid as multigrid
from keras_mg.applications import multigrid_dense as multigrid_dense
from keras_mg.applications.igc import IGC_L100M2 as IGC_L100M2
from keras_mg.applications.mgnet import MgNet as MgNet
from keras_mg.applications.multigrid import RMG18 as RMG18
from keras_mg.applications.multigrid import RMG34 as RMG34
from keras_mg.applications.multigrid_dense import SegPMG as SegPMG
