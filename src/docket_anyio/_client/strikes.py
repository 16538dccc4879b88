"""What a docket knows of the strikes in force."""

from __future__ import annotations

from attrs import define, field

from docket_anyio._broker.strikes import BEFORE_ALL, StrikeStream
from docket_anyio._model.strikes import StrikeInstruction, StrikeSet
from docket_anyio._telemetry.requests import RequestTelemetry


@define(eq=False)
class StrikeBook:
    """The strikes in force, as of the last instruction that was read."""

    _stream: StrikeStream
    strikes: StrikeSet
    _telemetry: RequestTelemetry
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
                    self.strikes.apply(each)
                    self._telemetry.strike_read(each)

    def close(self) -> None:
        """Follow the strikes no more."""
        self._telemetry.strikes_forgotten()
