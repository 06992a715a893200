"""What people are told: as text for mail and programs, and as chat applications want it.

Amazon Q Developer in chat applications (Slack, Microsoft Teams) shows messages of its own schema only, and takes them
by HTTPS; SNS carries another text to each protocol.
https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT = 100


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message.

    Attributes:
        kind: the outcome, or the alarm's name; the message attribute `outcome`, for filter policies.
        about: the run, or what else it is about; chat applications keep what has the same in one thread.
        symbol: one character that says how serious it is.
        paragraphs: what happened, and what it means.
        steps: what to do: sentences, commands in backticks, addresses.
        details: further text for mail only, such as the last lines of a log.
    """

    kind: str
    about: str
    symbol: str
    paragraphs: tuple[str, ...]
    steps: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    keywords: tuple[str, ...] = field(default=())

    @property
    def subject(self) -> str:
        """One line; printable ASCII, as SNS wants it."""
        line = f"{self.kind}: {self.about}".encode("ascii", "replace").decode()
        return " ".join(line.split())[:MAX_SUBJECT]


def publication(message: Message) -> dict[str, Any]:
    """What SNS's Publish is given for it, beside the topic."""
    text = _text(message)
    # Mail has `default` too. What comes by HTTPS to others than the chat is that same document.
    texts = {"default": text, "https": json.dumps(_chat(message), ensure_ascii=False)}
    return {
        "Subject": message.subject,
        "Message": json.dumps(texts),
        "MessageStructure": "json",
        "MessageAttributes": {
            "outcome": {"DataType": "String", "StringValue": message.kind},
            "about": {"DataType": "String", "StringValue": message.about},
        },
    }


def _text(message: Message) -> str:
    steps = [f"- {step.replace('`', '')}" for step in message.steps]
    blocks = [*message.paragraphs, *(["\n".join(["What to do:", *steps])] if steps else []), *message.details]
    return "\n\n".join(blocks)


def _chat(message: Message) -> Mapping[str, Any]:
    """Plain words, backticks and bare addresses: Slack and Teams agree on nothing else."""
    return {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": f"{message.symbol} {message.subject}",
            "description": "\n\n".join(message.paragraphs),
            "nextSteps": list(message.steps),
            "keywords": list(message.keywords),
        },
        "metadata": {"threadId": message.about, "summary": message.subject, "eventType": message.kind},
    }
