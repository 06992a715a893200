"""Puts the parts of an instance together."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from typing import Any

from embedded_aws import apigateway, cloudformation, delivery, hooks, keeping
from embedded_aws.access import permissions
from embedded_aws.clients import s3
from embedded_aws.compute.batch import Batch, BatchError
from embedded_aws.hosting import balancing, ecs, sagemaker, scaling
from embedded_aws.hosting.sagemaker import SageMaker
from embedded_aws.hosting.scaling import Scaling
from embedded_aws.keeping import Keeper
from embedded_aws.processes.ahead import FunctionsAhead
from embedded_aws.processes.images import is_asset
from embedded_aws.processes.process import GroupRegister, LogShipper
from embedded_aws.settings import Settings
from embedded_aws.watching import cloudwatch, embedded_metrics
from embedded_aws.workflows import admission, callbacks, tasks
from embedded_aws.workflows.stepfunctions import StepFunctions


class Groups:
    """The process groups that run, remembered here and by the warden."""

    def __init__(self, warden: GroupRegister) -> None:
        self._warden = warden
        self._running: set[int] = set()
        self._stopping = False

    def add(self, group: int) -> None:
        """A process group started."""
        self._running.add(group)
        self._warden.add(group)
        if self._stopping:  # for example a server that was about to be restarted
            _signal(group, signal.SIGKILL)

    def remove(self, group: int) -> None:
        """A process group ended."""
        self._running.discard(group)
        self._warden.remove(group)

    def stop_all(self, patience_seconds: float) -> None:
        """SIGTERM to all groups, and wait for them a moment; the warden ends what is left."""
        self._stopping = True
        for group in list(self._running):
            _signal(group, signal.SIGTERM)
        deadline = time.monotonic() + patience_seconds
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)


def install(settings: Settings, groups: Groups) -> Keeper | None:
    """Add our services to ministack; what saves them, if anything is to be kept.

    Raises HookError when ministack is not the one they were written for.
    """
    hooks.verify()
    hooks.leave_docker_alone()
    logs = LogShipper(hooks.put_log_events)
    batch = Batch(settings, groups, logs)
    models = SageMaker(settings, groups, logs)
    hooks.replace_batch(lambda operation, request: _batch_response(batch, operation, request), batch.operations)
    sagemaker.register(models)
    services = ecs.Ecs(settings, groups, logs)
    ecs.register(services)
    scaling.register(Scaling(models.endpoint, services.service))
    keeper = Keeper(settings.state_dir / keeping.FOLDER) if settings.keep else None
    StepFunctions(settings, batch, keeper.keep_ended if keeper else None).install()
    permissions.install(settings)
    tasks.install()
    callbacks.install()
    cloudwatch.install()
    admission.install()
    delivery.install(settings)
    apigateway.install(models.invoke)
    cloudformation.register(settings, batch, models)
    balancing.install(settings.port)
    engine = settings.engine
    hooks.know_images(engine.has_tag if engine else lambda tag: is_asset(tag, settings.assemblies))
    hooks.start_functions_once()
    functions = FunctionsAhead(settings.functions_ahead)
    hooks.start_functions_by(functions.popen)
    hooks.report_lambda_errors_as_aws_does()
    hooks.name_versions_in_events()
    embedded_metrics.install()
    threading.Thread(target=hooks.deliver_events, name="events", daemon=True).start()
    if keeper:
        hooks.keep_state_of("batch", batch.kept, batch.restore)
        hooks.keep_state_of("sagemaker", models.kept, models.restore)
        hooks.keep_state_beside("ecs", services.kept, services.restore)
        keeper.install()
        threading.Thread(target=_go_on, args=(settings, keeper, models, services), name="go-on", daemon=True).start()
    threading.Thread(target=_warm_up, args=(settings, batch, functions), name="warm-up", daemon=True).start()
    return keeper


def _go_on(settings: Settings, keeper: Keeper, models: SageMaker, services: ecs.Ecs) -> None:
    """Once this instance answers: endpoints serve again, and whoever watches executions learns which have ended."""
    _wait_until_it_answers(settings.port)
    models.revive()
    services.revive()
    for execution in keeper.interrupted:
        hooks.tell_of_execution(execution)
    keeper.start()


def _wait_until_it_answers(port: int) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


def _warm_up(settings: Settings, batch: Batch, functions: FunctionsAhead) -> None:
    """Load what the first run would otherwise wait for."""
    hooks.load_models()
    s3(settings.endpoint_url)
    _wait_until_it_answers(settings.port)
    batch.recall()
    functions.start()


def _batch_response(batch: Batch, operation: str, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    headers = {"Content-Type": "application/json"}
    try:
        return 200, headers, json.dumps(batch.call(operation, request)).encode()
    except BatchError as error:
        body = json.dumps({"message": str(error)}).encode()
        return error.status, {**headers, "x-amzn-ErrorType": error.code}, body


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
