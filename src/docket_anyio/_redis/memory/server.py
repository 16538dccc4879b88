"""A small Redis: runs one command after the other, whole, and wakes whoever was blocked on what it brought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from docket_anyio._clock import ServerClock
from docket_anyio._redis.memory import (
    keys,
    lists_sets,
    sorted_sets,
    stream_groups,
    stream_info,
    stream_reads,
    streams,
    strings_hashes,
)
from docket_anyio._redis.memory.errors import OK, PONG, QUEUED, Refused, Status, wrong_arity
from docket_anyio._redis.memory.keyspace import Command, Keyspace, Wait
from docket_anyio._redis.memory.lua import Execute, Scripts
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.memory.pubsub import Channels
from docket_anyio._redis.memory.waiters import Waiters
from docket_anyio._redis.transport import Reply

VERSION: Final = "7.0.15"
COMMANDS: Final[dict[bytes, Command]] = {
    **keys.COMMANDS,
    **strings_hashes.COMMANDS,
    **lists_sets.COMMANDS,
    **sorted_sets.COMMANDS,
    **streams.COMMANDS,
    **stream_reads.COMMANDS,
    **stream_groups.COMMANDS,
    **stream_info.COMMANDS,
}
_NOT_IN_SCRIPTS: Final = "ERR This Redis command is not allowed from script"
_NEVER_IN_SCRIPTS: Final = frozenset((b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"SUBSCRIBE", b"PSUBSCRIBE", b"MONITOR"))
_INFO: Final = (
    "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\nprocess_id:0\r\n"
    "# Clients\r\nconnected_clients:1\r\n# Memory\r\nused_memory:0\r\n"
    "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n# Cluster\r\ncluster_enabled:0\r\n"
    "# Keyspace\r\n"
)


@define(eq=False)
class Session:
    """What the server knows of one client."""

    client: int
    name: bytes = b""
    queue: list[list[bytes]] | None = None
    """The commands since MULTI."""
    spoilt: bool = False


@define(eq=False)
class Server:
    """Everything behind one ``memory://`` URL on one event loop."""

    clock: ServerClock = field(factory=ServerClock)
    keyspace: Keyspace = field(init=False)
    channels: Channels = field(factory=Channels, init=False)
    scripts: Scripts = field(factory=Scripts, init=False)
    waiters: Waiters = field(init=False)
    _clients: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.keyspace = Keyspace(self.clock)
        self.waiters = Waiters(self.keyspace)

    def connect(self) -> Session:
        """Let a client in."""
        self._clients += 1
        return Session(self._clients)

    def execute(self, session: Session, words: list[bytes]) -> Reply | Wait:
        """Run one command.

        Returns:
            Its reply, or what the client is to wait for.

        Raises:
            Refused: With an error for an answer.
        """
        self.keyspace.begin()
        try:
            return self._run(session, words)
        finally:
            if self.keyspace.ready:
                self.waiters.serve_ready()

    def execute_all(self, session: Session, commands: list[list[bytes]]) -> list[Reply]:
        """Run commands in one piece, transactions among them. None of them blocks."""
        replies: list[Reply] = []
        for words in commands:
            try:
                replies.append(self._execute_queued(session, words))
            except Refused as refused:
                replies.append(refused.as_reply())
        # A transaction that was begun here ends here, committed or not.
        session.queue, session.spoilt = None, False
        return replies

    def _execute_queued(self, session: Session, words: list[bytes]) -> Reply:
        name = words[0].upper()
        if name == b"EXEC":
            return self._commit(session)
        if name == b"MULTI":
            if session.queue is not None:
                raise Refused("ERR MULTI calls can not be nested")
            session.queue = []
            return bytes(OK)
        if name == b"DISCARD":
            if session.queue is None:
                raise Refused("ERR DISCARD without MULTI")
            session.queue, session.spoilt = None, False
            return bytes(OK)
        if session.queue is None:
            return settled(self.execute(session, words))
        try:
            _find(words)
        except Refused:
            session.spoilt = True
            raise
        session.queue.append(words)
        return bytes(QUEUED)

    def _commit(self, session: Session) -> Reply:
        queue, spoilt = session.queue, session.spoilt
        session.queue, session.spoilt = None, False
        if queue is None:
            raise Refused("ERR EXEC without MULTI")
        if spoilt:
            raise Refused("EXECABORT Transaction discarded because of previous errors.")
        self.keyspace.begin()
        replies: list[Reply] = []
        for words in queue:
            try:
                replies.append(settled(self._run(session, words)))
            except Refused as refused:
                replies.append(refused.as_reply())
        self.waiters.serve_ready()
        return replies

    def _run(self, session: Session, words: list[bytes]) -> Reply | Wait:
        known = _FAST.get(words[0])
        if known is not None and known.takes(len(words)):
            return known.run(self.keyspace, words[1:])
        command, args = _find(words)
        if isinstance(command, Command):
            return command.run(self.keyspace, args)
        return command.run(self, session, args)

    def _run_from_script(self, words: list[bytes]) -> Reply:
        known = _FAST.get(words[0])
        if known is not None and known.takes(len(words)):
            return settled_in_script(known.run(self.keyspace, words[1:]))
        command, args = _find_for_script(words)
        if isinstance(command, Command):
            return settled_in_script(command.run(self.keyspace, args))
        return command.run(self, _NOBODY, args)

    def evaluate(self, run: Callable[[bytes, list[bytes], Execute], Reply], args: list[bytes]) -> Reply:
        """Run a script, in which the time stands still."""
        self.keyspace.in_script = True
        try:
            return run(args[0], args[1:], self._run_from_script)
        finally:
            self.keyspace.in_script = False


def settled(answer: Reply | Wait) -> Reply:
    """Return an answer as it stands inside a list, where nothing waits and a status is text."""
    if isinstance(answer, Wait):
        return None
    return bytes(answer) if isinstance(answer, Status) else answer


def settled_in_script(answer: Reply | Wait) -> Reply:
    """Return an answer for a script, in which nothing waits."""
    return None if isinstance(answer, Wait) else answer


@frozen
class ServerCommand:
    """How a command is run that needs more than the keys; ``arity`` as for the others."""

    run: Callable[[Server, Session, list[bytes]], Reply]
    arity: int
    in_scripts: bool = False

    def takes(self, words: int) -> bool:
        """Tell whether the number of words is right."""
        return words == self.arity if self.arity >= 0 else words >= -self.arity


def _ping(_: Server, __: Session, args: list[bytes]) -> Reply:
    if len(args) > 1:
        raise wrong_arity("ping")
    return args[0] if args else PONG


def _echo(_: Server, __: Session, args: list[bytes]) -> Reply:
    return args[0]


def _select(_: Server, __: Session, args: list[bytes]) -> Reply:
    if integer(args[0]) != 0:
        raise Refused("ERR DB index is out of range")
    return OK


def _auth(_: Server, __: Session, ___: list[bytes]) -> Reply:
    raise Refused(
        "ERR AUTH <password> called without any password configured for the default user. "
        "Are you sure your configuration is correct?"
    )


def _hello(_: Server, session: Session, args: list[bytes]) -> Reply:
    if args and integer(args[0], "ERR Protocol version is not an integer or out of range") != 2:
        raise Refused("NOPROTO unsupported protocol version")
    return [
        *(b"server", b"redis", b"version", VERSION.encode(), b"proto", 2, b"id", session.client),
        *(b"mode", b"standalone", b"role", b"master", b"modules", list[Reply]()),
    ]


def _info(server: Server, _: Session, __: list[bytes]) -> Reply:
    text = _INFO.format(version=VERSION)
    if server.keyspace.values:
        sizes = f"keys={len(server.keyspace.values)},expires={len(server.keyspace.expiry)}"
        text += f"db0:{sizes},avg_ttl=0\r\n"
    return text.encode()


def _client_id(_: Server, session: Session, __: list[bytes]) -> Reply:
    return session.client


def _client_getname(_: Server, session: Session, __: list[bytes]) -> Reply:
    return session.name or None


def _client_setname(_: Server, session: Session, args: list[bytes]) -> Reply:
    session.name = args[0]
    return OK


def _client_setinfo(_: Server, __: Session, ___: list[bytes]) -> Reply:
    return OK


def _client_unblock(server: Server, _: Session, args: list[bytes]) -> Reply:
    how = args[1].upper() if len(args) == 2 else b"TIMEOUT"
    if len(args) > 2 or how not in (b"TIMEOUT", b"ERROR"):
        raise Refused("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    return int(server.waiters.unblock(integer(args[0]), with_error=how == b"ERROR"))


def _publish(server: Server, _: Session, args: list[bytes]) -> Reply:
    return server.channels.publish(args[0], args[1])


def _pubsub_numsub(server: Server, _: Session, args: list[bytes]) -> Reply:
    return [part for pair in zip(args, server.channels.counts(args), strict=True) for part in pair]


def _eval(server: Server, _: Session, args: list[bytes]) -> Reply:
    return server.evaluate(server.scripts.evaluate, args)


def _evalsha(server: Server, _: Session, args: list[bytes]) -> Reply:
    return server.evaluate(server.scripts.evaluate_sha, args)


def _script_load(server: Server, _: Session, args: list[bytes]) -> Reply:
    return server.scripts.load(args[0])


def _script_exists(server: Server, _: Session, args: list[bytes]) -> Reply:
    return [int(server.scripts.known(sha)) for sha in args]


def _script_flush(server: Server, _: Session, args: list[bytes]) -> Reply:
    if len(args) > 1 or (args and args[0].upper() not in (b"ASYNC", b"SYNC")):
        raise Refused("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    server.scripts.flush()
    return OK


_NOBODY: Final = Session(0)
_SERVER_COMMANDS: Final[dict[bytes, ServerCommand]] = {
    b"PING": ServerCommand(_ping, -1, in_scripts=True),
    b"ECHO": ServerCommand(_echo, 2, in_scripts=True),
    b"SELECT": ServerCommand(_select, 2, in_scripts=True),
    b"AUTH": ServerCommand(_auth, -2),
    b"HELLO": ServerCommand(_hello, -1),
    b"INFO": ServerCommand(_info, -1, in_scripts=True),
    b"CLIENT|ID": ServerCommand(_client_id, 2),
    b"CLIENT|GETNAME": ServerCommand(_client_getname, 2),
    b"CLIENT|SETNAME": ServerCommand(_client_setname, 3),
    b"CLIENT|SETINFO": ServerCommand(_client_setinfo, 4),
    b"CLIENT|UNBLOCK": ServerCommand(_client_unblock, -3),
    b"PUBLISH": ServerCommand(_publish, 3, in_scripts=True),
    b"PUBSUB|NUMSUB": ServerCommand(_pubsub_numsub, -2, in_scripts=True),
    b"EVAL": ServerCommand(_eval, -3),
    b"EVALSHA": ServerCommand(_evalsha, -3),
    b"SCRIPT|LOAD": ServerCommand(_script_load, 3),
    b"SCRIPT|EXISTS": ServerCommand(_script_exists, -3),
    b"SCRIPT|FLUSH": ServerCommand(_script_flush, -2),
}
_ALL: Final[dict[bytes, Command | ServerCommand]] = {**COMMANDS, **_SERVER_COMMANDS}
_CONTAINERS: Final = frozenset(name.partition(b"|")[0] for name in _ALL if b"|" in name)
# As commands are mostly written, so that they are found at once.
_FAST: Final = {spelling: command for name, command in COMMANDS.items() for spelling in (name, name.lower())}


def _find(words: list[bytes]) -> tuple[Command | ServerCommand, list[bytes]]:
    """Return a command with its arguments, or refuse words that are none."""
    if b" " in words[0]:
        # redis-py gives some commands as one word, such as "XGROUP CREATE".
        words = [*words[0].split(b" "), *words[1:]]
    name, args = words[0].upper(), words[1:]
    if name in _CONTAINERS:
        if not args:
            raise wrong_arity(_text(name))
        if b"|".join((name, args[0].upper())) not in _ALL:
            raise Refused(f"ERR unknown subcommand '{_text(args[0])}'. Try {_text(name)} HELP.")
        name, args = b"|".join((name, args[0].upper())), args[1:]
    command = _ALL.get(name)
    if command is None:
        quoted = "".join(f"'{_text(word)}' " for word in args)
        raise Refused(f"ERR unknown command '{_text(words[0])}', with args beginning with: {quoted}")
    if not command.takes(len(words)):
        raise wrong_arity(_text(name))
    return command, args


def _find_for_script(words: list[bytes]) -> tuple[Command | ServerCommand, list[bytes]]:
    try:
        command, args = _find(words)
    except Refused as refused:
        if refused.text.startswith("ERR wrong number"):
            raise Refused("ERR Wrong number of args calling Redis command from script") from None
        if words[0].upper() in _NEVER_IN_SCRIPTS:
            raise Refused(_NOT_IN_SCRIPTS) from None
        raise Refused("ERR Unknown Redis command called from script") from None
    if isinstance(command, ServerCommand) and not command.in_scripts:
        raise Refused(_NOT_IN_SCRIPTS)
    return command, args


def _text(word: bytes) -> str:
    return word.decode(errors="replace")
