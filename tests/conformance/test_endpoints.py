"""SageMaker endpoints: https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html"""

import json
import threading

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique


@pytest.fixture(scope="module")
def endpoint(aws: Account) -> str:
    return aws.endpoint(aws.model("one "))


@pytest.mark.page("sagemaker/latest/dg/your-algorithms-inference-code.html")
def test_an_endpoint_serves_what_is_in_the_archive(aws: Account, endpoint: str) -> None:
    assert aws.invoke(endpoint, "and more") == "one and more"


@pytest.mark.page("sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html")
def test_headers_go_to_the_container_and_back(aws: Account, endpoint: str) -> None:
    answer = aws.runtime.invoke_endpoint(
        EndpointName=endpoint, Body=b"attributes", Accept="application/json", CustomAttributes="trace=7"
    )

    assert answer["Body"].read() == b"trace=7"
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "policy"


@pytest.mark.page("sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html")
def test_an_error_of_the_container_is_a_model_error(aws: Account, endpoint: str) -> None:
    with pytest.raises(aws.runtime.exceptions.ModelError) as failure:
        aws.invoke(endpoint, "wrong")

    answer = failure.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (400, "expected something else")
    assert 'Received client error (400) from primary with message "expected something else"' in str(failure.value)


@pytest.mark.page("sagemaker/latest/APIReference/API_DescribeEndpoint.html")
def test_an_unknown_endpoint_is_a_validation_error(aws: Account) -> None:
    with pytest.raises(
        aws.runtime.exceptions.ValidationError, match=f"Endpoint nobody of account {aws.account_id} not found"
    ):
        aws.invoke("nobody")
    with pytest.raises(ClientError, match=r'ValidationException.*Could not find endpoint ".*endpoint/nobody"'):
        aws.sagemaker.describe_endpoint(EndpointName="nobody")


@pytest.mark.page("sagemaker/latest/APIReference/API_UpdateEndpoint.html")
def test_an_update_moves_to_the_new_model_without_a_gap(aws: Account) -> None:
    before, after = aws.model("old"), aws.model("new")
    endpoint = aws.endpoint(before)
    answers, stop = [], threading.Event()

    def ask() -> None:
        client = aws.client("sagemaker-runtime")
        while not stop.is_set():
            answers.append(client.invoke_endpoint(EndpointName=endpoint, Body=b"")["Body"].read().decode())

    asking = threading.Thread(target=ask)
    asking.start()
    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=after)
    assert aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "Updating"
    description = aws.settled(endpoint)
    aws.until(lambda: answers[-1:] == ["new"], what="the new model answers")
    stop.set()
    asking.join()

    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", after)
    assert answers == sorted(answers, reverse=True), "first the old one, then the new one, and never an error"


@pytest.mark.page("sagemaker/latest/APIReference/API_UpdateEndpoint.html")
@pytest.mark.parametrize("illness", ["broken", "sick"])
def test_a_failed_update_looks_like_a_rollback(aws: Account, illness: str) -> None:
    good, bad = aws.model("good"), aws.model("bad", **{illness: "yes"})
    endpoint = aws.endpoint(good)

    aws.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=bad)
    description = aws.settled(endpoint)

    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", good)
    assert "did not pass the ping health check" in description["FailureReason"]
    assert aws.invoke(endpoint) == "good"


@pytest.mark.page("sagemaker/latest/APIReference/API_DescribeEndpoint.html")
def test_an_endpoint_that_never_came_up_is_failed_and_its_log_says_why(aws: Account) -> None:
    name = aws.create_endpoint(aws.model("x", broken="yes"))

    description = aws.settled(name)

    assert description["EndpointStatus"] == "Failed"
    assert "ping health check" in description["FailureReason"]
    group = f"/aws/sagemaker/Endpoints/{name}"
    stream = aws.logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert stream.startswith("policy/")
    aws.until(lambda: "the model is broken" in aws.lines_of(group, stream), what="the server's last words are logged")
    with pytest.raises(ClientError, match="not found"):
        aws.invoke(name)


@pytest.mark.page("sagemaker/latest/dg/your-algorithms-inference-code.html")
def test_a_server_that_dies_is_started_again(aws: Account) -> None:
    endpoint = aws.endpoint(aws.model("still here"))
    with pytest.raises(aws.runtime.exceptions.ModelError):
        aws.invoke(endpoint, "die")

    def answers() -> bool:
        try:
            return aws.invoke(endpoint) == "still here"
        except aws.runtime.exceptions.ModelError:
            return False

    aws.until(answers, what="the restarted server answers")


@pytest.mark.page("sagemaker/latest/APIReference/API_DeleteEndpoint.html")
def test_a_deleted_endpoint_is_gone_and_its_name_is_free(aws: Account) -> None:
    model = aws.model("x")
    endpoint = aws.endpoint(model)

    aws.sagemaker.delete_endpoint(EndpointName=endpoint)

    with pytest.raises(ClientError, match="Could not find endpoint"):
        aws.sagemaker.describe_endpoint(EndpointName=endpoint)
    aws.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=model)
    assert aws.settled(endpoint)["EndpointStatus"] == "InService"


@pytest.mark.page("sagemaker/latest/APIReference/API_ListEndpoints.html")
def test_endpoints_are_listed_by_part_of_a_name_and_by_status(aws: Account, endpoint: str) -> None:
    def listed(**wanted: str) -> list[str]:
        return [item["EndpointName"] for item in aws.sagemaker.list_endpoints(**wanted, MaxResults=100)["Endpoints"]]

    assert endpoint in listed(NameContains=endpoint.upper())
    assert listed(NameContains="nobody") == []
    assert endpoint in listed(StatusEquals="InService")
    assert endpoint not in listed(StatusEquals="Failed")


@pytest.mark.page("sagemaker/latest/APIReference/API_CreateModel.html")
def test_names_are_used_once_and_keep_to_the_allowed_set(aws: Account, endpoint: str) -> None:
    config = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    model = {"ExecutionRoleArn": aws.role("sagemaker"), "PrimaryContainer": {"Image": aws.serving_image}}
    with pytest.raises(ClientError, match='Cannot create already existing endpoint "arn:aws:sagemaker'):
        aws.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    with pytest.raises(ClientError, match='Cannot create already existing model "arn:aws:sagemaker'):
        aws.sagemaker.create_model(ModelName=config, **model)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint configuration"):
        aws.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[aws.variant(config)])
    with pytest.raises(ClientError, match="failed to satisfy constraint"):
        aws.sagemaker.create_model(ModelName="m" * 64, **model)
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        aws.sagemaker.create_endpoint(EndpointName=unique("endpoint"), EndpointConfigName="nothing")


@pytest.mark.page("sagemaker/latest/APIReference/API_ContainerDefinition.html")
def test_a_model_needs_its_archive(aws: Account) -> None:
    container = {"Image": aws.serving_image, "ModelDataUrl": "s3://nowhere/model.tar.gz"}
    with pytest.raises(ClientError, match="Could not access model data at s3://nowhere/"):
        aws.sagemaker.create_model(
            ModelName=unique("model"), ExecutionRoleArn=aws.role("sagemaker"), PrimaryContainer=container
        )


@pytest.mark.page("sagemaker/latest/APIReference/API_CreateModelPackage.html")
def test_packages_have_versions_and_a_token_makes_one_only(aws: Account) -> None:
    group = unique("group")
    aws.sagemaker.create_model_package_group(ModelPackageGroupName=group)
    request = {"ModelPackageGroupName": group, "CustomerMetadataProperties": {"run": "one"}}

    first = aws.sagemaker.create_model_package(**request, ClientToken="a")["ModelPackageArn"]
    again = aws.sagemaker.create_model_package(**request, ClientToken="a")["ModelPackageArn"]
    second = aws.sagemaker.create_model_package(**request, ClientToken="b")["ModelPackageArn"]
    aws.sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved")

    assert (first, again) == (second.replace("/2", "/1"), first)
    listed = aws.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert [package["ModelPackageVersion"] for package in listed] == [2, 1]
    description = aws.sagemaker.describe_model_package(ModelPackageName=second)
    assert description["ModelApprovalStatus"] == "Approved"
    assert json.loads(json.dumps(description["CustomerMetadataProperties"])) == {"run": "one"}
    with pytest.raises(ClientError, match="does not exist"):
        aws.sagemaker.create_model_package(ModelPackageGroupName="nothing")
