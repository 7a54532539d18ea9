"""`python -m selviz COMMAND` is `selviz COMMAND`."""

import sys

from selviz.cli import main

if __name__ == "__main__":
    sys.exit(main())
