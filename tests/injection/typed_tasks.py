"""Tasks whose annotations only a type checker can read in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from docket_anyio.dependencies import Depends, Retry

if TYPE_CHECKING:
    from decimal import Decimal


def text() -> str:
    return "text"


TwiceAtMost = Annotated[int, Retry(attempts=2)]
Made = Annotated[str, Depends(text)]


async def plain(price: Decimal, number: int = 1) -> None: ...


async def hidden(price: Decimal, number: TwiceAtMost = 1) -> None: ...


async def unreadable(price: Annotated[Decimal, Retry(attempts=2)]) -> None: ...


async def made_and_hidden(price: Decimal, text: Made = "") -> None: ...


class Callable:
    async def __call__(self, number: TwiceAtMost = 1) -> None: ...


class PlainCallable:
    async def __call__(self, number: int, text: Any = Depends(text)) -> None: ...
