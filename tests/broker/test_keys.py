"""Every key and channel, exactly as WIRE section 1 has them."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.extras import Extra
from docket_anyio.exceptions import InvalidSetting

REDIS, MEMORY = Keys("P", bare_results=False), Keys("P", bare_results=True)


def test_the_group() -> None:
    assert GROUP == "docket-workers"


def test_the_keys_of_a_docket() -> None:
    assert [REDIS.stream, REDIS.queue, REDIS.workers] == ["P:stream", "P:queue", "P:workers"]
    assert REDIS.sweep_lease == "P:leases:redelivery-sweep"
    assert REDIS.results == "P:results"
    assert REDIS.worker_tasks("W") == "P:worker-tasks:W"
    assert REDIS.task_workers("F") == "P:task-workers:F"


def test_the_keys_of_a_task() -> None:
    assert [REDIS.runs("K"), REDIS.parked("K"), REDIS.progress("K")] == ["P:runs:K", "P:K", "P:progress:K"]
    assert [REDIS.known("K"), REDIS.stream_id("K")] == ["P:known:K", "P:stream-id:K"]


def test_the_keys_that_pydocket_does_not_know() -> None:
    assert [REDIS.paused, REDIS.pause_channel, REDIS.wake_channel] == [
        "P:anyio:paused",
        "P:anyio:pause",
        "P:anyio:wake",
    ]
    assert [REDIS.honouring(extra) for extra in Extra] == [
        "P:anyio:honours:expiry",
        "P:anyio:honours:pause",
        "P:anyio:honours:priority",
        "P:anyio:honours:cancel",
    ]
    assert REDIS.streams == ["P:anyio:stream:high", "P:stream", "P:anyio:stream:low"]
    assert REDIS.sequence == "P:anyio:sequence"


def test_an_entry_tells_its_stream() -> None:
    ids = [b"0-1", b"0-18446744073709551615", b"1-7", b"10-0", b"1763783403727-0", b""]
    assert [REDIS.stream_with(each) for each in ids] == [
        *["P:anyio:stream:high"] * 2, "P:anyio:stream:low", *["P:stream"] * 3,
    ]  # fmt: skip


def test_the_channels() -> None:
    assert [REDIS.state_channel("K"), REDIS.cancel_channel("K")] == ["P:state:K", "P:cancel:K"]
    assert REDIS.cancel_pattern == "P:cancel:*"


def test_results_stand_where_the_kind_of_deployment_has_them() -> None:
    assert REDIS.result("K:1") == "P:results::K:1"
    assert MEMORY.result("K:1") == "P:results:K:1"


def test_a_channel_tells_its_key() -> None:
    assert REDIS.cancelled_key("P:cancel:a:cancel:é".encode()) == "a:cancel:é"


def test_a_name_means_only_itself_in_a_pattern() -> None:
    assert Keys("a*b?[c]\\^-", bare_results=False).cancel_pattern == "a\\*b\\?\\[c]\\\\^-:cancel:*"


def test_on_a_cluster_all_keys_are_in_one_slot_but_those_of_limits() -> None:
    keys = Keys.on("cluster", "P")
    one = {keys.stream, keys.queue, keys.runs("k"), keys.result("k:1"), keys.slots("n", "s"), keys.cancel_channel("k")}
    assert {key_slot(each.encode()) for each in one} == {key_slot(b"P")}
    assert keys.result("k:1") == "{P}:results:k:1"
    assert keys.slots("n", "s") == "{P}:s:concurrency:n"
    assert keys.cancel_pattern == "{P}:cancel:*"
    assert keys.rate_window("n", None) == "P:ratelimit:n"
    assert keys.rate_window("n", "s") == "s:ratelimit:n"
    assert keys.cooldown("n", None) == "P:cooldown:n"
    winner, last_seen = keys.debounce("n", None)
    assert (winner, last_seen) == ("P:debounce:n:{n}:winner", "P:debounce:n:{n}:last_seen")
    assert key_slot(winner.encode()) == key_slot(last_seen.encode())


def test_on_a_cluster_a_name_has_to_hold_the_keys_together() -> None:
    assert Keys.on("tcp", "}x").prefix == "}x"
    with pytest.raises(InvalidSetting, match="must not begin with '}'"):
        Keys.on("cluster", "}x")
