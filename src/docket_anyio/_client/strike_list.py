"""The strike list: which calls are struck, of a docket or to use alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Self, TypeAlias

from anyio import AsyncContextManagerMixin, create_task_group

from docket_anyio._broker.keys import Keys
from docket_anyio._broker.strikes import StrikeStream
from docket_anyio._client.execution import Execution
from docket_anyio._client.following import StrikeService
from docket_anyio._client.strikes import KnownStrikes, StrikeBook, StrikeCondition
from docket_anyio._client.supervisor import Supervisor
from docket_anyio._model.strikes import (
    Condition,
    LiteralOperator,
    Operator,
    Restore,
    Strike,
    StrikeInstruction,
)
from docket_anyio._redis.client import connect
from docket_anyio._redis.url import parse_url
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._telemetry.logs import LogInstrument
from docket_anyio._telemetry.metrics import StrikeListMetrics
from docket_anyio._telemetry.requests import RequestTelemetry
from docket_anyio.abc import CredentialProvider
from docket_anyio.exceptions import NotOpen

ParameterStrikes: TypeAlias = dict[str, set[tuple[Operator, object]]]

_LONGEST_DELAY: Final = timedelta(seconds=5)


class StrikeList(AsyncContextManagerMixin):
    """Tells which calls are struck, without a docket.

    Without a URL it knows what ``update`` tells it. With one, ``async with`` loads the strikes of the docket of that
    name, and follows them until it is left, which must be in the task that entered it.

    Args:
        url: The Redis of the docket.
        name: The docket's name.
        enable_internal_instrumentation: Taken and of no effect, as for ``Docket``.
        credential_provider: Asked for the credentials for every new connection, as for ``Docket``.

    Raises:
        InvalidURL: The URL names no Redis.
        InvalidSetting: There are credentials in the URL and a provider of them.
    """

    def __init__(
        self,
        url: str | None = None,
        name: str = "strikelist",
        enable_internal_instrumentation: bool = False,  # noqa: FBT001, FBT002 - pydocket's signature
        credential_provider: CredentialProvider | None = None,
    ) -> None:
        self.enable_internal_instrumentation: Final = enable_internal_instrumentation
        self.url: Final = url
        self.name: Final = name
        self._address: Final = None if url is None else parse_url(url, credential_provider)
        self._keys: Final = Keys.on("tcp" if self._address is None else self._address.kind, name)
        self._known = KnownStrikes()
        self._book: StrikeBook | None = None

    @classmethod
    def of_docket(cls, url: str, name: str, book: StrikeBook) -> StrikeList:
        """Return the list of a docket that is open and keeps the book itself. Not for users."""
        strikes = cls(url, name)
        strikes._known, strikes._book = book.known, book
        return strikes

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        if self._address is None:
            yield self
            return
        if self._book is not None:
            raise NotOpen("this StrikeList is open already; open another one")
        raised: Exception | None = None
        async with connect(self._address, home=self._keys.prefix) as redis:
            stream = StrikeStream(redis, self._keys)
            self._book = book = StrikeBook(stream, RequestTelemetry({"docket.name": self.name}), self._known)
            supervisor = Supervisor(_LONGEST_DELAY, Instruments(self.name, [LogInstrument(), StrikeListMetrics()]))
            try:
                async with create_task_group() as followers:
                    service = StrikeService(stream, book)
                    await followers.start(supervisor.keep_running, "following strikes", service.run)
                    try:
                        yield self
                    except Exception as error:  # noqa: BLE001 - the user's own; it must not leave inside a group of ours
                        raised = error
                    followers.cancel_scope.cancel("left")
            finally:
                book.close()
                self._book = None
            if raised is not None:
                raise raised

    @property
    def prefix(self) -> str:
        """What all its keys in Redis begin with."""
        return self._keys.prefix

    @property
    def strike_key(self) -> str:
        """The stream of strikes in Redis."""
        return self._keys.strikes

    @property
    def task_strikes(self) -> dict[str, ParameterStrikes]:
        """The strikes by task and parameter; a task that is struck whole, and no more, has none by parameter."""
        by_task = {name: _plain(conditions) for name, conditions in self._known.strikes.by_task.items()}
        return {**{name: {} for name in self._known.strikes.tasks}, **by_task}

    @property
    def parameter_strikes(self) -> ParameterStrikes:
        """The strikes by parameter, for every task."""
        return _plain(self._known.strikes.by_parameter)

    def is_stricken(self, target: Execution[Any] | Mapping[str, object]) -> bool:
        """Tell whether a call is struck.

        Args:
            target: An execution, or arguments by parameter, which only strikes that hold for every task can match.
        """
        if not isinstance(target, Execution):
            return self._known.strikes.matches_parameters(target)
        return self._known.is_stricken(target)

    def add_condition(self, condition: StrikeCondition) -> None:
        """Strike executions of which ``condition`` is true, too."""
        self._known.conditions.append(condition)

    def remove_condition(self, condition: StrikeCondition) -> None:
        """Take a condition back.

        Raises:
            ValueError: It was not there.
        """
        self._known.conditions.remove(condition)

    def update(self, instruction: StrikeInstruction) -> None:
        """Take over an instruction, here only."""
        self._known.strikes.apply(instruction)

    async def wait_for_strikes_loaded(self) -> None:  # noqa: ASYNC910 - without a URL there is nothing to wait for
        """Read every strike given so far; without a URL there is nothing to read.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        if self._address is not None:
            await self._open_book().catch_up()

    async def send_instruction(self, instruction: StrikeInstruction) -> None:
        """Give an instruction to everybody.

        Raises:
            NotOpen: The list is not open, or has no URL.
            NotSerializable: The value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Sending again is safe.
        """
        await self._open_book().send(instruction)

    async def strike(
        self,
        function: str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Strike for everybody; see ``Docket.strike``.

        Raises:
            InvalidStrike: Neither task nor parameter is given, or operator and value do not fit.
            NotOpen: The list is not open, or has no URL.
            RedisUnavailable: Redis cannot be reached. Striking again is safe.
        """
        await self.send_instruction(Strike(function, parameter, operator, value))

    async def restore(
        self,
        function: str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Lift a strike for everybody; see ``Docket.restore``.

        Raises:
            InvalidStrike: Neither task nor parameter is given, or operator and value do not fit.
            NotOpen: The list is not open, or has no URL.
            RedisUnavailable: Redis cannot be reached. Restoring again is safe.
        """
        await self.send_instruction(Restore(function, parameter, operator, value))

    def _open_book(self) -> StrikeBook:
        if self._book is None:
            raise NotOpen("this StrikeList is not connected to Redis; give it a URL, and use it inside `async with`")
        return self._book


def _plain(by_parameter: Mapping[str, set[Condition]]) -> ParameterStrikes:
    return {
        parameter: {(condition.operator, condition.value) for condition in conditions}
        for parameter, conditions in by_parameter.items()
    }
