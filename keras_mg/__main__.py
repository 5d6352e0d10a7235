"""`python -m keras_mg` is `keras-mg`."""

import sys

from keras_mg.cli import main

if __name__ == "__main__":
    sys.exit(main())
