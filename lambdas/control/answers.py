"""Answers in the form that API Gateway's proxy integration takes."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Answer:
    """An HTTP status and a document."""

    status: int
    document: BaseModel | dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A request that is refused, in words."""

    def __init__(self, status: int, error: str, message: str, problems: list[str] | None = None) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"error": error, "message": message, "problems": problems or []})


def respond(answer: Answer) -> dict[str, Any]:
    """The response of a proxy integration.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    document = answer.document
    model = document if isinstance(document, BaseModel) else _Document.model_validate(document)
    return {
        "statusCode": answer.status,
        "headers": {"Content-Type": "application/json", "Cache-Control": "no-store", **answer.headers},
        "body": model.model_dump_json(),
    }


class _Document(BaseModel, extra="allow"):
    pass
