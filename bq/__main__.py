"""`python -m bq`: the command line."""

import sys

from bq.cli import main

sys.exit(main())
