"""The command line."""

from __future__ import annotations

from docket_anyio.cli.app import main as main
