"""``python -m docket_anyio`` is the command ``docket-anyio``."""

from __future__ import annotations

from docket_anyio.cli import main

if __name__ == "__main__":
    main()
