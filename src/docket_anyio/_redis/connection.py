"""One connection that many callers share: whose turn it is to write and to read, and whose reply is whose."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import hiredis
from attrs import define, field
from redis.connection import DefaultParser
from redis.exceptions import RedisError

from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.transport import Reply
from docket_anyio._redis.wire import Wire

_NOTHING_YET: Final = object()
_parse_error = cast("Callable[[str], RedisError]", cast("Any", DefaultParser).parse_error)


def parse_error(text: str) -> RedisError:
    """Return the exception that redis-py has for an error of the server."""
    return _parse_error(text)


def new_reader() -> hiredis.Reader:
    """Return a parser of replies, with errors as redis-py's exceptions."""
    return hiredis.Reader(replyError=parse_error, notEnoughData=_NOTHING_YET)


def replies_in(reader: hiredis.Reader, data: bytes) -> list[Reply]:
    """Feed the parser, and return every reply that is now complete."""
    reader.feed(data)
    replies: list[Reply] = []
    while (reply := reader.gets()) is not _NOTHING_YET:
        replies.append(reply)
    return replies


@define(eq=False, repr=False)
class Slot:
    """A caller's place in the line: what it sends, and the reply or replies that it gets."""

    data: bytes
    count: int = 1
    replies: list[Reply] = field(factory=list[Reply], init=False)
    error: Disconnected | None = field(default=None, init=False)
    done: bool = field(default=False, init=False)
    abandoned: bool = field(default=False, init=False)
    waiter: Awaitable[None] | None = field(default=None, init=False)


@define(eq=False, repr=False)
class Connection:
    """A connection without a task of its own: its callers take turns.

    Who waits for a reply while nobody reads, reads for all until its own has come, then wakes the next in line to go
    on. What callers send within one turn of the event loop goes out in one piece. A caller that is cancelled leaves its
    slot in the line: the reply is read by whoever reads next, and dropped.
    """

    wire: Wire
    silence: float
    """For how many seconds the server may say nothing while replies are due."""
    client_id: int = field(default=0, init=False)
    is_replica: bool = field(default=False, init=False)
    _line: deque[Slot] = field(factory=deque[Slot], init=False)
    """Sent and waiting for replies, in order."""
    _gathered: list[Slot] = field(factory=list[Slot], init=False)
    """Not sent yet."""
    _reader: Slot | None = field(default=None, init=False)
    _writer: Slot | None = field(default=None, init=False)
    _gathering: bool = field(default=False, init=False)
    _crowded: bool = field(default=False, init=False)
    """The last read resolved more than one reply, so more than one caller is about to write."""
    _heard_at: float = field(default=0.0, init=False)
    _parser: hiredis.Reader = field(factory=new_reader, init=False)
    _reason: str | None = field(default=None, init=False)
    _retired: str | None = field(default=None, init=False)

    @property
    def closed(self) -> bool:
        """Whether the connection is lost, was closed, or takes nothing more."""
        return self._reason is not None or self._retired is not None

    async def exchange(self, slot: Slot) -> None:
        """Send a slot's bytes and wait until it has all its replies. Cancelled, it leaves the slot behind, abandoned.

        Raises:
            Disconnected: The connection was lost before the last reply was read.
        """
        try:
            await self.send(slot)
            await self.wait(slot)
        except BaseException:
            slot.abandoned = True
            raise

    async def send(self, slot: Slot) -> None:
        """Hand a slot's bytes to the network, together with what others send in the same turn of the event loop."""
        if (reason := self._reason or self._retired) is not None:
            raise Disconnected(reason, maybe_executed=False)
        self._gathered.append(slot)
        if self._gathering:
            return
        if self._crowded:
            await self._gather(slot)
        self._flush()

    async def _gather(self, slot: Slot) -> None:
        self._gathering = True
        try:
            await self.wire.port.pause()
        except BaseException:
            # The others in the bundle rely on this caller; only its own command is taken out.
            slot.abandoned = True
            self._flush()
            self._pass_turns(slot)
            raise
        finally:
            self._gathering = False

    def _flush(self) -> None:
        """Send what has gathered."""
        if not self._gathered or self._reason is not None or self.wire.clogged:
            return
        if self._reader is None or not self._line:
            # Only replies to callers that are gone can be due. If the connection has ended, nothing is sent in vain.
            if not self._take_what_came():
                return
            self._heard_at = self.wire.port.time()
        bundle = [slot for slot in self._gathered if not slot.abandoned]
        self._gathered.clear()
        if not bundle:
            return
        try:
            self.wire.write(bundle[0].data if len(bundle) == 1 else b"".join([slot.data for slot in bundle]))
        except OSError as error:
            self._gathered = bundle
            self.fail(f"sending to the server failed: {error}")
            return
        self._line.extend(bundle)

    def _take_what_came(self) -> bool:
        """Read what has arrived without waiting. Return whether the connection is still there."""
        try:
            data = self.wire.receive_nowait()
        except OSError as error:
            self.fail(f"the connection was lost: {error}")
            return False
        if data is not None:
            self._feed(data)
        return self._reason is None

    async def wait(self, slot: Slot) -> None:
        """Wait until a slot that was sent has all its replies, reading for all while it is this caller's turn.

        Cancelled, it keeps the slot's place in the line, and may be called again.

        Raises:
            Disconnected: The connection was lost before the last reply was read.
        """
        try:
            while not slot.done:
                if self._reader is slot:
                    await self._read_for_all(slot)
                elif self.wire.clogged and (self._writer is None or self._writer is slot):
                    await self._write_for_all(slot)
                elif self._reader is None:
                    self._reader = slot
                else:
                    slot.waiter = waiter = self.wire.port.waiter()
                    await waiter
        finally:
            slot.waiter = None
            if self._reader is slot or self._writer is slot:
                self._pass_turns(slot)
        if slot.error is not None:
            raise slot.error

    async def _read_for_all(self, slot: Slot) -> None:
        try:
            while not slot.done:
                self._feed(await self.wire.receive(self._heard_at + self.silence))
                self._heard_at = self.wire.port.time()
        except TimeoutError:
            self.fail(f"the server did not answer within {self.silence:g} seconds")
        except OSError as error:
            self.fail(f"the connection was lost: {error}")

    async def _write_for_all(self, slot: Slot) -> None:
        self._writer = slot
        try:
            while self.wire.clogged and not slot.done:
                await self.wire.drain(self._heard_at + self.silence)
                self._heard_at = self.wire.port.time()
                self._flush()
            if not self.wire.clogged:
                self._writer = None
        except TimeoutError:
            self.fail(f"the server did not take a command within {self.silence:g} seconds")
        except OSError as error:
            self.fail(f"the connection was lost: {error}")

    def _pass_turns(self, slot: Slot) -> None:
        """Hand the turns that ``slot`` held, or that nobody holds, to those that wait.

        Whoever waits relies on someone to read, so no caller may leave without this if it held a turn.
        """
        if self._reader is slot:
            self._reader = None
            # Readers that are cancelled one after the other, each before it could read, must not hold up the rest.
            if not slot.done:
                self._take_what_came()
        if self._writer is slot:
            self._writer = None
        if self._reason is not None:
            return
        if self._writer is None and self.wire.clogged:
            self._writer = self._wake_one()
        if self._reader is None:
            self._reader = self._wake_one()

    def _wake_one(self) -> Slot | None:
        for slots in (self._line, self._gathered):
            for slot in slots:
                if slot.waiter is not None:
                    self._wake(slot)
                    return slot
        return None

    def _wake(self, slot: Slot) -> None:
        if slot.waiter is not None:
            self.wire.port.wake(slot.waiter)
            slot.waiter = None

    def _feed(self, data: bytes) -> None:
        """Give each reply to the first in line."""
        try:
            replies = replies_in(self._parser, data)
        except hiredis.ProtocolError as error:
            self.fail(f"the server does not speak the protocol of Redis: {error}")
            return
        resolved = 0
        for reply in replies:
            if not self._line:
                self.fail("the server sent a reply that nobody had asked for")
                return
            slot = self._line[0]
            slot.replies.append(reply)
            if len(slot.replies) == slot.count:
                self._line.popleft()
                slot.done = True
                resolved += 1
                self._wake(slot)
        self._crowded = resolved > 1
        self._close_if_retired()

    def retire(self, reason: str) -> None:
        """Take nothing more, and close when the last reply has come: they tell what was done and what was not."""
        self._retired = self._retired or reason
        self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self._retired is not None and not self._line and not self._gathered:
            self.fail(self._retired)

    def fail(self, reason: str) -> None:
        """Close the connection; everyone in line gets a ``Disconnected`` with this reason."""
        if self._reason is not None:
            return
        self._reason = reason
        self.wire.close()
        for slots, maybe_executed in ((self._line, True), (self._gathered, False)):
            for slot in slots:
                slot.error = Disconnected(reason, maybe_executed=maybe_executed)
                slot.done = True
                self._wake(slot)
        self._line.clear()
        self._gathered = []


def as_reply(reply: Reply) -> Reply:
    """Return a reply, or raise it if the server refused the command."""
    if isinstance(reply, Exception):
        raise reply
    return reply
