"""pydocket and docket-anyio on one cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
import redis
from attrs import define

from tests.clusters import Cluster, open_cluster
from tests.interop.conftest import Meeting, Peer
from tests.journal import Journal
from tests.processes import Processes, RawDocket, wait_until


@define(eq=False)
class ClusterMeeting(Meeting):
    """Dockets and libraries on a cluster."""

    cluster: Cluster
    stack: ExitStack

    def docket(self) -> RawDocket:
        name = f"docket-{uuid4().hex}"
        master = self.cluster.master_of(f"{{{name}}}")
        client = self.stack.enter_context(redis.Redis.from_url(master.server.unix_url))
        return RawDocket(client, name, on_cluster=True)


@pytest.fixture(scope="module")
def cluster(redis_server_binary: str) -> Iterator[Cluster]:
    with open_cluster(redis_server_binary, replicas=0) as cluster:
        yield cluster


@pytest.fixture
def meeting(peers: tuple[Processes, dict[str, Peer], Journal], cluster: Cluster) -> Iterator[ClusterMeeting]:
    processes, kinds, journal = peers
    journal.path.unlink(missing_ok=True)
    # pydocket wants one node.
    url = f"redis+cluster://127.0.0.1:{cluster.members[0].server.port}"
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(cluster.members[0].server.unix_url))
        meeting = ClusterMeeting(url, client, journal, processes, kinds, cluster, stack)
        meeting.shut_gate()
        try:
            yield meeting
        finally:
            meeting.close()


def test_one_adds_and_the_other_works(meeting: ClusterMeeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    client.add("echo", "'before'", key="before")
    client.add("boom", "'ouch'", key="boom")
    client.add("hold", meeting.hold, key="hold")
    worker.work()
    client.add("echo", "'now'", key="now")
    client.add("echo", "'soon'", key="soon", delay=0.2)
    for number in range(4):
        client.add("share", f"{number}, 0.02, 'here'", key=f"share-{number}")
        client.add("rated", f"{number}", key=f"rated-{number}")
    for side in (client, worker):
        assert [side.result(key) for key in ("before", "now", "soon")] == [
            ["returned", repr(key)] for key in ("before", "now", "soon")
        ]
        assert side.result("boom") == ["raised", "Boom", "('ouch', 42)", "42"]
        for number in range(4):
            assert side.result(f"share-{number}") == ["returned", str(number)]
            assert side.result(f"rated-{number}") == ["returned", str(number)]
        assert side.state("hold") == "running"
    client.cancel("hold")
    wait_until(lambda: docket.is_drained() and client.state("hold") == "cancelled", "the end of what was cancelled")
    client.strike("echo", "value", "'==', 'struck'")
    assert worker.snapshot() == client.snapshot()
    worker.stop()
    assert docket.redis.exists(docket.key("results:before:1"))


def test_both_work(meeting: ClusterMeeting, pair: tuple[str, str]) -> None:
    """Cooldowns and debounces, which lie in other slots, hold for both, too."""
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    first.work("A")
    second.work("B")
    for number in range(20):
        (first, second)[number % 2].add("echo", f"{number}", key=f"echo-{number}")
        (second, first)[number % 2].add("cooled", f"{number}", key=f"cooled-{number}")
        (second, first)[number % 2].add("debounced", f"{number}", key=f"debounced-{number}")
    for number in range(20):
        assert first.result(f"echo-{number}") == ["returned", str(number)]
    wait_until(docket.is_drained, "the end of the work")
    assert len(meeting.journal.entries("cooled")) == 1
    assert len(meeting.journal.entries("debounced")) == 1
    first.stop("A")
    second.stop("B")
