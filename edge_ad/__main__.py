"""``python -m edge_ad``: the same as the ``edge-ad`` command."""

import sys

from edge_ad.cli import main

if __name__ == "__main__":
    sys.exit(main())
