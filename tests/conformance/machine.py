"""A state machine of an account, and following its executions."""

import json
from typing import Any

from tests.conformance.account import Account, unique


class Machine:
    """A state machine whose executions are followed."""

    def __init__(self, aws: Account, states: dict[str, Any], role: str = "", **top: Any) -> None:
        self.aws = aws
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **top}
        self.arn: str = aws.states.create_state_machine(
            name=unique("machine"), definition=json.dumps(definition), roleArn=role or aws.role("states")
        )["stateMachineArn"]
        aws.made(lambda: aws.states.delete_state_machine(stateMachineArn=self.arn))

    def start(self, data: Any = None, **settings: Any) -> str:
        arn: str = self.aws.states.start_execution(
            stateMachineArn=self.arn, input=json.dumps({} if data is None else data), **settings
        )["executionArn"]
        return arn

    def describe(self, execution: str) -> dict[str, Any]:
        description: dict[str, Any] = self.aws.states.describe_execution(executionArn=execution)
        return description

    def end(self, execution: str) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            description = self.describe(execution)
            return description if description["status"] != "RUNNING" else None

        return self.aws.until(over, what=f"{execution} ends")

    def run(self, data: Any = None) -> dict[str, Any]:
        return self.end(self.start(data))

    def output(self, data: Any = None) -> Any:
        description = self.run(data)
        assert description["status"] == "SUCCEEDED", description
        return json.loads(description["output"])

    def history(self, execution: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.aws.states.get_execution_history(executionArn=execution, maxResults=1000)[
            "events"
        ]
        return events

    def jobs_of(self, execution: str) -> list[str]:
        """The ids of the jobs that the execution has submitted."""
        return [
            json.loads(event["taskSubmittedEventDetails"]["output"])["JobId"]
            for event in self.history(execution)
            if event["type"] == "TaskSubmitted"
        ]

    def job_of(self, execution: str) -> str:
        """The id of the job that the execution submits."""
        return self.aws.until(lambda: self.jobs_of(execution), what="the job is submitted")[0]


class Desk:
    """A task that waits for a token, and the desk where the tokens arrive."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._url = aws.message_queue()

    def task(self, **fields: Any) -> dict[str, Any]:
        """A state that sends its token here and waits."""
        message = {"QueueUrl": self._url, "MessageBody": "{% $states.context.Task.Token %}"}
        return task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", message, **fields)

    def token(self) -> str:
        """The next token that arrives."""
        return self._aws.until(lambda: self._aws.receive(self._url), what="the token is sent")[0]


def task(resource: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    following = {} if "Next" in fields else {"End": True}
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, **following, **fields}
