"""What SageMaker notes of invocations: metrics in CloudWatch, and in S3 requests and answers where that is asked for.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import datetime
import json
import logging
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from embedded_aws import hooks
from embedded_aws.clients import s3

_SECONDS = 0.5
"""How often metrics and captured data are published; on AWS once a minute."""

_NAMESPACE = "AWS/SageMaker"


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One request to one variant, and how it was answered."""

    endpoint: str
    config: str
    variant: str
    status: int
    model_seconds: float
    instances: int = 1


class Notes:
    """Collects invocations and publishes them in the background."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str, tuple[tuple[str, str], ...]], Counter[float]] = defaultdict(Counter)
        self._captured: dict[str, list[str]] = defaultdict(list)

    def start(self) -> None:
        """Publish for ever, by a thread of its own."""
        threading.Thread(target=self._publish_for_ever, name="invocations", daemon=True).start()

    def add(self, invocation: Invocation) -> None:
        """Note one invocation."""
        variant = (("EndpointName", invocation.endpoint), ("VariantName", invocation.variant))
        status = invocation.status
        noted = {
            ("Invocations", "None"): 1.0,
            ("Invocation4XXErrors", "None"): float(400 <= status < 500),
            ("Invocation5XXErrors", "None"): float(status >= 500),
            ("InvocationModelErrors", "None"): float(status >= 400),
            ("ModelLatency", "Microseconds"): float(round(invocation.model_seconds * 1e6)),
        }
        with self._lock:
            # The second set tells the fleets of an update apart.
            for dimensions in (variant, (*variant, ("EndpointConfigName", invocation.config))):
                for (name, unit), value in noted.items():
                    self._values[name, unit, dimensions][value] += 1
            self._values["InvocationsPerInstance", "None", variant][1 / invocation.instances] += 1

    def capture(
        self,
        config: dict[str, Any],
        *,
        endpoint: str,
        variant: str,
        request: tuple[str, bytes],
        answer: tuple[str, bytes],
    ) -> None:
        """Keep a request and its answer, each a content type and a body, where the configuration asks for it."""
        settings = config.get("DataCaptureConfig") or {}
        if not settings.get("EnableCapture") or random.random() * 100 >= settings["InitialSamplingPercentage"]:  # noqa: S311
            return
        plain = (settings.get("CaptureContentTypeHeader") or {}).get("JsonContentTypes") or []
        data = {}
        for option in settings["CaptureOptions"]:
            mode = option["CaptureMode"]
            content_type, body = request if mode == "Input" else answer
            readable = content_type in plain
            data[f"endpoint{mode}"] = {
                "observedContentType": content_type,
                "mode": mode.upper(),
                "data": body.decode() if readable else base64.b64encode(body).decode(),
                "encoding": "JSON" if readable else "BASE64",
            }
        at = datetime.datetime.now(datetime.UTC)
        record = {
            "captureData": data,
            "eventMetadata": {"eventId": str(uuid.uuid4()), "inferenceTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "eventVersion": "0",
        }
        place = f"{settings['DestinationS3Uri'].rstrip('/')}/{endpoint}/{variant}/{at:%Y/%m/%d/%H}"
        with self._lock:
            self._captured[place].append(json.dumps(record))

    def publish(self) -> None:
        """Publish what was noted since the last time."""
        with self._lock:
            values, self._values = self._values, defaultdict(Counter)
            captured, self._captured = self._captured, defaultdict(list)
        if values:
            hooks.put_metrics(
                _NAMESPACE, [(name, unit, dict(d), dict(seen)) for (name, unit, d), seen in values.items()]
            )
        for place, lines in captured.items():
            folder = urlparse(place)
            name = f"{datetime.datetime.now(datetime.UTC):%M-%S-%f}-{uuid.uuid4()}.jsonl"
            body = "\n".join(lines).encode() + b"\n"
            s3(self._endpoint_url).put_object(Bucket=folder.netloc, Key=f"{folder.path.lstrip('/')}/{name}", Body=body)

    def _publish_for_ever(self) -> None:
        while True:
            time.sleep(_SECONDS)
            try:
                self.publish()
            except Exception:
                logging.getLogger("embedded_aws").exception("invocations were not published")
