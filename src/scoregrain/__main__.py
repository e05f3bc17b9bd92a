"""Run ``python -m scoregrain``."""

import sys

from scoregrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
