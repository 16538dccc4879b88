"""Who listens to which channels, and the messages they have not received yet."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from anyio import Event
from anyio.lowlevel import checkpoint
from attrs import define, field

from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.memory.parsing import glob
from docket_anyio._redis.transport import Message

# What Redis itself allows a subscriber to fall behind before it drops the connection (client-output-buffer-limit).
MAX_BUFFERED_BYTES: Final = 32 * 1024 * 1024


@define(eq=False)
class Listener:
    """A subscription. As with Redis, one that falls too far behind is dropped, so that it can't fill the memory."""

    channels: tuple[bytes, ...]
    patterns: tuple[bytes, ...]
    _buffer: deque[Message] = field(factory=deque[Message], init=False)
    _buffered_bytes: int = field(default=0, init=False)
    _arrival: Event | None = field(default=None, init=False)
    _failure: str | None = field(default=None, init=False)

    async def receive(self) -> Message:
        """Wait for the next message. A checkpoint; a cancelled call has taken no message.

        Raises:
            Disconnected: The subscription has ended, or had fallen too far behind.
        """
        await checkpoint()
        while not self._buffer:
            if self._failure is not None:
                raise Disconnected(self._failure, maybe_executed=False)
            if self._arrival is None:
                self._arrival = Event()
            await self._arrival.wait()
        message = self._buffer.popleft()
        self._buffered_bytes -= len(message.data)
        return message

    def deliver(self, message: Message) -> None:
        """Keep a message for the receiver, and wake it."""
        if self._failure is not None:
            return
        self._buffer.append(message)
        self._buffered_bytes += len(message.data)
        if self._buffered_bytes > MAX_BUFFERED_BYTES:
            self.fail("the subscription fell too far behind and was dropped")
        else:
            self._wake()

    def fail(self, reason: str) -> None:
        """End the subscription and throw away what was not received."""
        self._failure = reason
        self._buffer.clear()
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None


@define
class _Pattern:
    matches: re.Pattern[bytes]
    listeners: dict[Listener, None] = field(factory=dict[Listener, None])


@define(eq=False)
class Channels:
    """The listeners by channel and by pattern, in the order in which they came."""

    _channels: dict[bytes, dict[Listener, None]] = field(factory=dict[bytes, dict[Listener, None]], init=False)
    _patterns: dict[bytes, _Pattern] = field(factory=dict[bytes, _Pattern], init=False)

    def add(self, listener: Listener) -> None:
        """Deliver to a listener from now on."""
        for channel in listener.channels:
            self._channels.setdefault(channel, {})[listener] = None
        for text in listener.patterns:
            pattern = self._patterns.get(text)
            if pattern is None:
                pattern = self._patterns[text] = _Pattern(glob(text))
            pattern.listeners[listener] = None

    def remove(self, listener: Listener) -> None:
        """Deliver to a listener no longer."""
        for channel in set(listener.channels):
            del self._channels[channel][listener]
            if not self._channels[channel]:
                del self._channels[channel]
        for text in set(listener.patterns):
            del self._patterns[text].listeners[listener]
            if not self._patterns[text].listeners:
                del self._patterns[text]

    def publish(self, channel: bytes, data: bytes) -> int:
        """Deliver a message and return how often."""
        count = 0
        for listener in self._channels.get(channel, ()):
            listener.deliver(Message(channel, data))
            count += 1
        for text, pattern in self._patterns.items():
            if pattern.matches.match(channel):
                for listener in pattern.listeners:
                    listener.deliver(Message(channel, data, text))
                    count += 1
        return count

    def counts(self, channels: list[bytes]) -> list[int]:
        """Return how many listen to each of these channels."""
        return [len(self._channels.get(channel, ())) for channel in channels]
