"""What was asked for: which task, with what, when, under which key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._client.arguments import Pickled
from docket_anyio._client.disposition import Disposition
from docket_anyio._client.registry import TaskFunction, TaskRegistry
from docket_anyio._injection.plan import Plan
from docket_anyio._model.codec import dump_arguments, encode_fields
from docket_anyio._model.message import NO_HEADERS, Delivery, TaskMessage, labels_of_call
from docket_anyio._model.priority import Priority
from docket_anyio._telemetry.otel import trace_context

# For an argument that is not to be seen in logs.
_HIDDEN = "..."


class Home(Protocol):
    """The docket of an execution."""

    @property
    def broker(self) -> Broker:
        """What it remembers, while it is open."""
        ...

    @property
    def max_payload_bytes(self) -> int:
        """How large the pickled arguments of a task may be."""
        ...

    @property
    def patience_with_workers(self) -> timedelta:
        """How long a worker that is not heard of counts as alive."""
        ...

    @property
    def registry(self) -> TaskRegistry:
        """The tasks it knows."""
        ...

    async def schedule(
        self,
        execution: Any,  # an Execution, whose module imports this one
        *,
        replace: bool = False,
        reschedule_message: bytes | None = None,
        expected_generation: int = 0,
    ) -> Disposition:
        """Put an execution on the docket."""
        ...


@define(eq=False)
class Request:
    """What a message says of an execution. What it is made of comes in pydocket's order."""

    _home: Home = field(repr=False, alias="docket")
    function: TaskFunction = field(repr=False)
    _args: tuple[object, ...] = field(repr=False, alias="args")
    _kwargs: dict[str, object] = field(repr=False, alias="kwargs")
    key: str
    when: datetime
    attempt: int = 1
    trace_context: Mapping[str, object] | None = field(default=None, repr=False)
    redelivered: bool = False
    function_name: str = ""
    generation: int = 0
    message_id: bytes | None = None
    expires: datetime | None = field(default=None, kw_only=True)
    priority: Priority = field(default=Priority.NORMAL, kw_only=True)
    _pickled: Pickled | None = field(default=None, repr=False, kw_only=True, alias="pickled")

    @classmethod
    def of(cls, docket: Home, function: TaskFunction, message: TaskMessage, **more: Any) -> Self:
        """Return what a message is about; its arguments stay pickled. Not for users.

        Args:
            docket: Where it is.
            function: What its task is here.
            message: What was asked for.
            more: The other attributes.
        """
        return cls(
            docket,
            function,
            (),
            {},
            message.key,
            message.when,
            message.attempt,
            trace_context(message.headers),
            function_name=message.task,
            generation=message.generation,
            priority=message.priority,
            pickled=Pickled(message.task, args=message.args, kwargs=message.kwargs),
            **more,
        )

    def __attrs_post_init__(self) -> None:
        self.function_name = self.function_name or self.function.__name__

    @property
    def docket(self) -> Any:
        """The ``Docket`` that it belongs to."""
        # Its class stands above this one, so it cannot be named here.
        return self._home

    @property
    def args(self) -> tuple[object, ...]:
        """The arguments by position.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._args if self._pickled is None else self._pickled.args

    @property
    def kwargs(self) -> dict[str, object]:
        """The arguments by name.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._kwargs if self._pickled is None else self._pickled.kwargs

    def get_argument(self, parameter: str) -> Any:
        """Return what the caller gave for a parameter, by position or by name.

        Raises:
            KeyError: The caller gave nothing for it.
            InvalidArguments: The arguments do not fit the task's signature.
        """
        return self.plan.given(self.args, self.kwargs)[parameter]

    def call_repr(self) -> str:
        """Return the call as log lines show it; arguments are hidden unless their parameter says otherwise."""
        plan = self.plan
        by_position = [*plan.signature.parameters, *[""] * len(self.args)]
        shown = [_show(plan, name, argument) for name, argument in zip(by_position, self.args, strict=False)]
        shown += [f"{name}={_show(plan, name, argument)}" for name, argument in self.kwargs.items()]
        return f"{self.function_name}({', '.join(shown)}){{{self.key}}}"

    def general_labels(self) -> Mapping[str, str]:
        """Return what metrics of the task are labelled with."""
        return {"docket.task": self.function_name}

    def specific_labels(self) -> Mapping[str, str | int]:
        """Return what spans and log lines of the execution are labelled with."""
        return labels_of_call(self.function_name, self.key, self.when, self.attempt)

    def as_message(self) -> dict[bytes, bytes]:
        """Return the fields of its message, without headers of a trace.

        Raises:
            NotSerializable: The arguments cannot be pickled.
        """
        return {**encode_fields(self.message()), b"generation": b"%d" % self.generation}

    @property
    def plan(self) -> Plan:
        """What is known of the signature of its function. Not for users."""
        return self._home.registry.plan_of(self.function_name, self.function)

    def message(self, headers: Mapping[str, bytes] = NO_HEADERS) -> TaskMessage:
        """Return its message. Not for users.

        Raises:
            NotSerializable: The arguments cannot be pickled.
        """
        if self._pickled is None:
            args, kwargs = dump_arguments(
                self._args, self._kwargs, self.function_name, at_most=self._home.max_payload_bytes
            )
        else:
            args, kwargs = self._pickled.payload
        return TaskMessage(
            self.key,
            self.function_name,
            self.when,
            args,
            kwargs,
            self.attempt,
            self.generation,
            headers,
            self.expires,
            self.priority,
        )

    def delivery(self) -> Delivery:
        """Return its message as a worker has it in hand. Not for users."""
        return Delivery(self.message_id or b"", self.message(), redelivered=self.redelivered)


def _show(plan: Plan, parameter: str, argument: object) -> str:
    logged = plan.logged.get(parameter)
    return _HIDDEN if logged is None else logged.format(argument)
