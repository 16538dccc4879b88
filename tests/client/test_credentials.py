"""Credentials that somebody else knows at any time."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import anyio
import pytest
from attrs import define, field
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from docket_anyio import Docket, StrikeList
from docket_anyio.exceptions import InvalidSetting, RedisRefused, RedisUnavailable
from tests.conftest import StartRedis
from tests.dockets import run_all
from tests.servers import RedisServer

SECRET = "s3cret-of-the-reader"


@pytest.fixture(scope="module")
def locked(start_redis: StartRedis) -> Generator[RedisServer]:
    user = ("--user", "reader", "on", f">{SECRET}", "~*", "&*", "+@all")
    with start_redis(*user, password="main") as server:
        yield server


@define(eq=False)
class Vault(CredentialProvider):
    """Gives what it has been given, and counts how often it was asked."""

    answers: list[Any]
    asked: int = field(default=0, init=False)

    def get_credentials(self) -> Any:
        raise AssertionError("asked in a way that blocks")

    async def get_credentials_async(self) -> Any:
        await anyio.lowlevel.checkpoint()
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def make(server: RedisServer, provider: Any, scheme: str = "redis") -> Docket:
    at = f"redis://127.0.0.1:{server.port}" if scheme == "redis" else server.unix_url.replace(":main@", "")
    return Docket("secrets", at, credential_provider=provider)


async def whoami(docket: Docket) -> str:
    async with docket.redis() as redis:
        return str(await redis.acl_whoami())


@pytest.mark.parametrize("scheme", ["redis", "unix"])
@pytest.mark.parametrize(("given", "user"), [(("main",), "default"), (("reader", SECRET), "reader")])
async def test_the_provider_knows_who_we_are(
    anyio_backend: object, locked: RedisServer, scheme: str, given: tuple[str, ...], user: str
) -> None:
    async with make(locked, Vault([given]), scheme) as docket:
        assert await whoami(docket) == user


async def test_redis_pys_own_provider(anyio_backend: object, locked: RedisServer) -> None:
    async with make(locked, UsernamePasswordCredentialProvider("reader", SECRET)) as docket:
        assert await whoami(docket) == "reader"


async def test_it_is_asked_for_every_new_connection(anyio_backend: object, locked: RedisServer) -> None:
    vault = Vault([("reader", SECRET)])
    docket = make(locked, vault)
    assert vault.asked == 0
    async with docket:
        assert vault.asked == 0  # opening connects to nothing
        await whoami(docket)
        await whoami(docket)
        assert vault.asked == 1
    async with docket:
        vault.answers = [("main",)]
        assert await whoami(docket) == "default"
        assert vault.asked == 2


async def test_a_worker_goes_by_it(anyio_backend: object, locked: RedisServer) -> None:
    async def echo(value: int) -> int:
        return value

    async with make(locked, Vault([("reader", SECRET)])) as docket:
        execution = await docket.add(echo)(5)
        await run_all(docket)
        assert await execution.get_result() == 5


async def test_a_strike_list_goes_by_it(anyio_backend: object, locked: RedisServer) -> None:
    url = f"redis://127.0.0.1:{locked.port}"
    async with StrikeList(url, "secrets", credential_provider=Vault([("reader", SECRET)])) as strikes:
        await strikes.wait_for_strikes_loaded()


async def test_wrong_credentials_are_refused(anyio_backend: object, locked: RedisServer) -> None:
    async with make(locked, Vault([("reader", "wrong-one")])) as docket:
        with pytest.raises(RedisRefused) as caught:
            await docket.workers()
        assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize("wrong", [RuntimeError(f"no {SECRET}"), (), ("a", "b", "c"), None, 5])
async def test_a_provider_that_fails(
    anyio_backend: object, locked: RedisServer, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It may do better the next time, so that is what an unreachable Redis is; its words may be a secret."""
    caplog.set_level(logging.DEBUG)
    async with make(locked, Vault([wrong])) as docket:
        with pytest.raises(RedisUnavailable, match="the credential provider failed") as caught:
            await docket.workers()
        assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


async def test_a_provider_that_fails_once(anyio_backend: object, locked: RedisServer) -> None:
    async with make(locked, Vault([OSError("busy"), ("reader", SECRET)])) as docket:
        assert await whoami(docket) == "reader"


@pytest.mark.parametrize("url", ["redis://:main@localhost", "redis://reader@localhost", "unix://:x@/tmp/redis.sock"])
def test_credentials_in_the_url_as_well(url: str) -> None:
    vault = Vault([("main",)])
    with pytest.raises(InvalidSetting, match="not both"):
        Docket("secrets", url, credential_provider=vault)
    with pytest.raises(ValueError, match="not both"):
        StrikeList(url, credential_provider=vault)


async def test_memory_needs_none(anyio_backend: object) -> None:
    vault = Vault([])
    async with Docket("secrets", "memory://secrets", credential_provider=vault) as docket:
        assert await docket.workers() == []
    assert vault.asked == 0


def test_it_is_not_shown() -> None:
    docket = Docket("secrets", "redis://localhost", credential_provider=UsernamePasswordCredentialProvider("a", SECRET))
    assert SECRET not in repr(docket)
