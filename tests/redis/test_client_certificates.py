"""TLS where the server wants to see a certificate, too: alone, in a cluster and behind sentinels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from attrs import frozen

from docket_anyio import Docket, Worker
from docket_anyio._redis.client import connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.url import parse_url
from tests.clusters import SERVICE, SLOTS, ask, open_mortals, open_watchers, wait_for
from tests.conftest import StartRedis
from tests.servers import RedisServer, ServerFailed, _free_port


@frozen
class Certificates:
    """Files of an authority, and of two whom it vouches for."""

    folder: Path
    port: int

    @property
    def server_options(self) -> tuple[str, ...]:
        """How a server shows its own, and wants to see one. Its plain port stays open, for the tests to ask it."""
        return (
            "--tls-port", str(self.port), "--tls-auth-clients", "yes",
            "--tls-cert-file", str(self.folder / "server.pem"), "--tls-key-file", str(self.folder / "server.key"),
            "--tls-ca-cert-file", str(self.folder / "ca.pem"),
        )  # fmt: skip

    @property
    def query(self) -> str:
        return f"{self.query_without_own}&ssl_certfile={self.folder}/client.pem&ssl_keyfile={self.folder}/client.key"

    @property
    def query_without_own(self) -> str:
        return f"?ssl_ca_certs={self.folder}/ca.pem"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, issued in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("a-worker")),
    ):
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    return Certificates(tmp_path, _free_port())


@pytest.fixture
def server(certificates: Certificates, start_redis: StartRedis) -> Iterator[RedisServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(start_redis(*certificates.server_options))
        except ServerFailed:
            pytest.skip("this redis-server was built without TLS")
        yield server


async def double(number: int) -> int:
    return number * 2


async def check(url: str) -> None:
    """A task is added and run, and its result read."""
    async with Docket("docket", url) as docket, Worker(docket) as worker:
        execution = await docket.add(double)(21)
        await worker.run_until_finished()
        assert await execution.get_result() == 42


async def test_who_shows_a_certificate_is_let_in(
    anyio_backend: object, certificates: Certificates, server: RedisServer
) -> None:
    await check(f"rediss://localhost:{certificates.port}{certificates.query}")


async def test_who_shows_none_is_told_so(
    anyio_backend: object, certificates: Certificates, server: RedisServer
) -> None:
    async with connect(parse_url(f"rediss://localhost:{certificates.port}{certificates.query_without_own}")) as client:
        with pytest.raises(Disconnected, match=r"could not connect.*(CERTIFICATE_REQUIRED|certificate required)"):
            await client.ping()


async def test_a_certificate_of_nobody_is_not_believed(
    anyio_backend: object, certificates: Certificates, server: RedisServer
) -> None:
    stranger = trustme.CA().issue_cert("a-worker")
    stranger.cert_chain_pems[0].write_to_path(certificates.folder / "client.pem")
    stranger.private_key_pem.write_to_path(certificates.folder / "client.key")
    async with connect(parse_url(f"rediss://localhost:{certificates.port}{certificates.query}")) as client:
        with pytest.raises(Disconnected, match="could not connect"):
            await client.ping()


async def test_a_certificate_that_cannot_be_read_is_said(
    anyio_backend: object, certificates: Certificates, server: RedisServer
) -> None:
    async with connect(parse_url(f"rediss://localhost:{certificates.port}?ssl_certfile=/nowhere.pem")) as client:
        with pytest.raises(Disconnected, match="No such file"):
            await client.ping()


async def test_in_a_cluster(
    anyio_backend: object, certificates: Certificates, server: RedisServer, redis_server_binary: str
) -> None:
    certificates = Certificates(certificates.folder, _free_port())
    options = ("--cluster-enabled", "yes", "--tls-cluster", "yes", *certificates.server_options)
    with open_mortals(redis_server_binary, 1, *options) as (node,):
        ask(node, "CLUSTER", "ADDSLOTS", *range(SLOTS))
        wait_for(lambda: "cluster_state:ok" in str(ask(node, "CLUSTER", "INFO")), "a cluster of one")
        await check(f"rediss+cluster://localhost:{certificates.port}{certificates.query}")


async def test_behind_sentinels(
    anyio_backend: object, certificates: Certificates, server: RedisServer, redis_server_binary: str
) -> None:
    """Both want to see the certificate: the sentinel and the master."""
    watching = Certificates(certificates.folder, _free_port())
    options = ("--tls-replication", "yes", *watching.server_options)
    with open_watchers(redis_server_binary, certificates.port, *options):
        await check(f"rediss+sentinel://localhost:{watching.port}/{SERVICE}{certificates.query}")
