"""The keys that users give, and those that are made for them."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket_anyio._model.keys import check_key, new_key
from docket_anyio.exceptions import InvalidKey

# Every key of WIRE section 1, as it stands behind "<docket>:".
RESERVED = """
    stream queue strikes workers
    runs:K progress:K results:K:1 results::K:1 task-workers:F worker-tasks:W perpetual:lock leases:redelivery-sweep
    concurrency:F concurrency:customer:5 concurrency:F:waiters scope:concurrency:F a:b:concurrency:F
    ratelimit:F cooldown:F debounce:{F}:winner debounce:{F}:last_seen
    known:K stream-id:K
    anyio:honours:expiry anyio:honours:pause anyio:paused anyio:stream:high anyio:stream:low anyio:sequence
""".split()
FINE = """
    order-1 x : a:b streams stream2 Stream queue2 my-queue strike workers2 worker runs progress results concurrency
    task-workers perpetual leases known stream-id __safeguard__:K ünïcode 日本 🎉 {tag} run:1 state:x cancel:x a*b[c]?
""".split()


@pytest.mark.parametrize("key", RESERVED)
def test_a_key_of_the_dockets_own_is_refused(key: str) -> None:
    with pytest.raises(
        InvalidKey, match="would collide with one of the docket's own keys; put a prefix before it"
    ) as e:
        check_key(key)
    assert repr(key) in str(e.value)


@pytest.mark.parametrize("key", [*FINE, "with space", "line\nbreak", "stream\n", "nul\0", "x" * 10_000])
def test_any_other_text_is_a_key(key: str) -> None:
    assert check_key(key) == key


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(InvalidKey, match="must not be empty"):
        check_key("")


def test_what_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidKey, match="cannot be encoded as UTF-8"):
        check_key("a\udcffb")


def test_a_bad_key_is_a_value_error() -> None:
    assert issubclass(InvalidKey, ValueError)


@given(st.floats(min_value=0, max_value=4_102_444_800))
def test_a_new_key_is_a_uuid_of_version_7_with_the_time_in_it(now: float) -> None:
    key = new_key(now)
    value = UUID(key)
    assert str(value) == key
    assert (value.version, value.variant) == (7, RFC_4122)
    assert value.int >> 80 == int(now * 1000)


@given(st.integers(0, 4_102_444_800_000), st.integers(1, 1_000_000))
def test_new_keys_sort_by_time(milliseconds: int, later: int) -> None:
    assert new_key((milliseconds + 0.5) / 1000) < new_key((milliseconds + later + 0.5) / 1000)


def test_new_keys_of_one_moment_differ() -> None:
    now = time.time()
    assert len({new_key(now) for _ in range(10_000)}) == 10_000


def test_new_keys_can_be_used() -> None:
    assert check_key(key := new_key(time.time())) == key
