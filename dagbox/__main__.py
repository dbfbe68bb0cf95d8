"""`python -m dagbox` is the `dagbox` command."""

from __future__ import annotations

import sys

from dagbox.cli import main

sys.exit(main())
