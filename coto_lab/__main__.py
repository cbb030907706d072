"""Commands: ``python -m coto_lab report --help``."""

from __future__ import annotations

import sys

from coto_lab.report.cli import main

if __name__ == "__main__":
    sys.exit(main())
