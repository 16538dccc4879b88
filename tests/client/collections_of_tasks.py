"""Collections of tasks, good ones and bad ones."""

from __future__ import annotations

from collections.abc import Iterator


async def greet(name: str) -> str:
    return f"Hello, {name}"


async def shout(text: str) -> str:
    return text.upper()


def letters(word: str) -> Iterator[str]:
    yield from word


tasks = [greet, shout]
with_a_number = [greet, 5]
with_a_generator = [letters]
no_collection = 5
