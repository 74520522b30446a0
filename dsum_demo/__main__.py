"""`python -m dsum_demo` is `dsum`."""

import sys

from dsum_demo.cli.main import main

sys.exit(main())
