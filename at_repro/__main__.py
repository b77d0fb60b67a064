"""`python -m at_repro`: the same as `at-repro`."""

import sys

from at_repro.cli import main

sys.exit(main())
