"""``python -m eulerodec``, also for ``torchrun -m eulerodec train ...``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
