"""`python -m services.cli` is `busbar`."""

from services.cli.main import main

raise SystemExit(main())
