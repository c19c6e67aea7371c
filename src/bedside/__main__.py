"""``python -m bedside`` is ``bedside``."""

from __future__ import annotations

import sys

from bedside.cli import main

if __name__ == "__main__":
    sys.exit(main())
