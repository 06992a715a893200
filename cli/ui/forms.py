"""What a form sends."""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from contract.run import MAX_RUN_FILE_BYTES

MOST_BYTES = 3 * MAX_RUN_FILE_BYTES + 10_000
"""A run file with every byte escaped, and the rest of its form."""


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a urlencoded form, the last of each name.

    Raises:
        HTTPException: it is larger than any form of this page.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise HTTPException(413, f"A form has at most {MOST_BYTES:,} bytes.")
    fields = parse_qs(content.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}
