"""A program of either library that tells its metrics and spans.

``python -m tests.interop.metered pydocket|asyncio|trio URL [names]``. With ``names`` it uses each instrument once, else
it goes through what a docket can do. It prints what the SDK gathered.
"""

import asyncio
import importlib
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.loops import run_on

PYDOCKET = sys.argv[1] == "pydocket"
NAME = "docket" if PYDOCKET else "docket_anyio"
library = importlib.import_module(NAME)
instrumentation = importlib.import_module(f"{NAME}.instrumentation")

READER, SPANS = InMemoryMetricReader(), InMemorySpanExporter()


async def echo(value: int) -> int:
    return value


async def boom() -> None:
    raise ValueError("ouch")


async def flaky(retry: Any = library.Retry(attempts=2)) -> None:
    if retry.attempt == 1:
        raise ValueError("not yet")


async def poll(number: int, perpetual: Any = library.Perpetual()) -> None:
    perpetual.perpetuate(number + 1)
    if number == 2:
        perpetual.cancel()


async def slow(timeout: Any = library.Timeout(timedelta(milliseconds=20))) -> None:
    await anyio.sleep(1000)


async def forever() -> None:
    await anyio.sleep(1000)


async def play(url: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    async with library.Docket("metered", url, heartbeat_interval=timedelta(milliseconds=50)) as docket:
        await docket.add(echo, key="K")(1)
        await docket.add(echo, key="K")(1)
        await docket.replace(echo, datetime.now(UTC), "K")(2)
        await docket.add(boom)()
        await docket.add(flaky)()
        await docket.add(slow, key="slow")()
        await docket.add(poll, key="poll")(1)
        await docket.add_many([docket.call(echo)(1), docket.call(echo, key="K")(1)])
        await docket.replace_many([docket.call(echo, tomorrow, "later")(1)])
        await docket.cancel("later")
        await docket.add(forever, key="forever")()
        await docket.add(echo, key="struck")(7)
        await docket.strike(echo, "value", "==", 7)
        await docket.add(echo)(7)
        await docket.strike("nobody")
        await docket.restore("nobody")
        async with (
            library.Worker(docket, name="W", minimum_check_interval=timedelta(milliseconds=10)) as worker,
            anyio.create_task_group() as group,
        ):
            group.start_soon(worker.run_until_finished)
            with anyio.fail_after(10):
                while not await is_running(docket, "forever"):  # noqa: ASYNC110 - only Redis knows
                    await anyio.sleep(0.01)
                while "docket_queue_depth" not in gathered():  # noqa: ASYNC110 - measured by a heartbeat
                    await anyio.sleep(0.01)
            await docket.cancel("forever")
        await docket.add(echo, tomorrow, "later")(1)
        await docket.clear()


async def is_running(docket: Any, key: str) -> bool:
    return bool((await docket.get_execution(key)).state.value == "running")


def use_each() -> None:
    for name in dir(instrumentation):
        instrument = getattr(instrumentation, name)
        if name.isupper():
            for method in ("add", "record", "set"):
                if hasattr(instrument, method):
                    getattr(instrument, method)(1, {"name": name})


def gathered() -> dict[str, Any]:
    data = READER.get_metrics_data()
    found: dict[str, Any] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = type(metric.data).__name__, getattr(metric.data, "is_monotonic", None)
                points = [
                    [
                        dict(sorted((point.attributes or {}).items())),
                        getattr(point, "value", getattr(point, "count", None)),
                    ]
                    for point in metric.data.data_points
                ]
                found[metric.name] = {"meter": scope.scope.name, "kind": kind, "unit": metric.unit, "points": points}
    return found


def spans() -> list[Any]:
    return [
        [
            each.name,
            each.kind.name,
            each.status.status_code.name,
            each.status.description,
            len(each.links),
            {k: v for k, v in (each.attributes or {}).items() if k not in {"docket.key", "docket.when"}},
            sorted(each.attributes or ()),
        ]
        for each in SPANS.get_finished_spans()
    ]


def main() -> None:
    metrics.set_meter_provider(MeterProvider([READER]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(provider)
    if sys.argv[3:] == ["names"]:
        use_each()
    elif PYDOCKET:
        asyncio.run(play(sys.argv[2]))
    else:
        run_on(sys.argv[1], lambda: play(sys.argv[2]))
    print(json.dumps({"metrics": gathered(), "spans": spans()}))


if __name__ == "__main__":
    main()
