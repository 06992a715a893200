"""Tells an MLflow tracking server of a training, when `MLFLOW_TRACKING_URI` names one; Amazon's managed one by its ARN.

By the server's REST API, so that the image needs no MLflow: https://mlflow.org/docs/latest/api_reference/rest-api.html
A seed is a run of MLflow, found again by its tags when the training is resumed. A server that does not answer never
harms a training: it is told once, and the server is left alone from then on.
"""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contract.layout import experiment_of_run
from training_image.trainer.plan import Plan

URI_VARIABLE = "MLFLOW_TRACKING_URI"
TIMEOUT = 10
"""Seconds that an answer may take."""

MAX_METRICS = 1000
MAX_PARAMETERS = 100
MAX_PARAMETER_LENGTH = 6000
"""Of one call."""


class Tracking:
    """One training, as MLflow has it."""

    def __init__(self, plan: Plan, log: Callable[[str], None]) -> None:
        """`log` takes what becomes of it, in words."""
        self._plan = plan
        self._log = log
        self._uri = os.environ.get(URI_VARIABLE, "").strip()
        self._run: str | None = None
        self._logged = -1
        """The newest step that the server knows."""

    def tell(self, lines: Sequence[Mapping[str, float]], status: str = "RUNNING") -> None:
        """Send what the server does not know yet.

        :param lines: those of metrics.jsonl.
        :param status: MLflow's: RUNNING, FINISHED, FAILED or KILLED.
        """
        if not self._uri:
            return
        try:
            if self._run is None:
                self._run = self._find() or self._create()
            self._send([line for line in lines if line["timesteps"] > self._logged])
            ended = {} if status == "RUNNING" else {"end_time": _now()}
            self._call("runs/update", {"run_id": self._run, "status": status, **ended})
        except (OSError, ValueError, KeyError) as error:
            self._log(f"MLflow at {self._uri} is told nothing more: {error}")
            self._uri = ""

    def _find(self) -> str | None:
        """The run of an earlier attempt."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in self._tags.items())
        request = {"experiment_ids": [self._experiment()], "filter": wanted, "max_results": 1}
        for run in self._call("runs/search", request).get("runs", []):
            metrics = run.get("data", {}).get("metrics", [])
            self._logged = max((int(metric.get("step", 0)) for metric in metrics), default=-1)
            return str(run["info"]["run_id"])
        return None

    def _create(self) -> str:
        request = {
            "experiment_id": self._experiment(),
            "run_name": f"{self._plan.run_id}-seed-{self._plan.seed}",
            "start_time": _now(),
            "tags": [{"key": name, "value": value} for name, value in self._tags.items()],
        }
        created: str = self._call("runs/create", request)["run"]["info"]["run_id"]
        specification = self._plan.specification
        parameters = {
            "environment": specification.environment.id,
            "algorithm": specification.algorithm.name,
            "timesteps": specification.timesteps,
            "seed": self._plan.seed,
            **self._plan.hyperparameters.model_dump(),
        }
        listed = [{"key": name, "value": str(value)[:MAX_PARAMETER_LENGTH]} for name, value in parameters.items()]
        self._call("runs/log-batch", {"run_id": created, "params": listed[:MAX_PARAMETERS]})
        return created

    @property
    def _tags(self) -> dict[str, str]:
        return {"rlpipe.run": self._plan.run_id, "rlpipe.seed": str(self._plan.seed)}

    def _experiment(self) -> str:
        """The id of the experiment, which is made when it is not there."""
        name = experiment_of_run(self._plan.run_id)
        path = f"experiments/get-by-name?{urllib.parse.urlencode({'experiment_name': name})}"
        try:
            return str(self._call(path)["experiment"]["experiment_id"])
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        try:
            return str(self._call("experiments/create", {"name": name})["experiment_id"])
        except urllib.error.HTTPError:  # another seed was faster
            return str(self._call(path)["experiment"]["experiment_id"])

    def _send(self, lines: Sequence[Mapping[str, float]]) -> None:
        values = [
            {"key": name, "value": value, "timestamp": _now(), "step": int(line["timesteps"])}
            for line in lines
            for name, value in line.items()
            if name != "timesteps"
        ]
        for first in range(0, len(values), MAX_METRICS):
            self._call("runs/log-batch", {"run_id": self._run, "metrics": values[first : first + MAX_METRICS]})
        if lines:
            self._logged = int(lines[-1]["timesteps"])

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        method = "GET" if data is None else "POST"
        headers = {"Content-Type": "application/json"}
        server, sign = _server(self._uri)
        url = f"{server}/api/2.0/mlflow/{path}"
        request = urllib.request.Request(  # noqa: S310 _server has looked at the scheme
            url, data=data, method=method, headers={**headers, **sign(method, url, data, headers)}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            document: dict[str, Any] = json.loads(answer.read() or b"{}")
            return document


def _server(uri: str) -> tuple[str, Callable[..., Mapping[str, str]]]:
    """The address of the server, and what gives the headers by which it knows us.

    Raises:
        ValueError: neither an address nor the ARN of a managed server, or no credentials for that one.
    """
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/"), lambda *_: _authorization()
    if uri.startswith("arn:aws:sagemaker:"):
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.session import Session

        region = uri.split(":")[3]
        credentials = Session().get_credentials()
        if credentials is None:
            raise ValueError(f"{URI_VARIABLE} is {uri!r}, and there are no AWS credentials to ask it with")

        def sign(method: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> Mapping[str, str]:
            about = {**headers, "x-mlflow-sm-tracking-server-arn": uri}
            request = AWSRequest(method=method, url=url, data=data, headers=about)
            SigV4Auth(credentials, "sagemaker-mlflow", region).add_auth(request)
            return dict(request.headers.items())

        return f"https://{region}.experiments.sagemaker.aws", sign
    raise ValueError(f"{URI_VARIABLE} is {uri!r}; expected http(s)://... or the ARN of a tracking server of SageMaker")


def _authorization() -> dict[str, str]:
    """As MLflow's own client has it: https://mlflow.org/docs/latest/ml/tracking/ ."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _now() -> int:
    return int(time.time() * 1000)
