"""What is answered to requests: SageMaker's contracts for one policy and for several.

`GET /ping` and `POST /invocations`:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
`/models`, for containers with several policies:
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from contract.policy import OBSERVATION_INPUT
from serving_image import logs
from serving_image.connection import Request
from serving_image.formats import JSON, NPY, of_answer, of_body, read_array, read_document, write_array, write_document
from serving_image.measuring import Measuring
from serving_image.model_folder import ModelError
from serving_image.models import Models
from serving_image.observations import Observations
from serving_image.policy import ServedPolicy, overflow
from serving_image.proof import load
from serving_image.questions import action_body, answer_document, of_array, of_document
from serving_image.refusals import RefusalError, describe

MOST_TOGETHER = 64
"""Requests that are computed in one call; those after them wait for the next."""

MAX_LISTED = 100
"""Policies on one page of `GET /models`."""


class Application:
    """Answers for the policies of a container.

    Requests that have arrived together and ask for one best action each are computed together: what a call of ONNX
    Runtime costs is then shared. Nobody waits for others to arrive.
    """

    def __init__(self, models: Models, measuring: Measuring) -> None:
        self._models = models
        self._measuring = measuring
        self._loop = asyncio.get_running_loop()
        self._loading: set[asyncio.Task[None]] = set()
        self._together: list[tuple[Request, ServedPolicy, Observations, list[Any], str]] = []

    # Requests

    def handle(self, request: Request) -> None:
        """Answer a request, now or soon. Whatever it is, this raises nothing."""
        try:
            if request.target == b"/invocations":  # nearly all
                self._invoke(request, None)
            else:
                self._route(request)
        except RefusalError as refusal:
            self._refuse(request, refusal)
        except Exception:
            self._fail(request)

    def refused(self, refusal: RefusalError) -> None:
        """Hear of a request that was refused before it was one."""
        self._measuring.answered(refusal.status, None)
        logs.refused(refusal.status, refusal.field)

    def _route(self, request: Request) -> None:
        path = _path(request.target)
        if path == "/ping":
            _check_method(request, path, b"GET", b"HEAD")
            runs = {name: policy.run_id for name, policy in self._models.loaded.items()}
            one = {"run_id": next(iter(runs.values()))} if len(runs) == 1 else {"models": runs}
            self._answer(request, 200, orjson.dumps({"status": "ok", **one}))
        elif path == "/invocations":
            self._invoke(request, None)
        elif path == "/models":
            self._route_models(request, path)
        elif path.startswith("/models/"):
            self._route_model(request, path)
        else:
            expected = "/ping, /invocations, /models or /models/<name>/invoke"
            raise RefusalError(404, field="path", given=describe(path), expected=expected)

    def _route_models(self, request: Request, path: str) -> None:
        if self._models.changeable:
            _check_method(request, path, b"GET", b"HEAD", b"POST")
        else:
            _check_method(request, path, b"GET", b"HEAD")
        if request.method == b"POST":
            name, folder = self._to_load(request)
            task = self._loop.create_task(self._load(request, name, folder))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)
            return
        names = sorted(self._models.loaded)
        first = _page(request.target, len(names))
        document: dict[str, Any] = {"models": [self._described(name) for name in names[first : first + MAX_LISTED]]}
        if first + MAX_LISTED < len(names):
            document["nextPageToken"] = str(first + MAX_LISTED)
        self._answer(request, 200, orjson.dumps(document))

    def _route_model(self, request: Request, path: str) -> None:
        name, _, verb = (
            path.removeprefix("/models/").rpartition("/") if path.endswith("/invoke") else (path[8:], "", "")
        )
        name = unquote(name)
        if verb == "invoke":
            self._invoke(request, self._models.named(name))
            return
        if self._models.changeable:
            _check_method(request, path, b"GET", b"HEAD", b"DELETE")
        else:
            _check_method(request, path, b"GET", b"HEAD")
        self._models.named(name)
        document = self._described(name)
        if request.method == b"DELETE":
            self._measuring.forget(self._models.named(name))
            self._models.remove(name)
        self._answer(request, 200, orjson.dumps(document))

    def _described(self, name: str) -> dict[str, str]:
        return {"modelName": name, "modelUrl": self._models.folders[name], "runId": self._models.loaded[name].run_id}

    # Policies that come later

    def _to_load(self, request: Request) -> tuple[str, Path]:
        document = read_document(JSON, request.body)
        for key in ("model_name", "url"):
            value = document.get(key) if isinstance(document, dict) else None
            if not isinstance(value, str) or not value or "\0" in value:
                raise RefusalError(400, field=key, given=describe(value), expected="text")
        return document["model_name"], self._models.folder_for(document["model_name"], document["url"])

    async def _load(self, request: Request, name: str, folder: Path) -> None:
        """Load and prove a policy, on a thread: the others are answered meanwhile."""
        try:
            policy, proven = await self._loop.run_in_executor(None, load, folder)
            self._models.folder_for(name, str(folder))  # another request may have been faster
            self._models.add(name, folder, policy)
            logs.info("A policy was loaded.", model=name, run_id=policy.run_id, proven_observations=proven)
            self._answer(request, 200, orjson.dumps(self._described(name)))
        except ModelError as error:
            given, expected = describe(str(folder)), f"a policy to serve: {error}"
            self._refuse(request, RefusalError(400, field="url", given=given, expected=expected))
        except RefusalError as refusal:
            self._refuse(request, refusal)
        except MemoryError:
            given, expected = "no memory left", "others to be unloaded first"
            self._refuse(request, RefusalError(507, field="url", given=given, expected=expected))
        except Exception:
            self._fail(request)

    # Actions

    def _invoke(self, request: Request, policy: ServedPolicy | None) -> None:
        if request.method != b"POST":
            _check_method(request, _path(request.target), b"POST")
        if policy is None:
            policy = self._models.only()
        form = of_body(request.content_type)
        answer_form = form if request.accept is None else of_answer(request.accept, form)
        if form == NPY:
            question = of_array(policy, read_array(request.body))
        else:
            document = read_document(form, request.body)
            reader = policy.plain
            if reader is not None and type(document) is dict and len(document) == 1 and "observation" in document:
                values = [document["observation"]]
                flat = reader.flat(values)
                if flat is None:
                    raise reader.refusal(values, single=True)
                self._compute_soon(request, policy, reader, flat, answer_form)
                return
            question = of_document(policy, document)
        answer = policy.act(question)
        if answer_form == NPY:
            body = write_array(answer.actions[0] if question.single else answer.actions)
        else:
            body = write_document(answer_form, answer_document(policy, question, answer))
        self._measuring.saw(policy, question.inputs)
        self._answer(request, 200, body, answer_form, policy)

    def _compute_soon(
        self, request: Request, policy: ServedPolicy, reader: Observations, flat: list[Any], form: str
    ) -> None:
        self._together.append((request, policy, reader, flat, form))
        if request.is_alone or len(self._together) == MOST_TOGETHER:
            self._compute()
        elif len(self._together) == 1:
            self._loop.call_soon(self._compute)

    def _compute(self) -> None:
        """Answer all that wait, those of one policy together."""
        waiting, self._together = self._together, []
        while waiting:
            policy, reader = waiting[0][1:3]
            mine = [one for one in waiting if one[1] is policy]
            waiting = [one for one in waiting if one[1] is not policy]
            try:
                observations = reader.array([number for one in mine for number in one[3]], len(mine))
                actions = policy.act_on(observations)
            except Exception:
                for request, *_ in mine:
                    self._fail(request)
                continue
            self._measuring.saw(policy, {OBSERVATION_INPUT: observations})
            rows = actions if actions.dtype.kind == "f" else actions.tolist()
            for (request, _, _, _, form), action in zip(mine, rows, strict=True):
                body = action_body(policy, form, action)
                if body is None:
                    self._refuse(request, overflow())
                else:
                    self._answer(request, 200, body, form, policy)

    # Answers

    def _answer(
        self,
        request: Request,
        status: int,
        body: bytes,
        content_type: str = JSON,
        policy: ServedPolicy | None = None,
        extra: str = "",
    ) -> None:
        request.answer(status, body, content_type, extra)
        self._measuring.answered(status, time.perf_counter() - request.started if policy else None)

    def _refuse(self, request: Request, refusal: RefusalError) -> None:
        extra = f"allow: {refusal.allow}\r\n" if refusal.allow else ""
        logs.refused(refusal.status, refusal.field)
        self._answer(request, refusal.status, refusal.body, extra=extra)

    def _fail(self, request: Request) -> None:
        """A fault of the server: the log says which, and not what was asked."""
        logs.fault("A request could not be answered.")
        given, expected = "a request that shows a fault of the server", "see its log"
        self._answer(request, 500, RefusalError(500, field="server", given=given, expected=expected).body)


def _path(target: bytes) -> str:
    """The path of a request's target, which may be a whole URL, without its query."""
    path = target.decode("latin-1")
    if not path.startswith("/") and "://" in path:  # RFC 9112, 3.2.2: as sent to a proxy
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path.partition("?")[0]


def _page(target: bytes, count: int) -> int:
    """Where the page begins that the query asks for."""
    for parameter in target.decode("latin-1").partition("?")[2].split("&"):
        name, _, value = parameter.partition("=")
        if name == "next_page_token":
            if not (value.isascii() and value.isdigit() and len(value) < 9 and int(value) < count):
                expected = "the nextPageToken of the page before"
                raise RefusalError(400, field="next_page_token", given=describe(value), expected=expected)
            return int(value)
    return 0


def _check_method(request: Request, path: str, *allowed: bytes) -> None:
    if request.method not in allowed:
        methods = ", ".join(method.decode() for method in allowed)
        given = request.method.decode("latin-1")
        raise RefusalError(405, field="method", given=given, expected=f"{methods} {path[:80]}", allow=methods)
