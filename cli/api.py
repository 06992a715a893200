"""Calls of the pipeline's HTTP API, signed with the caller's AWS credentials."""

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from cli.errors import CliError
from contract.api import MAX_LISTED
from contract.outcomes import ExitCode

if TYPE_CHECKING:
    import boto3

KEY_VARIABLE = "RLPIPE_API_KEY"
"""Environment variable with the API key, where the stage asks for one."""

_TIMEOUT_SECONDS = 35
"""API Gateway answers within 29."""


class ConflictError(CliError):
    """A command that makes no sense now; `document` has the run's state and what is possible."""

    def __init__(self, document: dict[str, Any]) -> None:
        possible = [f"`rlpipe {command} RUN`" for command in document.get("possible", [])]
        super().__init__(
            document["message"],
            next_step=" or ".join(possible) or "`rlpipe show RUN` shows how it is",
            exit_code=ExitCode.USAGE,
        )
        self.document = document


class Api:
    """One deployed API.

    Args:
        url: where its paths begin, with or without a slash at the end.
        session: whose credentials and region sign the requests.
        is_local: whether it is on this machine, which no proxy knows the way to.
    """

    def __init__(self, url: str, session: "boto3.Session", *, is_local: bool) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._is_local = is_local
        self._http: Any = None

    def runs(self, limit: int) -> list[dict[str, Any]]:
        """The records of the newest runs, newest first."""
        found, following = self.page_of_runs(min(limit, MAX_LISTED))
        while following is not None and len(found) < limit:
            more, following = self.page_of_runs(min(limit - len(found), MAX_LISTED), following)
            found += more
        return found

    def page_of_runs(self, limit: int, after: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
        """At most `MAX_LISTED` records, newest first, and what to give as `after` to go on; None at the end."""
        page = self.call("GET", "/runs", query={"limit": str(limit), **({"next": after} if after else {})})
        return page["runs"], page["next"]

    def submit(self, experiment: str, run_file: str) -> dict[str, Any]:
        """Drop a run file; the id of the run that it starts, and where the file lies."""
        return self.call("POST", "/runs", run_file, query={"experiment": experiment})

    def run(self, run_id: str) -> dict[str, Any]:
        """One run's record."""
        return self.call("GET", f"/runs/{quote(run_id)}")

    def command(self, run_id: str, command: str, reason: str | None = None) -> dict[str, Any]:
        """Give a run a command; its record then.

        Raises:
            ConflictError: the command makes no sense now.
        """
        return self.call("POST", f"/runs/{quote(run_id)}/{command}", {"reason": reason} if reason else {})

    def policies(self) -> list[dict[str, Any]]:
        """The endpoints of the account."""
        found: list[dict[str, Any]] = self.call("GET", "/policies")["policies"]
        return found

    def monthly_usd(self) -> dict[str, float]:
        """By `deploy.target`, what an endpoint costs a month."""
        found: dict[str, float] = self.call("GET", "/policies")["monthly_usd"]
        return found

    def policy(self, endpoint: str) -> dict[str, Any]:
        """One endpoint, and what serves there."""
        return self.call("GET", f"/policies/{quote(endpoint)}")

    def command_policy(self, endpoint: str, command: str, **said: str | None) -> dict[str, Any]:
        """Give an endpoint a command; how it is then.

        Raises:
            ConflictError: the command makes no sense now.
        """
        body = {name: value for name, value in said.items() if value}
        return self.call("POST", f"/policies/{quote(endpoint)}/{command}", body)

    def call(
        self, method: str, path: str, body: dict[str, Any] | str | None = None, *, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The document that the API answers.

        Raises:
            CliError: it refuses, in its own words.
        """
        status, document = self.request(method, path, body, query=query)
        if status < 300:
            return document
        message = str(document.get("message") or f"{method} {path} was answered with status {status}")
        if status == 409:
            raise ConflictError(document)
        if status in (401, 403):
            step = f"have execute-api:Invoke granted, or set {KEY_VARIABLE} where the stage asks for a key"
            raise CliError(f"{method} {path} was refused: {message}", next_step=step, exit_code=ExitCode.USAGE)
        if status < 500:
            problems = "; ".join(document.get("problems") or [])
            raise CliError(
                f"{message}{': ' + problems if problems else ''}",
                next_step="`rlpipe runs` lists the runs",
                exit_code=ExitCode.USAGE,
            )
        raise CliError(f"{method} {path}: {message}", next_step="try again; nothing of a run is lost")

    def request(
        self, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of one signed request. Text is sent as YAML, everything else as JSON."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError

        url = f"{self._url}{path}{'?' + urlencode(query) if query else ''}"
        kind, data = ("yaml", body) if isinstance(body, str) else ("json", None if body is None else json.dumps(body))
        headers = {"Content-Type": f"application/{kind}", "Accept": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["x-api-key"] = key
        request = AWSRequest(method, url, headers=headers, data=data)
        credentials = self._session.get_credentials()
        if credentials is not None:
            SigV4Auth(credentials.get_frozen_credentials(), "execute-api", self._session.region_name).add_auth(request)
        elif not key:
            raise NoCredentialsError
        answer = self._connection().send(request.prepare())
        try:
            document = json.loads(answer.content or b"{}")
        except ValueError:
            document = {"message": answer.text[:200]}
        return answer.status_code, document if isinstance(document, dict) else {"message": str(document)}

    def _connection(self) -> Any:
        if self._http is None:
            from botocore.httpsession import URLLib3Session

            proxies: Any = {} if self._is_local else None
            self._http = URLLib3Session(timeout=_TIMEOUT_SECONDS, proxies=proxies)
        return self._http
