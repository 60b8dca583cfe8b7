"""`python -m oxidized.ctl`."""

import sys

from oxidized.ctl import main

sys.exit(main())
