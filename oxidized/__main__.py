"""`python -m oxidized`."""

import sys

from oxidized.cli import main

sys.exit(main())
