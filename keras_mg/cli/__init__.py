"""The command line, `keras-mg`: it parses and calls, and holds no logic of its own.

A group of commands is a file with an `app`, which `_main.py` adds. The rooms are imported in the
commands that need them, so that help and completion do not wait for Keras and torch.
"""

from keras_mg.cli._main import main as main
