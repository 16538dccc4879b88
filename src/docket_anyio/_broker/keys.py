"""Every Redis key and channel of a docket, exactly as WIRE.md has them."""

from __future__ import annotations

from attrs import Factory, field, frozen

from docket_anyio._model.extras import Extra
from docket_anyio._model.priority import Priority
from docket_anyio._redis.url import Kind
from docket_anyio.exceptions import InvalidSetting

GROUP = "docket-workers"
# What the ids on our own streams begin with; the scripts have it too.
_OWN_IDS = {b"0-": Priority.HIGH, b"1-": Priority.LOW}


def _prefix_of(keys: Keys) -> str:
    return f"{{{keys.name}}}" if keys.one_slot else keys.name


@frozen
class Keys:
    """The keys of one docket.

    Args:
        name: The docket's name.
        bare_results: Results stand under a plain key, as on a cluster and in memory; a standalone Redis has them in
            entries of a result store (WIRE section 10).
        one_slot: All of them are to be in the same slot of a cluster.
    """

    name: str
    bare_results: bool
    one_slot: bool = False
    prefix: str = field(init=False, default=Factory(_prefix_of, takes_self=True))

    @classmethod
    def on(cls, kind: Kind, name: str) -> Keys:
        """Return the keys of a docket on one kind of Redis.

        Raises:
            InvalidSetting: The name cannot hold the keys together on a cluster.
        """
        if kind == "cluster" and name.startswith("}"):
            raise InvalidSetting("on a cluster the name of a docket must not begin with '}': nothing stands before it")
        return cls(name, bare_results=kind in {"memory", "cluster"}, one_slot=kind == "cluster")

    @property
    def stream(self) -> str:
        """Return the stream of ready messages, but for those of another priority."""
        return f"{self.prefix}:stream"

    @property
    def streams(self) -> list[str]:
        """Return all streams of ready messages, the most urgent first."""
        return [self.stream_of(priority) for priority in Priority]

    @property
    def sequence(self) -> str:
        """Return the counter of the ids on our own streams: it is there once a priority was asked for."""
        return f"{self.prefix}:anyio:sequence"

    @property
    def queue(self) -> str:
        """Return the sorted set of parked keys by due time."""
        return f"{self.prefix}:queue"

    @property
    def workers(self) -> str:
        """Return the sorted set of workers by last heartbeat."""
        return f"{self.prefix}:workers"

    @property
    def strikes(self) -> str:
        """Return the stream of strikes and restores."""
        return f"{self.prefix}:strikes"

    @property
    def automatic_lock(self) -> str:
        """Return the lock of whoever adds the automatic tasks."""
        return f"{self.prefix}:perpetual:lock"

    @property
    def sweep_lease(self) -> str:
        """Return the lease of the worker that looks for abandoned deliveries."""
        return f"{self.prefix}:leases:redelivery-sweep"

    @property
    def results(self) -> str:
        """Return the collection of results."""
        return f"{self.prefix}:results"

    @property
    def runs_prefix(self) -> str:
        """Return what the record of every key begins with."""
        return f"{self.prefix}:runs:"

    @property
    def wake_channel(self) -> str:
        """Return the channel that tells our promoters of an earlier due time; pydocket does not know it."""
        return f"{self.prefix}:anyio:wake"

    @property
    def paused(self) -> str:
        """Return the string that is there while the docket is paused; pydocket does not know it."""
        return f"{self.prefix}:anyio:paused"

    @property
    def pause_channel(self) -> str:
        """Return the channel that tells our workers that the docket was paused or resumed."""
        return f"{self.prefix}:anyio:pause"

    @property
    def cancel_pattern(self) -> str:
        """Return the pattern of all cancel channels."""
        return f"{_escaped(self.prefix)}:cancel:*"

    def stream_of(self, priority: Priority) -> str:
        """Return the stream of the ready messages of a priority; pydocket knows only that of most."""
        return self.stream if priority is Priority.NORMAL else f"{self.prefix}:anyio:stream:{priority.value}"

    def stream_with(self, receipt: bytes) -> str:
        """Return the stream that an entry is on."""
        return self.stream_of(_OWN_IDS.get(receipt[:2], Priority.NORMAL))

    def of(self, suffix: str) -> str:
        """Return a key of the docket's."""
        return f"{self.prefix}:{suffix}"

    def runs(self, key: str) -> str:
        """Return the hash with the record of a key."""
        return f"{self.runs_prefix}{key}"

    def parked(self, key: str) -> str:
        """Return the hash with the message of a future task."""
        return f"{self.prefix}:{key}"

    def progress(self, key: str) -> str:
        """Return the hash with the progress of a key; also the channel that announces it."""
        return f"{self.prefix}:progress:{key}"

    def known(self, key: str) -> str:
        """Return a key that dockets before 0.14 wrote."""
        return f"{self.prefix}:known:{key}"

    def stream_id(self, key: str) -> str:
        """Return a key that dockets before 0.14 wrote."""
        return f"{self.prefix}:stream-id:{key}"

    def state_channel(self, key: str) -> str:
        """Return the channel that announces the states of a key."""
        return f"{self.prefix}:state:{key}"

    def cancel_channel(self, key: str) -> str:
        """Return the channel that asks workers to stop a key."""
        return f"{self.prefix}:cancel:{key}"

    def slots(self, name: str, scope: str | None) -> str:
        """Return the sorted set of who has a slot of a concurrency limit. A scope is one within the docket."""
        return f"{self.prefix}:{scope}:concurrency:{name}" if scope else f"{self.prefix}:concurrency:{name}"

    def rate_window(self, name: str, scope: str | None) -> str:
        """Return the sorted set of what has begun lately. A scope, here and below, is one across dockets.

        On a cluster these stand in slots of their own, with or without one.
        """
        return f"{scope or self.name}:ratelimit:{name}"

    def cooldown(self, name: str, scope: str | None) -> str:
        """Return the string that is there while nothing may begin."""
        return f"{scope or self.name}:cooldown:{name}"

    def debounce(self, name: str, scope: str | None) -> tuple[str, str]:
        """Return the strings that tell who is to run in the place of all, and when the last one came."""
        base = f"{scope or self.name}:debounce:{name}:{{{name}}}"
        return f"{base}:winner", f"{base}:last_seen"

    def result(self, result_key: str) -> str:
        """Return the string with a result."""
        return f"{self.results}:{result_key}" if self.bare_results else f"{self.results}::{result_key}"

    def task_workers(self, task: str) -> str:
        """Return the sorted set of the workers that can run a task."""
        return f"{self.prefix}:task-workers:{task}"

    def worker_tasks(self, worker: str) -> str:
        """Return the set of the tasks that a worker can run."""
        return f"{self.prefix}:worker-tasks:{worker}"

    def honouring(self, extra: Extra) -> str:
        """Return the sorted set of the workers that honour an extra, by last heartbeat; pydocket does not know it."""
        return f"{self.prefix}:anyio:honours:{extra.value}"

    def cancelled_key(self, channel: bytes) -> str:
        """Return the key that a cancel channel is about."""
        return channel.decode(errors="replace").removeprefix(f"{self.prefix}:cancel:")


def _escaped(text: str) -> str:
    """Return text that matches only itself in a pattern of Redis.

    Nothing more than it takes is escaped: an access list has to name the pattern as it is, and may be pydocket's.
    """
    return "".join(f"\\{each}" if each in "*?[\\" else each for each in text)
