"""A state machine of an instance, and following its executions."""

import json
from typing import Any

from tests.unit.embedded_aws.instance import Instance, unique, until

ROLE = "arn:aws:iam::000000000000:role/states"


class Machine:
    """A state machine whose executions are followed."""

    def __init__(self, aws: Instance, states: dict[str, Any], **top: Any) -> None:
        self.aws = aws
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **top}
        self.arn: str = aws.states.create_state_machine(
            name=unique("machine"), definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]

    def start(self, data: Any = None) -> str:
        arn: str = self.aws.states.start_execution(stateMachineArn=self.arn, input=json.dumps(data or {}))[
            "executionArn"
        ]
        return arn

    def end(self, execution: str) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            description: dict[str, Any] = self.aws.states.describe_execution(executionArn=execution)
            return description if description["status"] != "RUNNING" else None

        return until(over, what=f"{execution} ends")

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

    def job_of(self, execution: str) -> str:
        """The id of the job that the execution submitted."""

        def submitted() -> str | None:
            for event in self.history(execution):
                if event["type"] == "TaskSubmitted":
                    job_id: str = json.loads(event["taskSubmittedEventDetails"]["output"])["JobId"]
                    return job_id
            return None

        return until(submitted, what="the job is submitted")


def task(resource: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **fields}
