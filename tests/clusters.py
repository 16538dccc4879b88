"""Real clusters, and masters watched over by real sentinels, in which a test may kill a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from attrs import define, frozen
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.servers import Mortal, ServerFailed, open_mortals

SLOTS = 16_384
SERVICE = "the-master"
PATIENCE = 30.0

_REPLICATION = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait for a fact of servers, some of which may not answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what}: not within {PATIENCE:g} s")
        time.sleep(0.02)


@contextmanager
def asking(mortal: Mortal) -> Iterator[Any]:
    """Give a client for one server, by the socket, which needs neither TLS nor the right port."""
    once = Retry(NoBackoff(), 0)
    client = redis.Redis(unix_socket_path=str(mortal.server.socket), decode_responses=True, retry=once)
    try:
        yield client
    finally:
        client.close()


def ask(mortal: Mortal, *command: str | int) -> Any:
    with asking(mortal) as client:
        return client.execute_command(*command)


def role(mortal: Mortal) -> str:
    with asking(mortal) as client:
        return str(client.info("replication")["role"])


@frozen
class Node:
    """A line of CLUSTER NODES."""

    name: str
    port: int
    flags: frozenset[str]
    follows: str
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, words: list[str]) -> Node:
        ranges = [each.partition("-") for each in words[8:] if not each.startswith("[")]
        return cls(
            words[0],
            int(words[1].split("@")[0].rpartition(":")[2]),
            frozenset(words[2].split(",")),
            words[3],
            tuple((int(first), int(last or first)) for first, _, last in ranges),
        )

    @property
    def trouble(self) -> bool:
        return bool(self.flags & {"fail", "fail?", "handshake", "noaddr"})

    @property
    def slots(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def has(self, slot: int) -> bool:
        return "master" in self.flags and any(first <= slot <= last for first, last in self.ranges)


@define(eq=False)
class Cluster:
    """Masters with all slots between them, and replicas."""

    members: list[Mortal]

    @property
    def url(self) -> str:
        """All nodes, so that it holds whoever is dead."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{each.server.port}" for each in self.members)

    def by_port(self, port: int) -> Mortal:
        return next(each for each in self.members if each.server.port == port)

    def masters(self) -> list[Mortal]:
        return [each for each in self.members if each.alive and role(each) == "master"]

    def another_master(self, than: Mortal) -> Mortal:
        return next(each for each in self.masters() if each is not than)

    def master_of(self, key: str) -> Mortal:
        return self._of(key)[0]

    def replicas_of(self, key: str) -> list[Mortal]:
        return self._of(key)[1:]

    def _of(self, key: str) -> list[Mortal]:
        """Return the master and the replicas of a key's slot, as the first node that lives knows them."""
        slot = key_slot(key.encode())
        nodes = self.nodes(next(each for each in self.members if each.alive))
        (master,) = (each for each in nodes if each.has(slot))
        return [self.by_port(each.port) for each in (master, *(each for each in nodes if each.follows == master.name))]

    def nodes(self, member: Mortal) -> list[Node]:
        """Return the nodes as one of them knows them."""
        with asking(member) as client:
            client.response_callbacks.clear()
            return [Node.of(line.split()) for line in client.execute_command("CLUSTER NODES").splitlines()]

    def node_id(self, mortal: Mortal) -> str:
        return str(ask(mortal, "CLUSTER", "MYID"))

    def wait_whole(self) -> None:
        """Wait until all nodes agree, and every replica has what its master has."""
        wait_for(lambda: all(self._is_content(each) for each in self.members), "a whole cluster")

    def _is_content(self, mortal: Mortal) -> bool:
        nodes = self.nodes(mortal)
        with asking(mortal) as client:
            replication = client.info("replication")
            state = str(client.execute_command("CLUSTER", "INFO"))
        return (
            "cluster_state:ok" in state
            and sum(each.slots for each in nodes) == SLOTS
            and len(nodes) == len(self.members)
            and not any(each.trouble for each in nodes)
            and all(each.slots or "slave" in each.flags for each in nodes)
            and (replication["role"] == "master" or replication["master_link_status"] == "up")
        )

    def revive(self) -> None:
        """Bring back who is dead, and wait until all is well."""
        for each in self.members:
            if not each.alive:
                each.revive()
        self.wait_whole()

    def move_slot(self, key: str, target: Mortal) -> None:
        """Move the slot of a key to another master, as ``redis-cli --cluster reshard`` does."""
        source = self.master_of(key)
        with self.moving_slot(key, target):
            while names := ask(source, "CLUSTER", "GETKEYSINSLOT", key_slot(key.encode()), 100):
                self.move_keys(source, target, *names)

    @contextmanager
    def moving_slot(self, key: str, target: Mortal) -> Iterator[None]:
        """Announce that a slot moves, and afterwards that it has."""
        slot, source = key_slot(key.encode()), self.master_of(key)
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))
        yield
        for each in (target, source, *self.masters()):
            ask(each, "CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))

    def move_keys(self, source: Mortal, target: Mortal, *keys: str) -> None:
        ask(source, "MIGRATE", "127.0.0.1", target.server.port, "", 0, 5000, "KEYS", *keys)


@contextmanager
def open_cluster(binary: str, *, masters: int = 3, replicas: int = 1, node_timeout: int = 500) -> Iterator[Cluster]:
    """Run a cluster.

    Args:
        binary: The program.
        masters: How many.
        replicas: How many each master has.
        node_timeout: After how many milliseconds of silence a node counts as gone.
    """
    options = (
        "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
        "--cluster-node-timeout", str(node_timeout), "--cluster-replica-validity-factor", "0", *_REPLICATION,
    )  # fmt: skip
    with open_mortals(binary, masters * (1 + replicas), *options) as members:
        cluster = Cluster(members)
        for number, each in enumerate(members[:masters]):
            first, last = number * SLOTS // masters, (number + 1) * SLOTS // masters
            ask(each, "CLUSTER", "ADDSLOTS", *range(first, last))
        for number, each in enumerate(members):
            ask(each, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            ask(each, "CLUSTER", "MEET", "127.0.0.1", members[0].server.port)
        names = [cluster.node_id(each) for each in members]
        wait_for(lambda: all(_knows_all(cluster, each) for each in members), "nodes that know each other")
        for number, each in enumerate(members[masters:]):
            ask(each, "CLUSTER", "REPLICATE", names[number % masters])
        cluster.wait_whole()
        yield cluster


def _knows_all(cluster: Cluster, member: Mortal) -> bool:
    nodes = cluster.nodes(member)
    return len(nodes) == len(cluster.members) and not any(each.trouble for each in nodes)


@define(eq=False)
class Watched:
    """A master and its replicas, and the sentinels that watch over them."""

    members: list[Mortal]
    sentinels: list[Mortal]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.server.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def master(self) -> Mortal:
        """Return whom the sentinels name."""
        _, port = ask(self.sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(each for each in self.members if each.server.port == int(port))

    def wait_whole(self) -> None:
        """Wait until there is a master whose replicas follow it, and all sentinels know all that."""
        wait_for(self._is_whole, "a master, its replicas and their sentinels")

    def _is_whole(self) -> bool:
        master = self.master()
        others = [each for each in self.members if each is not master]
        return (
            role(master) == "master"
            and all(_follows(each, master) for each in others)
            and all(self._knows_all(each) for each in self.sentinels)
        )

    def _knows_all(self, sentinel: Mortal) -> bool:
        with asking(sentinel) as client:
            (state,) = client.sentinel_masters().values()
            return (
                state["flags"] == "master"
                and state["num-slaves"] == len(self.members) - 1
                and state["num-other-sentinels"] == len(self.sentinels) - 1
                and all(each["flags"] == "slave" for each in client.sentinel_slaves(SERVICE))
            )

    def revive(self) -> None:
        """Bring back who is dead, and wait until all is well."""
        master = self.master().server.port
        for each in self.members:
            if not each.alive:
                # The sentinels would tell it so themselves, but take ten seconds for it.
                each.revive("--replicaof", "127.0.0.1", str(master))
        self.wait_whole()


def _follows(member: Mortal, master: Mortal) -> bool:
    with asking(member) as client:
        info = client.info("replication")
        return bool(
            info["role"] == "slave" and info["master_port"] == master.server.port and info["master_link_status"] == "up"
        )


@contextmanager
def open_sentinels(binary: str, *, replicas: int = 1, sentinels: int = 3, down_after: int = 500) -> Iterator[Watched]:
    """Run a master, replicas and sentinels.

    Args:
        binary: The program.
        replicas: How many.
        sentinels: How many; all but one have to agree.
        down_after: After how many milliseconds of silence a server counts as gone.
    """
    with open_mortals(binary, 1 + replicas, *_REPLICATION) as members:
        master = members[0].server.port
        for each in members[1:]:
            ask(each, "REPLICAOF", "127.0.0.1", master)
        with open_watchers(binary, master, count=sentinels, down_after=down_after) as watchers:
            watched = Watched(members, watchers)
            watched.wait_whole()
            yield watched


@contextmanager
def open_watchers(
    binary: str, master: int, *options: str, count: int = 1, down_after: int = 60_000
) -> Iterator[list[Mortal]]:
    """Run sentinels that watch over the master at a port, with options of their own."""
    settings = [
        f"sentinel monitor {SERVICE} 127.0.0.1 {master} {max(1, count - 1)}",
        f"sentinel down-after-milliseconds {SERVICE} {down_after}",
        f"sentinel failover-timeout {SERVICE} 1000",
    ]
    with open_mortals(binary, count, "--sentinel", *options, configuration="\n".join(settings)) as watchers:
        for each in watchers:
            with suppress(redis.RedisError):  # before Redis 7 they cannot be hurried, and with a password not by this
                ask(each, "SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
        yield watchers
