"""Items of DynamoDB: conditions, counters, lists, indexes."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique


class Table:
    """A table like the one of runs: a key, and an index by kind and time."""

    def __init__(self, aws: Account) -> None:
        self.name = unique("table")
        self.client = aws.client("dynamodb")
        keys = {"kind": "S", "at": "S", "id": "S"}
        self.client.create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "newest",
                    "KeySchema": [
                        {"AttributeName": "kind", "KeyType": "HASH"},
                        {"AttributeName": "at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["state"]},
                }
            ],
        )
        aws.made(lambda: self.client.delete_table(TableName=self.name))
        self.client.get_waiter("table_exists").wait(TableName=self.name)

    def put(self, item_id: str, **more: Any) -> None:
        self.client.put_item(TableName=self.name, Item={"id": {"S": item_id}, **more})

    def get(self, item_id: str) -> dict[str, Any]:
        item: dict[str, Any] = self.client.get_item(
            TableName=self.name, Key={"id": {"S": item_id}}, ConsistentRead=True
        )["Item"]
        return item

    def update(self, item_id: str, expression: str, condition: str | None = None, **values: Any) -> Any:
        return self.client.update_item(
            TableName=self.name,
            Key={"id": {"S": item_id}},
            UpdateExpression=expression,
            ReturnValues="ALL_NEW",
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeValues": {f":{key}": value for key, value in values.items()}} if values else {}),
        )["Attributes"]


@pytest.fixture(scope="module")
def table(aws: Account) -> Table:
    return Table(aws)


@pytest.mark.page("amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html")
def test_an_item_that_must_be_new_is_not_written_over(table: Table) -> None:
    request = {"TableName": table.name, "ConditionExpression": "attribute_not_exists(id)"}
    table.client.put_item(**request, Item={"id": {"S": "new"}, "n": {"N": "1"}})

    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        table.client.put_item(**request, Item={"id": {"S": "new"}, "n": {"N": "2"}})

    assert table.get("new")["n"] == {"N": "1"}


@pytest.mark.page("amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html")
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("wish = :pause", True),
        ("wish = :stop", False),
        ("attribute_exists(wish) AND NOT wish = :stop", True),
        ("wish <> :pause OR attribute_not_exists(note)", True),
        ("wish IN (:stop, :pause) AND n >= :one", True),
        ("job.id = :pause", True),
        ("attribute_not_exists(job.ended)", True),
        ("attribute_exists(job.ended)", False),
        ("note = :pause", False),
        ("begins_with(wish, :p)", True),
        ("size(wish) > :one AND n BETWEEN :one AND :two", True),
    ],
)
def test_an_update_happens_when_its_condition_holds(table: Table, condition: str, holds: bool) -> None:
    item_id = unique("item")
    table.put(item_id, wish={"S": "pause"}, n={"N": "1"}, job={"M": {"id": {"S": "pause"}}})
    known = {"pause": {"S": "pause"}, "stop": {"S": "stop"}, "one": {"N": "1"}, "two": {"N": "2"}, "p": {"S": "p"}}
    used = {key: value for key, value in known.items() if re.search(rf":{key}\b", condition)}

    def update() -> None:
        table.update(item_id, "SET done = :yes", condition, yes={"BOOL": True}, **used)

    if holds:
        update()
    else:
        with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
            update()
    assert ("done" in table.get(item_id)) == holds


@pytest.mark.page("amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html")
def test_a_condition_on_an_item_that_is_not_there_fails_and_makes_none(table: Table) -> None:
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        table.update("nobody", "SET n = :n", "attribute_exists(id)", n={"N": "1"})

    assert "Item" not in table.client.get_item(TableName=table.name, Key={"id": {"S": "nobody"}})


@pytest.mark.page("amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html")
def test_one_update_sets_appends_adds_and_removes(table: Table) -> None:
    table.put("all", kind={"S": "run"}, note={"S": "t"}, history={"L": [{"S": "a"}]})

    item = table.update(
        "all",
        "SET phase = :p, history = list_append(history, :h) REMOVE note ADD version :one",
        p={"S": "PAUSED"},
        h={"L": [{"S": "b"}]},
        one={"N": "1"},
    )

    assert item == {
        "id": {"S": "all"},
        "kind": {"S": "run"},
        "phase": {"S": "PAUSED"},
        "history": {"L": [{"S": "a"}, {"S": "b"}]},
        "version": {"N": "1"},
    }


@pytest.mark.page("amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html")
def test_a_path_into_a_map_that_is_not_there_is_refused(table: Table) -> None:
    table.put("flat")

    with pytest.raises(ClientError, match=r"ValidationException.*document path"):
        table.update("flat", "SET jobs.one = :x", x={"S": "x"})


@pytest.mark.page("amazondynamodb/latest/developerguide/ReservedWords.html")
def test_a_reserved_word_needs_a_stand_in(table: Table) -> None:
    table.put("reserved")

    with pytest.raises(ClientError, match="reserved keyword"):
        table.update("reserved", "SET state = :x", x={"S": "x"})


@pytest.mark.page("amazondynamodb/latest/developerguide/WorkingWithItems.html")
def test_counts_of_many_at_once_are_all_counted(table: Table) -> None:
    table.put("counted")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: table.update("counted", "ADD n :one", one={"N": "1"}), range(40)))

    assert table.get("counted")["n"] == {"N": "40"}


@pytest.mark.page("amazondynamodb/latest/developerguide/GSI.html")
def test_an_index_lists_the_newest_first_in_pages_with_what_it_holds(aws: Account) -> None:
    table = Table(aws)
    for day in ("01", "03", "02"):
        table.put(day, kind={"S": "run"}, at={"S": f"2026-01-{day}"}, state={"S": "TRAINING"}, secret={"S": "x"})
    table.put("other", kind={"S": "other"}, at={"S": "2026-01-04"})

    def page(**after: Any) -> dict[str, Any]:
        answer: dict[str, Any] = table.client.query(
            TableName=table.name,
            IndexName="newest",
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": "run"}},
            ScanIndexForward=False,
            Limit=2,
            **after,
        )
        return answer

    first = aws.until(lambda: it if len((it := page())["Items"]) == 2 else None, what="the index has caught up")
    second = page(ExclusiveStartKey=first["LastEvaluatedKey"])

    assert [item["id"]["S"] for item in [*first["Items"], *second["Items"]]] == ["03", "02", "01"]
    assert set(first["Items"][0]) == {"id", "kind", "at", "state"}
    assert "LastEvaluatedKey" not in second
