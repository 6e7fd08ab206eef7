"""`python -m lskel` is the command line."""

import sys

from lskel.cli import main

sys.exit(main())
