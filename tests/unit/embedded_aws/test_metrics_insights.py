"""The part of Metrics Insights' language that alarms use."""

import pytest

from embedded_aws.watching.metrics_insights import parse


@pytest.mark.parametrize(
    "expression",
    ["m1 + m2", "SEARCH('{AWS/EC2}', 'Average', 300)", "SELECT MAX(a) FROM b WHERE c > 3", "SELECT MAX(a)", "SELECT"],
)
def test_what_is_no_query_that_is_known_here_is_not_evaluated(expression: str) -> None:
    assert parse(expression) is None


def test_a_query_may_leave_out_all_but_its_metric() -> None:
    query = parse('SELECT AVG("CPU Use") FROM "AWS/EC2"')
    assert query is not None
    assert (query.statistic, query.namespace, query.metric) == ("Average", "AWS/EC2", "CPU Use")
    assert (query.dimensions, query.where, query.group_by) == (None, (), ())


def test_a_query_selects_by_dimensions_and_groups() -> None:
    query = parse(
        "select sum(Load) from schema(Tests, Room, Stage) where Stage = 'dev' and Room != 'attic' group by Room"
    )
    assert query is not None
    found = query.select(
        [
            ("Tests", "Load", {"Room": "kitchen", "Stage": "dev"}, [1]),
            ("Tests", "Load", {"Room": "kitchen", "Stage": "prod"}, [2]),
            ("Tests", "Load", {"Room": "attic", "Stage": "dev"}, [3]),
            ("Tests", "Load", {"Room": "cellar", "Stage": "dev", "Door": "left"}, [4]),
            ("Tests", "Other", {"Room": "cellar", "Stage": "dev"}, [5]),
            ("Elsewhere", "Load", {"Room": "cellar", "Stage": "dev"}, [6]),
            ("Tests", "Load", {"Room": "cellar", "Stage": "dev"}, [7]),
        ]
    )
    assert found == {("kitchen",): [1], ("cellar",): [7]}


def test_metrics_without_the_dimension_that_is_grouped_by_are_one_series() -> None:
    query = parse('SELECT MAX(Load) FROM "Tests" GROUP BY Room')
    assert query is not None
    assert query.select([("Tests", "Load", {}, [1]), ("Tests", "Load", {"Room": "attic"}, [2])]) == {
        ("Other",): [1],
        ("attic",): [2],
    }
