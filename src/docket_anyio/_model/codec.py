"""Between values and the fields on the wire (WIRE.md). Payloads stay bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import cloudpickle

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.payloads import DEFAULT_MAX_PAYLOAD_BYTES, check_size
from docket_anyio._model.priority import Priority
from docket_anyio._model.record import ProgressRecord, RunRecord
from docket_anyio._model.snapshot import Standing
from docket_anyio._model.strikes import INSTRUCTIONS, Direction, StrikeInstruction
from docket_anyio.exceptions import CorruptMessage, InvalidStrike, NotSerializable

_FIELDS = frozenset({b"key", b"when", b"function", b"args", b"kwargs", b"attempt", b"generation", b"anyio:priority"})
_PRIORITIES = {each.value.encode(): each for each in Priority}
_dumps = cast("Callable[[object], bytes]", cloudpickle.dumps)  # pyright: ignore[reportUnknownMemberType] - untyped
_EMPTY_ARGS = b"\x80\x05)."
_EMPTY_KWARGS = b"\x80\x05}\x94."


def dump(value: object, what: str) -> bytes:
    """Pickle a value.

    Args:
        value: Anything that cloudpickle can pickle.
        what: What it is, for the message.

    Raises:
        NotSerializable: It cannot be pickled.
    """
    try:
        return _dumps(value)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise NotSerializable(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error


def load(payload: bytes, what: str) -> Any:
    """Unpickle a value.

    Raises:
        CorruptMessage: The payload cannot be unpickled here.
    """
    try:
        return cloudpickle.loads(payload)
    except Exception as error:  # a pickle may run and raise anything
        raise CorruptMessage(f"{what} cannot be unpickled: {type(error).__name__}: {error}") from error


def dump_arguments(
    args: tuple[object, ...], kwargs: Mapping[str, object], task: str, *, at_most: int = DEFAULT_MAX_PAYLOAD_BYTES
) -> tuple[bytes, bytes]:
    """Pickle what a task is called with.

    Args:
        args: The positional ones.
        kwargs: Those by name.
        task: The task, for the message.
        at_most: How many bytes the two pickles may have together.

    Raises:
        NotSerializable: They cannot be pickled.
        PayloadTooLarge: They have more bytes.
    """
    what = f"the arguments of task {task!r}"
    pickled = (
        dump(args, what) if args else _EMPTY_ARGS,
        dump(dict(kwargs), what) if kwargs else _EMPTY_KWARGS,
    )
    check_size(what, *pickled, at_most=at_most)
    return pickled


def load_arguments(args: bytes, kwargs: bytes, task: str) -> tuple[tuple[object, ...], dict[str, object]]:
    """Unpickle what a task is called with.

    Raises:
        CorruptMessage: It cannot be unpickled here, or is not a sequence and a mapping.
    """
    what = f"the arguments of task {task!r}"
    try:
        return (
            () if args == _EMPTY_ARGS else tuple(load(args, what)),
            {} if kwargs == _EMPTY_KWARGS else dict(load(kwargs, what)),
        )
    except (TypeError, ValueError) as error:
        raise CorruptMessage(f"{what} are not arguments: {error}") from error


def encode_message(message: TaskMessage) -> list[str | bytes]:
    """Return the message as fields and values in turn, without the generation, which the scripts fill in."""
    fields: list[str | bytes] = [
        "key", message.key,
        "when", message.when.isoformat(),
        "function", message.task,
        "args", message.args,
        "kwargs", message.kwargs,
        "attempt", str(message.attempt),
    ]  # fmt: skip
    for name, value in message.headers.items():
        fields += [name, value]
    if message.priority is not Priority.NORMAL:
        fields += ["anyio:priority", message.priority.value]
    return fields


def encode_fields(message: TaskMessage) -> dict[bytes, bytes]:
    """Return the message as a mapping, without the generation."""
    flat = [each if isinstance(each, bytes) else each.encode() for each in encode_message(message)]
    return pairs(flat)


def decode_message(fields: Mapping[bytes, bytes]) -> TaskMessage:
    """Return the message in a stream entry.

    Raises:
        CorruptMessage: A field is missing or is not what it should be.
    """
    try:
        return TaskMessage(
            key=fields[b"key"].decode(),
            task=fields[b"function"].decode(),
            when=_decode_time(fields[b"when"]),
            args=fields[b"args"],
            kwargs=fields[b"kwargs"],
            attempt=int(fields[b"attempt"]),
            generation=int(fields.get(b"generation", 0)),
            headers={name.decode(): value for name, value in fields.items() if name not in _FIELDS},
            priority=_PRIORITIES.get(fields.get(b"anyio:priority", b""), Priority.NORMAL),
        )
    except KeyError as error:
        raise CorruptMessage(f"a message without the field {error}") from error
    except ValueError as error:
        raise CorruptMessage(f"a message with a field that cannot be read: {error}") from error


def decode_record(fields: Mapping[bytes, bytes]) -> RunRecord | None:
    """Return the record in a hash, or ``None`` where it tells of no execution (a tombstone, or nothing at all).

    Raises:
        CorruptMessage: A field is not what it should be.
    """
    if not {b"state", b"function", b"args", b"kwargs", b"when"} <= fields.keys():
        return None
    try:
        return RunRecord(
            state=ExecutionState(fields[b"state"].decode()),
            task=fields[b"function"].decode(),
            args=fields[b"args"],
            kwargs=fields[b"kwargs"],
            when=datetime.fromtimestamp(float(fields[b"when"]), UTC),
            generation=int(fields.get(b"generation", 0)),
            worker=_optional(fields.get(b"worker")),
            started_at=_optional_time(fields.get(b"started_at")),
            completed_at=_optional_time(fields.get(b"completed_at")),
            error=_optional(fields.get(b"error")),
            result_key=_optional(fields.get(b"result_key")),
            expires=_expiry(fields),
            priority=_priority(fields),
            cancel_requested=_optional_number(fields.get(b"anyio:cancel_requested")),
            cancel_reason=_optional(fields.get(b"anyio:cancel_reason")),
            cancel_grace=_optional_seconds(fields.get(b"anyio:cancel_grace")),
            # Whoever ends the run says when, so the time is another one then; pydocket's workers leave the field.
            cancelled_early=fields.get(b"anyio:cancel_early", b"") == fields.get(b"completed_at"),
        )
    except ValueError as error:
        raise CorruptMessage(f"a record with a field that cannot be read: {error}") from error


def decode_standing(state: bytes | None, generation: bytes | None, started_at: bytes | None) -> Standing:
    """Return what a record says beside a message.

    Raises:
        CorruptMessage: A field is not what it should be.
    """
    try:
        return Standing(
            state=None if state is None else ExecutionState(state.decode()),
            generation=int(generation or 0),
            started_at=_optional_time(started_at),
        )
    except ValueError as error:
        raise CorruptMessage(f"a record with a field that cannot be read: {error}") from error


def decode_progress(fields: Mapping[bytes, bytes]) -> ProgressRecord | None:
    """Return the progress in a hash, or ``None`` where there is nothing.

    Raises:
        CorruptMessage: A field is not what it should be.
    """
    if not fields:
        return None
    try:
        return ProgressRecord(
            current=int(fields.get(b"current", 0)),
            total=int(fields.get(b"total", 100)),
            message=_optional(fields.get(b"message")),
            updated_at=_optional_time(fields.get(b"updated_at")),
        )
    except ValueError as error:
        raise CorruptMessage(f"a progress with a field that cannot be read: {error}") from error


def result_value(payload: bytes) -> dict[str, str]:
    """Return a pickled result as the value that result stores are given (WIRE section 10)."""
    return {"data": base64.b64encode(payload).decode()}


def result_payload(value: Mapping[str, Any]) -> bytes:
    """Return the pickled result in a value of a result store.

    Raises:
        CorruptMessage: There is none in it.
    """
    try:
        return base64.b64decode(value["data"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptMessage(f"a stored result that cannot be read: {str(value)[:200]}") from error


def encode_stored(value: Mapping[str, Any]) -> str:
    """Return a value as a cluster and memory:// hold it (WIRE section 10)."""
    return json.dumps(dict(value))


def encode_stored_entry(
    value: Mapping[str, Any], *, collection: str, key: str, created_at: datetime, time_to_live: timedelta | None
) -> str:
    """Return a value as the entry that a standalone Redis holds (WIRE section 10)."""
    expiry = {} if time_to_live is None else {"expires_at": (created_at + time_to_live).isoformat()}
    return json.dumps(
        {
            "collection": collection,
            "created_at": created_at.isoformat(),
            **expiry,
            "key": key,
            "value": dict(value),
            "version": 1,
        }
    )


def decode_stored(stored: bytes) -> Mapping[str, Any]:
    """Return the value in either form.

    Raises:
        CorruptMessage: It is neither.
    """
    try:
        members: dict[str, Any] = json.loads(stored)
        value: Any = members.get("value", members)
        return dict(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptMessage(f"a stored result that cannot be read: {stored[:200]!r}") from error


def encode_strike(instruction: StrikeInstruction) -> list[str | bytes]:
    """Return an instruction as fields and values in turn (WIRE section 11).

    Raises:
        NotSerializable: Its value cannot be pickled.
    """
    fields: list[str | bytes] = ["direction", instruction.direction.value]
    if instruction.function is not None:
        fields += ["function", instruction.function]
    if instruction.parameter is not None:
        fields += ["parameter", instruction.parameter]
    return [*fields, "operator", instruction.operator.value, "value", dump(instruction.value, "the value of a strike")]


def decode_strike(fields: Mapping[bytes, bytes]) -> StrikeInstruction:
    """Return the instruction in an entry.

    Raises:
        CorruptMessage: A field is missing or cannot be read.
        InvalidStrike: It makes no sense.
    """
    try:
        return INSTRUCTIONS[Direction(fields[b"direction"].decode())](
            _optional(fields.get(b"function")),
            _optional(fields.get(b"parameter")),
            fields[b"operator"].decode(),
            load(fields[b"value"], "the value of a strike"),
        )
    except InvalidStrike:
        raise
    except (KeyError, ValueError) as error:
        raise CorruptMessage(f"a strike with a field that cannot be read: {error}") from error


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return fields and values in turn as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _decode_time(text: bytes) -> datetime:
    when = datetime.fromisoformat(text.decode())
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _expiry(fields: Mapping[bytes, bytes]) -> datetime | None:
    # pydocket leaves it where it is when it schedules the key anew.
    if b"anyio:expires" not in fields or fields.get(b"anyio:expires_generation") != fields.get(b"generation"):
        return None
    return datetime.fromtimestamp(float(fields[b"anyio:expires"]), UTC)


def _priority(fields: Mapping[bytes, bytes]) -> Priority:
    is_current = fields.get(b"anyio:priority_generation") == fields.get(b"generation")  # as for the expiry
    return _PRIORITIES.get(fields.get(b"anyio:priority", b""), Priority.NORMAL) if is_current else Priority.NORMAL


def _optional(text: bytes | None) -> str | None:
    return None if text is None else text.decode(errors="replace")


def _optional_number(text: bytes | None) -> int | None:
    return None if text is None else int(text)


def _optional_seconds(text: bytes | None) -> timedelta | None:
    return None if text is None else timedelta(seconds=float(text))


def _optional_time(text: bytes | None) -> datetime | None:
    return None if text is None else _decode_time(text)
