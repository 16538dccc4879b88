"""Between values and the bytes on the wire, as WIRE.md has them."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from docket_anyio._model import codec
from docket_anyio._model.events import StateChanged, decode_state_event, encode_state_event
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.record import RunRecord
from docket_anyio.exceptions import CorruptMessage, NotSerializable

WHEN = datetime(2026, 11, 22, 3, 50, 3, 727689, tzinfo=UTC)
ISO = "2026-11-22T03:50:03.727689+00:00"
EMPTY_ARGS, EMPTY_KWARGS = bytes.fromhex("8005292e"), bytes.fromhex("80057d942e")
MESSAGE = TaskMessage("K", "send", WHEN, EMPTY_ARGS, EMPTY_KWARGS)
FIELDS = {
    b"key": b"K",
    b"when": ISO.encode(),
    b"function": b"send",
    b"args": EMPTY_ARGS,
    b"kwargs": EMPTY_KWARGS,
    b"attempt": b"1",
    b"generation": b"3",
}
RECORD = {
    b"state": b"scheduled",
    b"generation": b"1",
    b"when": b"1795319404.0834999",
    b"known": b"1795319404.0834999",
    b"function": b"send",
    b"args": EMPTY_ARGS,
    b"kwargs": EMPTY_KWARGS,
}


class Unpicklable:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error


class Unloadable:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pow, (0, -1)


# --- payloads -----------------------------------------------------------------------------------------------------


def test_no_arguments_are_the_bytes_of_the_wire() -> None:
    assert codec.dump_arguments((), {}, "send") == (EMPTY_ARGS, EMPTY_KWARGS)
    assert codec.dump((), "it") == EMPTY_ARGS
    assert codec.dump({}, "it") == EMPTY_KWARGS


def test_arguments_are_a_tuple_and_a_dict_in_protocol_5() -> None:
    args, kwargs = codec.dump_arguments((1, "a"), {"b": None}, "send")
    assert args[:2] == kwargs[:2] == b"\x80\x05"
    assert pickle.loads(args) == (1, "a")
    assert pickle.loads(kwargs) == {"b": None}


@given(st.lists(st.integers() | st.text()).map(tuple), st.dictionaries(st.text(), st.binary()))
def test_arguments_come_back(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    assert codec.load_arguments(*codec.dump_arguments(args, kwargs, "send"), "send") == (args, kwargs)


def test_any_iterable_is_taken_for_arguments() -> None:
    assert codec.load_arguments(pickle.dumps([1, 2]), pickle.dumps([("a", 3)]), "send") == ((1, 2), {"a": 3})


def test_a_function_that_cannot_be_imported_travels_by_value() -> None:
    (function,), _ = codec.load_arguments(*codec.dump_arguments((lambda x: x + 1,), {}, "send"), "send")
    assert callable(function)
    assert function(1) == 2


@pytest.mark.parametrize("error", [TypeError("no"), RuntimeError("no"), ZeroDivisionError("no")])
def test_what_cannot_be_pickled_says_so(error: Exception) -> None:
    with pytest.raises(
        NotSerializable, match=f"the arguments of task 'send' cannot be pickled: {type(error).__name__}"
    ):
        codec.dump_arguments((Unpicklable(error),), {}, "send")


@pytest.mark.parametrize("payload", [b"", b"garbage", pickle.dumps(Unloadable()), b"\x80\x05cnowhere\nnothing\n."])
def test_what_cannot_be_unpickled_says_so(payload: bytes) -> None:
    with pytest.raises(CorruptMessage, match="the arguments of task 'send' cannot be unpickled"):
        codec.load_arguments(payload, EMPTY_KWARGS, "send")


@pytest.mark.parametrize(("args", "kwargs"), [(5, {}), ((), 5), ((), [1]), ((), ["abc"])])
def test_what_is_no_arguments_says_so(args: object, kwargs: object) -> None:
    with pytest.raises(CorruptMessage, match="the arguments of task 'send' are not arguments"):
        codec.load_arguments(pickle.dumps(args), pickle.dumps(kwargs), "send")


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_message_has_the_fields_of_the_wire_in_their_order() -> None:
    assert codec.encode_message(MESSAGE) == [
        "key", "K",
        "when", ISO,
        "function", "send",
        "args", EMPTY_ARGS,
        "kwargs", EMPTY_KWARGS,
        "attempt", "1",
    ]  # fmt: skip


def test_headers_of_a_trace_are_fields_of_their_own() -> None:
    encoded = codec.encode_message(evolve(MESSAGE, headers={"traceparent": b"00-ab", "tracestate": b"x=y"}))
    assert encoded[12:] == ["traceparent", b"00-ab", "tracestate", b"x=y"]


def test_a_time_keeps_the_offset_of_its_caller() -> None:
    when = WHEN.astimezone(timezone(timedelta(hours=-5)))
    assert codec.encode_message(evolve(MESSAGE, when=when))[3] == "2026-11-21T22:50:03.727689-05:00"


def test_microseconds_are_left_out_when_zero() -> None:
    assert codec.encode_message(evolve(MESSAGE, when=WHEN.replace(microsecond=0)))[3] == "2026-11-22T03:50:03+00:00"


def test_a_message_is_read() -> None:
    assert codec.decode_message(FIELDS) == evolve(MESSAGE, generation=3)


def test_a_message_without_a_generation_has_none() -> None:
    fields = {name: value for name, value in FIELDS.items() if name != b"generation"}
    assert codec.decode_message(fields).generation == 0


def test_fields_are_read_by_name_and_others_are_headers() -> None:
    fields = dict(reversed({**FIELDS, b"traceparent": b"\xff"}.items()))
    assert codec.decode_message(fields).headers == {"traceparent": b"\xff"}


def test_a_message_comes_back() -> None:
    message = TaskMessage("clé", "tâche", WHEN, b"\0", b"\xff", attempt=7, headers={"baggage": b"x"})
    flat = [each.encode() if isinstance(each, str) else each for each in codec.encode_message(message)]
    assert codec.decode_message(codec.pairs(flat)) == message


@pytest.mark.parametrize("name", [name for name in FIELDS if name != b"generation"])
def test_a_message_without_a_field(name: bytes) -> None:
    fields = {each: value for each, value in FIELDS.items() if each != name}
    with pytest.raises(CorruptMessage, match=f"a message without the field.*{name.decode()}"):
        codec.decode_message(fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"key", b"\xff"),
        (b"function", b"\xff"),
        (b"when", b"yesterday"),
        (b"when", b""),
        (b"attempt", b"first"),
        (b"generation", b"x"),
        (b"\xff", b"a header"),
    ],
)
def test_a_message_with_a_field_that_cannot_be_read(name: bytes, value: bytes) -> None:
    with pytest.raises(CorruptMessage, match="a message with a field that cannot be read"):
        codec.decode_message({**FIELDS, name: value})


def test_a_time_without_a_zone_is_taken_for_utc() -> None:
    assert codec.decode_message({**FIELDS, b"when": b"2026-11-22T03:50:03.727689"}).when == WHEN


# --- records ------------------------------------------------------------------------------------------------------


def test_a_record_that_waits() -> None:
    record = codec.decode_record(RECORD)
    assert record == RunRecord(
        ExecutionState.SCHEDULED, "send", EMPTY_ARGS, EMPTY_KWARGS,
        datetime.fromtimestamp(1795319404.0834999, UTC), generation=1,
    )  # fmt: skip


def test_a_record_of_a_run_that_ended() -> None:
    record = codec.decode_record(
        {
            **RECORD,
            b"state": b"failed",
            b"worker": b"W",
            b"started_at": ISO.encode(),
            b"completed_at": ISO.encode(),
            b"error": "ValueError: nö".encode(),
            b"result_key": b"K:1",
        }
    )
    assert record is not None
    assert record.state is ExecutionState.FAILED
    assert (record.worker, record.started_at, record.completed_at) == ("W", WHEN, WHEN)
    assert (record.error, record.result_key) == ("ValueError: nö", "K:1")


@pytest.mark.parametrize("missing", [b"state", b"function", b"args", b"kwargs", b"when"])
def test_a_record_that_lacks_the_task_tells_of_none(missing: bytes) -> None:
    assert codec.decode_record({name: value for name, value in RECORD.items() if name != missing}) is None


def test_a_tombstone_tells_of_no_execution() -> None:
    assert codec.decode_record({b"state": b"cancelled", b"completed_at": ISO.encode()}) is None
    assert codec.decode_record({}) is None


def test_a_record_from_before_generations() -> None:
    fields = {name: value for name, value in RECORD.items() if name != b"generation"}
    record = codec.decode_record(fields)
    assert record is not None
    assert record.generation == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"state", b"lost"), (b"when", b"soon"), (b"generation", b"x"), (b"started_at", b"x"), (b"function", b"\xff")],
)
def test_a_record_with_a_field_that_cannot_be_read(name: bytes, value: bytes) -> None:
    with pytest.raises(CorruptMessage, match="a record with a field that cannot be read"):
        codec.decode_record({**RECORD, name: value})


def test_an_error_text_is_read_whatever_it_is() -> None:
    record = codec.decode_record({**RECORD, b"error": b"\xff"})
    assert record is not None
    assert record.error == "\ufffd"


# --- results ------------------------------------------------------------------------------------------------------


def test_a_result_on_its_own() -> None:
    entry = codec.encode_stored(codec.result_value(b"\x80\x05\xff"))
    assert json.loads(entry) == {"data": base64.b64encode(b"\x80\x05\xff").decode()}


def test_a_result_as_an_entry_of_a_store() -> None:
    value = codec.result_value(b"\x80\x05")
    entry = codec.encode_stored_entry(
        value, collection="P:results", key="K:1", created_at=WHEN, time_to_live=timedelta(minutes=15)
    )
    members = json.loads(entry)
    assert members == {
        "collection": "P:results",
        "created_at": ISO,
        "expires_at": "2026-11-22T04:05:03.727689+00:00",
        "key": "K:1",
        "value": {"data": "gAU="},
        "version": 1,
    }
    assert list(members) == sorted(members)


@given(st.binary())
def test_a_result_comes_back_from_either_form(payload: bytes) -> None:
    value = codec.result_value(payload)
    entry = codec.encode_stored_entry(
        value, collection="P:results", key="K:1", created_at=WHEN, time_to_live=timedelta(seconds=1)
    )
    assert codec.decode_stored(codec.encode_stored(value).encode()) == value
    assert codec.decode_stored(entry.encode()) == value
    assert codec.result_payload(value) == payload


def test_an_entry_that_stays_for_ever() -> None:
    entry = codec.encode_stored_entry({"a": 1}, collection="P:results", key="K:1", created_at=WHEN, time_to_live=None)
    assert "expires_at" not in json.loads(entry)
    assert codec.decode_stored(entry.encode()) == {"a": 1}


@pytest.mark.parametrize(
    "stored",
    [
        b'{"value": {"data": "gAU="}}',
        b'{"value": "{\\"data\\": \\"gAU=\\"}"}',
        b'{"value": {"data": "gAU=", "more": 1}, "more": 2}',
        b'{"data": "gAU=", "more": 1}',
    ],
)
def test_a_result_of_somebody_else(stored: bytes) -> None:
    assert codec.result_payload(codec.decode_stored(stored)) == b"\x80\x05"


@pytest.mark.parametrize(
    "stored",
    [b"", b"\xff", b"[]", b"5", b"null", b"{}", b'{"value": 5}', b'{"value": "x"}', b'{"data": 5}', b'{"data": "?"}'],
)
def test_a_result_that_cannot_be_read(stored: bytes) -> None:
    with pytest.raises(CorruptMessage, match="a stored result that cannot be read"):
        codec.result_payload(codec.decode_stored(stored))


# --- events -------------------------------------------------------------------------------------------------------


def test_a_state_event_has_its_members_in_order() -> None:
    payload = encode_state_event("clé", ExecutionState.FAILED, completed_at=ISO, error='no "x"')
    assert payload == (
        f'{{"type": "state", "key": "cl\\u00e9", "state": "failed", "completed_at": "{ISO}", "error": "no \\"x\\""}}'
    )


def test_a_detail_without_a_value_is_left_out() -> None:
    payload = encode_state_event("K", ExecutionState.COMPLETED, completed_at=ISO, error=None)
    assert list(json.loads(payload)) == ["type", "key", "state", "completed_at"]


def test_a_state_event_comes_back() -> None:
    payload = encode_state_event("K", ExecutionState.FAILED, error="x")
    assert decode_state_event(payload.encode()) == StateChanged("K", ExecutionState.FAILED, "x")


def test_a_state_event_of_a_script_is_compact() -> None:
    payload = '{"type":"state","key":"clé","state":"queued","when":"x"}'.encode()
    assert decode_state_event(payload) == StateChanged("clé", ExecutionState.QUEUED)


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"5", b"\xff", b'{"key": "K"}', b'{"key": "K", "state": "odd"}']
)
def test_a_state_event_that_cannot_be_read(payload: bytes) -> None:
    with pytest.raises(CorruptMessage, match="a state event that cannot be read"):
        decode_state_event(payload)
