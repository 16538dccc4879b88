"""What a docket leaves in Redis and announces, in a form in which two libraries can be compared."""

from __future__ import annotations

import json
import re
from typing import Any

import redis
from attrs import define, field

from tests.processes import RawDocket

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(\+\d\d:\d\d)")
EPOCH = re.compile(r"1[6-9]\d{8}(\.\d+)?")
ENTRY = re.compile(r"\d{13}-\d+")


def plain(value: bytes) -> str:
    """Return a value with what differs from run to run replaced by what it is. Pickles stay as they are."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    if text.startswith("{"):
        members = json.loads(text)
        return json.dumps({name: plain_member(members[name]) for name in sorted(members)})
    for pattern, word in ((ISO, "<iso, offset {2}>"), (ENTRY, "<entry>"), (EPOCH, "<epoch>")):
        if match := pattern.fullmatch(text):
            return word.format(match[0], *match.groups())
    return text


def plain_member(value: Any) -> Any:
    return plain(value.encode()) if isinstance(value, str) else value


@define(eq=False)
class Recorder:
    """Hears everything that is published about a docket, and reads everything that is stored of it."""

    docket: RawDocket
    _messages: redis.client.PubSub = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._messages = self.docket.redis.pubsub(ignore_subscribe_messages=False)
        self._messages.psubscribe(f"{self.docket.name}:*")
        assert self._messages.get_message(timeout=5)["type"] == "psubscribe"

    def close(self) -> None:
        self._messages.close()

    def announced(self) -> dict[str, list[str]]:
        """Return what was published so far, in order, for each channel."""
        found: dict[str, list[str]] = {}
        # All that was published before this arrives before it.
        self.docket.redis.publish(self.docket.key("end"), "end")
        while (message := self._messages.get_message(timeout=5)) is not None:
            channel = self._suffix(message["channel"])
            if channel == "end":
                break
            found.setdefault(channel, []).append(plain(message["data"]))
        return found

    def stored(self) -> dict[str, Any]:
        """Return every key: its type, whether it has a time to live, and what is in it."""
        redis = self.docket.redis
        found: dict[str, Any] = {}
        for name in redis.scan_iter(f"{self.docket.name}:*", count=1000):
            kind, ttl = redis.type(name).decode(), redis.ttl(name)
            content: Any
            match kind:
                case "hash":
                    content = {key.decode(): plain(value) for key, value in sorted(redis.hgetall(name).items())}
                case "zset":
                    content = {key.decode(): plain(f"{score:f}".encode()) for key, score in redis.zscan_iter(name)}
                case "set":
                    content = sorted(each.decode() for each in redis.smembers(name))
                case "string":
                    content = plain(redis.get(name)).replace(self.docket.name, "<docket>")
                case "stream":
                    content = self._stream(name)
            found[self._suffix(name)] = (kind, "kept" if ttl == -1 else f"up to {-(-ttl // 100)}00 s", content)
        return dict(sorted(found.items()))

    def _stream(self, name: bytes) -> Any:
        redis = self.docket.redis
        entries = [[(key.decode(), plain(value)) for key, value in fields.items()] for _, fields in redis.xrange(name)]
        groups = [(each["name"], each["pending"]) for each in redis.xinfo_groups(name)]
        return {"entries": entries, "groups": groups}

    def _suffix(self, name: bytes) -> str:
        return name.decode().removeprefix(f"{self.docket.name}:")
