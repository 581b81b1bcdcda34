"""`python -m bq`: the command line."""

import sys

from bq import blas  # noqa: F401 - first: it is read when numpy is imported
from bq.cli import main

sys.exit(main())
