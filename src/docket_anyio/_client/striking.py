"""Striking: tasks, and calls with certain arguments, that are not to run for now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from docket_anyio._broker.keys import Keys
from docket_anyio._client.catalogue import Catalogue
from docket_anyio._client.registry import TaskFunction
from docket_anyio._client.strikes import StrikeBook
from docket_anyio._model.strikes import LiteralOperator, Operator, Restore, Strike, StrikeInstruction
from docket_anyio._telemetry.requests import RequestTelemetry


class Striking(Catalogue, ABC):
    """A docket whose tasks can be struck."""

    def __init__(self, name: str, keys: Keys) -> None:
        super().__init__(name, keys)
        self._telemetry: Final = RequestTelemetry(self.labels())

    @property
    @abstractmethod
    def strikes(self) -> StrikeBook:
        """The strikes it knows of, for its worker.

        Raises:
            NotOpen: The docket is not open.
        """

    async def strike(
        self,
        function: TaskFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Keep tasks from being added and from being run, on every docket and worker of this name.

        Args:
            function: The task, or its name; every task where it is left out.
            parameter: Only calls with a certain argument for this parameter; all calls where it is left out.
            operator: How the argument is compared with ``value``.
            value: With what; for ``between`` a pair of the lowest and the highest.

        Raises:
            InvalidStrike: Neither task nor parameter is given, or operator and value do not fit.
            NotSerializable: The value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Striking again is safe.
        """
        await self._instruct(Strike, function, parameter, operator, value)

    async def restore(
        self,
        function: TaskFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Lift the strike that was given with the same arguments.

        Raises:
            InvalidStrike: See ``strike``, as for the others.
            NotSerializable: The value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Restoring again is safe.
        """
        await self._instruct(Restore, function, parameter, operator, value)

    async def wait_for_strikes_loaded(self) -> None:
        """Read every strike given so far.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        await self.strikes.catch_up()

    async def _instruct(
        self,
        kind: type[StrikeInstruction],
        function: TaskFunction | str | None,
        parameter: str | None,
        operator: Operator | LiteralOperator,
        value: object,
    ) -> None:
        name = function if isinstance(function, str) or function is None else function.__name__
        instruction = kind(name, parameter, operator, value)
        if parameter is not None and not self._registry.has_parameter(name, parameter):
            self._telemetry.strike_without_effect(parameter)
        with self._telemetry.span_of_strike(instruction):
            await self.strikes.send(instruction)
