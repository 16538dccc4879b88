"""What a docket knows of the strikes in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import define, field

from docket_anyio._broker.strikes import BEFORE_ALL, StrikeStream
from docket_anyio._client.execution import Execution
from docket_anyio._model.strikes import StrikeInstruction, StrikeSet
from docket_anyio._telemetry.requests import RequestTelemetry

StrikeCondition: TypeAlias = Callable[[Execution[Any]], bool]


@define(eq=False)
class KnownStrikes:
    """The strikes that are known of, and conditions that hold here only."""

    strikes: StrikeSet = field(factory=StrikeSet, init=False)
    conditions: list[StrikeCondition] = field(factory=list[StrikeCondition], init=False)

    def __bool__(self) -> bool:
        return bool(self.strikes) or bool(self.conditions)

    def is_stricken(self, execution: Execution[Any]) -> bool:
        """Tell whether an execution is struck.

        Raises:
            InvalidArguments: Its arguments do not fit the task's signature.
            CorruptMessage: Its arguments cannot be unpickled here.
        """
        if any(condition(execution) for condition in self.conditions):
            return True
        arguments = execution.plan.arguments(execution.args, execution.kwargs)
        return self.strikes.matches(execution.function_name, arguments)


@define(eq=False)
class StrikeBook:
    """What is known of the strikes of a docket, as of the last instruction that was read."""

    _stream: StrikeStream
    _telemetry: RequestTelemetry
    known: KnownStrikes = field(factory=KnownStrikes)
    last: str = field(default=BEFORE_ALL, init=False)

    async def send(self, instruction: StrikeInstruction) -> None:
        """Give an instruction to everybody, and follow it.

        Raises:
            NotSerializable: Its value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Sending again is safe.
        """
        await self._stream.append(instruction)
        await self.catch_up()

    async def catch_up(self) -> None:
        """Read what has been said since, to its end.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        while True:
            after = self.last
            last, instructions = await self._stream.read(after)
            if last == after:
                return
            if self.last == after:  # else somebody else has read on meanwhile, and older news must not undo newer
                self.last = last
                for each in instructions:
                    self.known.strikes.apply(each)
                    self._telemetry.strike_read(each)

    def close(self) -> None:
        """Follow the strikes no more."""
        self._telemetry.strikes_forgotten()
