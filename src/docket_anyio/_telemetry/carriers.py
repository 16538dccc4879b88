"""Trace headers in a message as Redis has it, for OpenTelemetry's propagators."""

from __future__ import annotations

from typing import Final, TypeAlias

from docket_anyio._telemetry.otel import Getter, Setter

Message: TypeAlias = dict[bytes, bytes]


class MessageGetter(Getter[Message]):
    """Reads headers from the fields of a message."""

    def get(self, carrier: Message, key: str) -> list[str] | None:
        """Return the values of a header."""
        value = carrier.get(key.encode())
        return None if value is None else [value.decode()]

    def keys(self, carrier: Message) -> list[str]:
        """Return the names of all fields."""
        return [each.decode() for each in carrier]


class MessageSetter(Setter[Message]):
    """Writes headers into the fields of a message."""

    def set(self, carrier: Message, key: str, value: str) -> None:
        """Write a header."""
        carrier[key.encode()] = value.encode()


MESSAGE_GETTER: Final = MessageGetter()
MESSAGE_SETTER: Final = MessageSetter()
