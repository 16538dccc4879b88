"""Tasks that workers in processes of their own run."""

from __future__ import annotations

import anyio


async def nap(seconds: float) -> str:
    await anyio.sleep(seconds)
    return f"slept {seconds}"


tasks = [nap]
