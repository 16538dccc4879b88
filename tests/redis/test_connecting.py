from __future__ import annotations

import socket
import time
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
import trustme
from redis.exceptions import AuthenticationError, ResponseError

from docket_anyio._redis.client import connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.url import parse_url
from tests.conftest import StartRedis
from tests.servers import RedisServer, ServerFailed


@pytest.fixture(scope="module")
def locked(start_redis: StartRedis) -> Generator[RedisServer]:
    with start_redis("--user", "reader", "on", ">reads", "~*", "+@all", password="right") as server:
        yield server


async def test_reaches_a_server_over_tcp_and_over_a_unix_socket(redis_server: RedisServer, unique: str) -> None:
    async with connect(parse_url(redis_server.url)) as tcp, connect(parse_url(redis_server.unix_url)) as unix:
        await tcp.set(unique, "x")
        assert await unix.get(unique) == b"x"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_right_password_opens_the_door(locked: RedisServer, kind: str) -> None:
    async with connect(parse_url(locked.url if kind == "tcp" else locked.unix_url)) as client:
        assert await client.ping()


async def test_a_user_has_a_password_of_its_own(locked: RedisServer) -> None:
    async with connect(parse_url(f"redis://reader:reads@127.0.0.1:{locked.port}")) as client:
        assert await client.acl_whoami() == "reader"


@pytest.mark.parametrize("credentials", [":wrong@", "reader:right@", "nobody:right@", ""])
async def test_a_wrong_password_is_an_authentication_error(locked: RedisServer, credentials: str) -> None:
    async with connect(parse_url(f"redis://{credentials}127.0.0.1:{locked.port}")) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.ping()
        assert "right" not in str(caught.value)


async def test_all_callers_learn_that_the_password_is_wrong(locked: RedisServer) -> None:
    refused = 0

    async def ping() -> None:
        nonlocal refused
        with pytest.raises(AuthenticationError):
            await client.ping()
        refused += 1

    client = connect(parse_url(f"redis://:wrong@127.0.0.1:{locked.port}"))
    async with client, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ping)
    assert refused == 5


async def test_selects_the_database(redis_server: RedisServer, unique: str) -> None:
    async with connect(parse_url(f"redis://127.0.0.1:{redis_server.port}/5?client_name={unique}")) as client:
        info = await client.client_info()
        assert (info["db"], info["name"]) == ("5", unique) or (info["db"], info["name"]) == (5, unique)


async def test_a_database_that_does_not_exist_is_refused(redis_server: RedisServer) -> None:
    async with connect(parse_url(f"redis://127.0.0.1:{redis_server.port}/999")) as client:
        with pytest.raises(ResponseError, match="DB index is out of range"):
            await client.ping()


async def test_the_clock_is_set_by_the_server(redis_server: RedisServer) -> None:
    async with connect(parse_url(redis_server.url)) as client:
        client.clock.measured(0.0, asked_at=0.0, answered_at=0.0)
        await client.ping()
        assert abs(client.clock.timestamp() - time.time()) < 2


async def test_a_missing_server_is_said_soon_and_to_all() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{free.getsockname()[1]}/0"
    raised: list[Disconnected] = []

    async def ping() -> None:
        with pytest.raises(Disconnected, match="could not connect to redis://:\\*\\*\\*@127") as caught:
            await client.ping()
        raised.append(caught.value)

    begun = time.monotonic()
    client = connect(parse_url(url))
    async with client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ping)
    assert time.monotonic() - begun < 2
    assert len(raised) == 20
    assert not any(error.maybe_executed for error in raised)


async def test_a_server_that_only_accepts_is_given_up(redis_server: RedisServer) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}?socket_connect_timeout=0.1"
        async with connect(parse_url(url)) as client:
            with pytest.raises(Disconnected, match="could not connect"):
                await client.ping()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(
    authority: trustme.CA, start_redis: StartRedis, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[RedisServer, int, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [f"--tls-{kind}-file {folder / name}" for kind, name in (("cert", "cert.pem"), ("key", "key.pem"))]
    options = [word for option in files for word in option.split()]
    options += ["--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no", "--tls-port", str(port)]
    try:
        running = start_redis(*options)
        with running as redis:
            yield redis, port, folder
    except ServerFailed:
        pytest.skip("this redis-server was built without TLS")


async def test_a_certificate_of_a_known_authority_is_accepted(
    secured: tuple[RedisServer, int, Path], unique: str
) -> None:
    _, port, folder = secured
    large = "x" * 3_000_000
    async with connect(parse_url(f"rediss://localhost:{port}?ssl_ca_certs={folder / 'ca.pem'}")) as client:
        await client.set(unique, large)
        assert await client.get(unique) == large.encode()
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(client.hset, unique + "h", str(number), number)
        assert await client.hlen(unique + "h") == 50
        async with client.transport.open_subscription(channels=[unique]) as subscription:
            await client.publish(unique, "hello")
            assert (await subscription.receive()).data == b"hello"


@pytest.mark.parametrize("options", ["", "?ssl_check_hostname=false"])
async def test_an_unknown_authority_is_refused_at_once(secured: tuple[RedisServer, int, Path], options: str) -> None:
    async with connect(parse_url(f"rediss://localhost:{secured[1]}{options}")) as client:
        with pytest.raises(Disconnected, match="CERTIFICATE_VERIFY_FAILED"):
            await client.ping()


async def test_the_name_in_the_certificate_must_be_the_servers(secured: tuple[RedisServer, int, Path]) -> None:
    _, port, folder = secured
    async with connect(parse_url(f"rediss://127.0.0.1:{port}?ssl_ca_certs={folder / 'ca.pem'}")) as client:
        with pytest.raises(Disconnected, match="CERTIFICATE_VERIFY_FAILED"):
            await client.ping()


async def test_checks_can_be_turned_off(secured: tuple[RedisServer, int, Path]) -> None:
    async with connect(parse_url(f"rediss://localhost:{secured[1]}?ssl_cert_reqs=none")) as client:
        assert await client.ping()


async def test_a_server_without_tls_is_an_error(secured: tuple[RedisServer, int, Path]) -> None:
    async with connect(
        parse_url(f"rediss://localhost:{secured[0].port}?ssl_cert_reqs=none&socket_connect_timeout=0.2")
    ) as client:
        with pytest.raises(Disconnected, match="could not connect"):
            await client.ping()
