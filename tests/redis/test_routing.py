from __future__ import annotations

import pytest
from redis.crc import key_slot

from docket_anyio._redis.routing import SlotMap, slot_of
from docket_anyio._redis.transport import Command


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "key"),
        (b"get", b"key"),
        ("SET", "key", "value", "NX"),
        ("DEL", "key", "other"),
        ("EVALSHA", "sha", 2, "key", "other", "argument"),
        ("eval", "text", "1", "key"),
        ("FCALL", "name", 1, "key"),
        ("XREADGROUP", "GROUP", "STREAMS", "worker", "COUNT", 3, "BLOCK", 10, "STREAMS", "key", ">"),
        ("XREAD", "streams", "key", "0"),
        ("XGROUP", "CREATE", "key", "group", "0"),
        ("XINFO", "STREAM", "key"),
        ("BLMPOP", "0.5", 1, "key", "LEFT"),
        ("BLPOP", "key", "1"),
        ("ZINTER", 2, "key", "other"),
        ("PUBLISH", "key", "message"),
        ("GET", "{key}:more"),
    ],
)
def test_a_command_belongs_to_its_first_key(command: Command) -> None:
    assert slot_of(command) == key_slot(b"key")


@pytest.mark.parametrize(
    "command",
    [("PING",), ("SCRIPT", "LOAD", "key"), ("SCAN", 0), ("MULTI",), ("EVAL", "text", 0, "argument"), ("EVAL", "text")],
)
def test_some_are_about_no_key(command: Command) -> None:
    assert slot_of(command) is None


def test_a_map_names_the_masters() -> None:
    slots = SlotMap.of(
        [
            [0, 99, [b"a", 7000, b"id", []], [b"b", 7001, b"id"]],
            [100, 199, [b"", 7002, b"id"]],
            [200, 16_383, [None, 7003, b"id"], [b"?", 7004, b"id"]],
        ],
        ("asked", 6379),
    )
    assert [slots.owner(slot) for slot in (0, 99, 100, 200, 16_383)] == [
        ("a", 7000),
        ("a", 7000),
        ("asked", 7002),
        ("asked", 7003),
        ("asked", 7003),
    ]
    assert slots.masters == {("a", 7000), ("asked", 7002), ("asked", 7003)}
    assert set(slots.nodes) == slots.masters | {("b", 7001), ("asked", 7004)}


def test_a_map_may_have_holes() -> None:
    slots = SlotMap.of([[0, 99, [b"a", 7000, b"id"]]], ("asked", 6379))
    assert slots.owner(100) is None


@pytest.mark.parametrize("part", [b"x", [0, 1], [0, 1, [b"a"]]])
def test_what_is_no_map_is_said(part: object) -> None:
    with pytest.raises(TypeError, match="CLUSTER SLOTS"):
        SlotMap.of([part], ("asked", 6379))  # type: ignore[list-item]
