"""Asks this container's own /ping; the exit code is 0 when it answers.

For engines with health checks of their own, such as Docker and ECS. SageMaker asks /ping itself.
"""

import http.client
import os
import sys

PATIENCE_SECONDS = 4


def main() -> int:
    """Ask once; returns the exit code."""
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    host = os.environ.get("RLPIPE_BIND_HOST", "0.0.0.0")  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, PATIENCE_SECONDS)  # noqa: S104
    try:
        connection.request("GET", "/ping")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
