"""Commands that are gathered and sent in one piece, as redis-py's pipelines are."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from anyio.lowlevel import checkpoint
from attrs import define, field
from redis.exceptions import RedisError

from docket_anyio._redis.calls import Call, CommandMethods
from docket_anyio._redis.transport import Argument, Reply, Transport

_SHOWN: Final = 100


@define(eq=False, slots=False, repr=False)
class Pipeline(CommandMethods):
    """Commands for one ``execute``. Each command method returns the pipeline, so that they can be chained.

    WATCH is not there: it needs a connection of its own. A script does the same in one round trip.
    """

    _transport: Transport
    transaction: bool = True
    _calls: list[Call] = field(factory=list[Call], init=False)

    def __len__(self) -> int:
        return len(self._calls)

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls = []

    def execute_command(self, *args: Argument, **options: Any) -> Pipeline:
        """Add a command."""
        self._calls.append(Call.of(args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - as in redis-py
        """Send everything in one piece and return the results in order; the pipeline is empty afterwards.

        Cancelled, the server may still execute it. A transaction is executed as a whole or not at all.

        Args:
            raise_on_error: Raise the first error of the server. Otherwise errors stand in place of results.

        Raises:
            ResponseError: The server refused a command.
            Disconnected: The connection was lost; it says whether the server may have executed the commands.
        """
        calls, self._calls = self._calls, []
        sent = [call for call in calls if not call.needs_no_reply]
        commands = [call.command for call in sent]
        if not sent:
            await checkpoint()
            replies: list[Reply] = []
        elif self.transaction:
            replies = _of_transaction(await self._transport.execute_all([("MULTI",), *commands, ("EXEC",)]), sent)
        else:
            replies = await self._transport.execute_all(commands)
        return _results(calls, replies, raise_on_error=raise_on_error)


def _of_transaction(replies: list[Reply], calls: list[Call]) -> list[Reply]:
    """Return what the commands of a transaction answered.

    Raises:
        ResponseError: A command was refused when it was queued, so that none was executed.
    """
    _, *queued, executed = replies
    if isinstance(executed, list):
        return executed
    for place, (reply, call) in enumerate(zip(queued, calls, strict=True), 1):
        if isinstance(reply, Exception):
            raise _annotated(reply, place, call)
    raise executed if isinstance(executed, Exception) else RedisError("the server did not execute the transaction")


def _results(calls: list[Call], replies: list[Reply], *, raise_on_error: bool) -> list[Any]:
    remaining = iter(replies)
    results: list[Any] = []
    for place, call in enumerate(calls, 1):
        if call.needs_no_reply:
            results.append(call.empty_result)
            continue
        reply = next(remaining)
        if not isinstance(reply, Exception):
            results.append(call.result(reply))
        elif raise_on_error:
            raise _annotated(reply, place, call)
        else:
            results.append(reply)
    return results


def _annotated(error: Exception, place: int, call: Call) -> Exception:
    """Say which command of a pipeline an error belongs to, in redis-py's words."""
    words = " ".join(part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in call.command)
    shown = words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."
    error.args = (f"Command # {place} ({shown}) of pipeline caused error: {error}", *error.args[1:])
    return error
