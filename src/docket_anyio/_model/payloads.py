"""How large a pickle may be that a docket keeps."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from docket_anyio.exceptions import PayloadTooLarge

# Redis would take half a gigabyte, and serve nobody else meanwhile: a message is kept twice, and copied more often.
DEFAULT_MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024

# That of the docket whose task runs, for what has no docket at hand.
max_payload_bytes: Final[ContextVar[int]] = ContextVar("max_payload_bytes", default=DEFAULT_MAX_PAYLOAD_BYTES)


def check_size(what: str, *payloads: bytes, at_most: int) -> None:
    """Refuse pickles that are too large together.

    Args:
        what: What they are, for the message.
        payloads: The pickles.
        at_most: How many bytes they may have.

    Raises:
        PayloadTooLarge: They have more.
    """
    size = sum(map(len, payloads))
    if size > at_most:
        raise PayloadTooLarge(
            f"{what}: {size:,} bytes when pickled, and the docket takes no more than {at_most:,}; keep such data "
            "elsewhere and pass its name, or open the docket with a larger max_payload_bytes"
        )
