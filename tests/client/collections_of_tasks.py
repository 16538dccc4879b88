"""Collections of tasks, good ones and bad ones."""

from __future__ import annotations


async def greet(name: str) -> str:
    return f"Hello, {name}"


async def shout(text: str) -> str:
    return text.upper()


def not_async() -> None: ...


tasks = [greet, shout]
with_a_number = [greet, 5]
with_a_plain_function = [not_async]
no_collection = 5
