"""Training one model in many processes, by the names of `keras.distribution`."""

from keras_mg.distribution.data_parallel import DataParallel as DataParallel
from keras_mg.distribution.data_parallel import distribution as distribution
from keras_mg.distribution.data_parallel import set_distribution as set_distribution
from keras_mg.distribution.processes import initialize as initialize
from keras_mg.distribution.processes import list_devices as list_devices
from keras_mg.distribution.processes import num_processes as num_processes
from keras_mg.distribution.processes import process_id as process_id
