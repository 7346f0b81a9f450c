"""`python -m fastmask` does what the command `fastmask` does."""

from .cli import main

raise SystemExit(main())
