"""What ``docket.add(f)`` returns: call it with the arguments of ``f``."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, ParamSpec, TypeVar

from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._client.execution import Disposition, Execution
from docket_anyio._client.registry import TaskDefinition
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.message import TaskMessage

P = ParamSpec("P")
R = TypeVar("R")


@define(eq=False)
class Submission(Generic[P, R]):
    """A task that is to be added, still without its arguments."""

    _broker: Broker = field(alias="broker")
    _task: TaskDefinition = field(alias="task")
    _key: str = field(alias="key")
    _when: datetime | None = field(alias="when")

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Execution[R]:
        """Add the task. A key that is taken is left as it is, so a call that was cancelled can be repeated.

        Returns:
            A handle on the task; its ``disposition`` tells whether the key was taken.

        Raises:
            InvalidArguments: The arguments do not fit the signature.
            NotSerializable: They cannot be pickled.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        self._task.plan.check_call(args, kwargs)
        pickled_args, pickled_kwargs = dump_arguments(args, kwargs, self._task.name)
        now = self._broker.clock.now()
        when = now if self._when is None else self._when
        message = TaskMessage(self._key, self._task.name, when, pickled_args, pickled_kwargs)
        generation = await self._broker.queue.schedule(message, due=when <= now)
        return Execution(
            broker=self._broker,
            key=self._key,
            function_name=self._task.name,
            function=self._task.function,
            args=args,
            kwargs=kwargs,
            when=when,
            generation=generation or 0,
            disposition=Disposition.ALREADY_SCHEDULED if generation is None else Disposition.SCHEDULED,
        )
