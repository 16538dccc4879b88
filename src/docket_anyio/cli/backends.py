"""The event loops to choose from, and the one place that starts one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final, TypeVar

import anyio
import typer
from attrs import frozen

T = TypeVar("T")


@frozen
class Backend:
    """An event loop that a command can run on.

    Args:
        name: What it is called on the command line.
        package: What has to be installed for it; the extra of that name brings it.
        options: For ``anyio.run``.
    """

    name: str
    package: str | None
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    @property
    def installed(self) -> bool:
        """Tell whether it can be used here."""
        return self.package is None or find_spec(self.package) is not None


def _on_asyncio(name: str, package: str | None, *, uvloop: bool) -> Backend:
    return Backend(name, package, {"backend": "asyncio", "backend_options": {"use_uvloop": uvloop}})


ASYNCIO: Final = _on_asyncio("asyncio", None, uvloop=False)
UVLOOP: Final = _on_asyncio("asyncio+uvloop", "uvloop", uvloop=True)
TRIO: Final = Backend("trio", "trio", {"backend": "trio"})
BACKENDS: Final[Mapping[str, Backend]] = MappingProxyType({each.name: each for each in (ASYNCIO, UVLOOP, TRIO)})


def parse_backend(text: str | Backend) -> Backend:
    """Read the name of a backend that can be used here.

    Raises:
        BadParameter: There is no such backend, or its package is not installed.
    """
    backend = text if isinstance(text, Backend) else BACKENDS.get(text.lower())
    if backend is None:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(BACKENDS)}")
    if not backend.installed:
        package = backend.package
        raise typer.BadParameter(f"{package} is not installed; run: pip install 'docket-anyio[{package}]'")
    return backend


def run_on(backend: Backend, main: Callable[[], Awaitable[T]]) -> T:
    """Run a program on a backend of its own, and return what it returns."""
    return anyio.run(main, **backend.options)
