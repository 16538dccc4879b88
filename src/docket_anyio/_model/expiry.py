"""When a task that waits has waited for too long."""

from __future__ import annotations

from datetime import datetime, timedelta

from docket_anyio._model.settings import check_aware, check_positive
from docket_anyio.exceptions import InvalidSetting


def check_expires(expires: timedelta | datetime | None) -> timedelta | datetime | None:
    """Return until when a task is to begin, as it was asked for.

    Raises:
        InvalidSetting: It is a duration that is not longer than zero.
        InvalidTime: It is a time without a time zone.
    """
    match expires:
        case timedelta():
            return check_positive("expires", expires)
        case datetime():
            return check_aware("expires", expires)
        case None:
            return None


def expiry(expires: timedelta | datetime | None, when: datetime, now: datetime) -> datetime | None:
    """Return the time when a task expires.

    Args:
        expires: As it was asked for; a duration counts from when the task is due.
        when: When it was to be due: one in the past is due now.
        now: The time.

    Raises:
        InvalidSetting: It would expire before it is due.
        InvalidTime: It has no time zone.
    """
    asked, due = check_expires(expires), max(when, now)
    if asked is None:
        return None
    at = due + asked if isinstance(asked, timedelta) else asked
    if at <= due:
        raise InvalidSetting(f"expires is {at}, and the task is not due before {due}; let it expire later")
    return at
