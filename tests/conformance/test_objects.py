"""Objects of S3: versions, conditions, consistency, events."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account


@pytest.fixture(scope="module")
def bucket(aws: Account) -> str:
    return aws.bucket(versioned=True)


@pytest.mark.page("AmazonS3/latest/userguide/versioning-workflows.html")
def test_each_write_is_a_version_and_the_newest_is_current(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "run.yaml"}
    first, second = [aws.s3.put_object(**place, Body=body)["VersionId"] for body in (b"one", b"two")]

    assert first != second
    assert aws.s3.get_object(**place)["Body"].read() == b"two"
    assert aws.s3.get_object(**place)["VersionId"] == second
    assert aws.s3.get_object(**place, VersionId=first)["Body"].read() == b"one"
    assert aws.s3.head_object(**place)["VersionId"] == second


@pytest.mark.page("AmazonS3/latest/userguide/DeleteMarker.html")
def test_deleting_hides_the_versions_and_deletes_none(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "hidden"}
    version = aws.s3.put_object(**place, Body=b"kept")["VersionId"]

    marker = aws.s3.delete_object(**place)

    assert marker["DeleteMarker"]
    with pytest.raises(ClientError, match="NoSuchKey"):
        aws.s3.get_object(**place)
    assert aws.s3.get_object(**place, VersionId=version)["Body"].read() == b"kept"
    listed = aws.s3.list_object_versions(Bucket=bucket, Prefix="hidden")
    assert [item["VersionId"] for item in listed["Versions"]] == [version]
    assert [item["VersionId"] for item in listed["DeleteMarkers"]] == [marker["VersionId"]]
    assert aws.s3.list_objects_v2(Bucket=bucket, Prefix="hidden")["KeyCount"] == 0


@pytest.mark.page("AmazonS3/latest/userguide/DeletingObjectVersions.html")
def test_a_version_that_is_deleted_is_gone(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "gone"}
    first, second = [aws.s3.put_object(**place, Body=body)["VersionId"] for body in (b"one", b"two")]

    aws.s3.delete_object(**place, VersionId=second)

    assert aws.s3.get_object(**place)["VersionId"] == first
    with pytest.raises(ClientError, match="NoSuchVersion"):
        aws.s3.get_object(**place, VersionId=second)


@pytest.mark.page("AmazonS3/latest/userguide/conditional-writes.html")
def test_a_write_that_must_be_the_first_fails_on_an_object_that_is_there(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "first"}
    aws.s3.put_object(**place, Body=b"one", IfNoneMatch="*")

    with pytest.raises(ClientError, match="PreconditionFailed") as refusal:
        aws.s3.put_object(**place, Body=b"two", IfNoneMatch="*")

    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert aws.s3.get_object(**place)["Body"].read() == b"one"


@pytest.mark.page("AmazonS3/latest/userguide/conditional-writes.html")
def test_a_write_over_what_was_read_fails_when_it_has_changed(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "champion"}
    read = aws.s3.put_object(**place, Body=b"one")["ETag"]
    aws.s3.put_object(**place, Body=b"two", IfMatch=read)

    with pytest.raises(ClientError, match="PreconditionFailed"):
        aws.s3.put_object(**place, Body=b"three", IfMatch=read)
    with pytest.raises(ClientError, match="NoSuchKey"):
        aws.s3.put_object(Bucket=bucket, Key="never-there", Body=b"x", IfMatch=read)
    assert aws.s3.get_object(**place)["Body"].read() == b"two"


@pytest.mark.page("AmazonS3/latest/userguide/conditional-writes.html")
def test_of_many_first_writes_at_once_one_succeeds(aws: Account, bucket: str) -> None:
    def write(number: int) -> str:
        try:
            aws.s3.put_object(Bucket=bucket, Key="race", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "written"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(16)))
    assert answers.count("written") == 1
    # A conflict with a write that is under way is told apart from one with a write that is over.
    assert set(answers) <= {"written", "PreconditionFailed", "ConditionalRequestConflict"}


@pytest.mark.page("AmazonS3/latest/API/API_GetObject.html")
def test_a_part_of_an_object_can_be_read(aws: Account, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key="part", Body=b"0123456789")

    answer = aws.s3.get_object(Bucket=bucket, Key="part", Range="bytes=2-4")

    assert (answer["Body"].read(), answer["ContentRange"]) == (b"234", "bytes 2-4/10")


@pytest.mark.page("AmazonS3/latest/API/API_ListObjectsV2.html")
def test_lists_are_sorted_and_come_in_pages(aws: Account) -> None:
    bucket = aws.bucket()
    for key in ("b/2", "a", "b/1", "c"):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"")

    pages = list(aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3}))
    folders = aws.s3.list_objects_v2(Bucket=bucket, Delimiter="/")

    assert [[item["Key"] for item in page["Contents"]] for page in pages] == [["a", "b/1", "b/2"], ["c"]]
    assert [item["Key"] for item in folders["Contents"]] == ["a", "c"]
    assert [item["Prefix"] for item in folders["CommonPrefixes"]] == ["b/"]


@pytest.mark.page("AmazonS3/latest/userguide/object-tagging.html")
def test_an_object_is_written_with_its_tags(aws: Account, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key="tagged", Body=b"", Tagging="kind=checkpoint")

    tags = aws.s3.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"]

    assert tags == [{"Key": "kind", "Value": "checkpoint"}]


@pytest.mark.page("AmazonS3/latest/userguide/mpuoverview.html")
def test_an_object_in_parts_is_there_when_it_is_complete_and_not_before(aws: Account, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "large"}
    upload = aws.s3.create_multipart_upload(**place)["UploadId"]
    bodies = [b"a" * (5 * 1024 * 1024), b"b"]
    parts = [
        {"PartNumber": n, "ETag": aws.s3.upload_part(**place, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, start=1)
    ]
    with pytest.raises(ClientError, match="404"):
        aws.s3.head_object(**place)

    aws.s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    assert aws.s3.head_object(**place)["ContentLength"] == sum(map(len, bodies))


@pytest.mark.page("AmazonS3/latest/userguide/ev-events.html")
def test_an_event_names_bucket_key_and_version(aws: Account) -> None:
    bucket = aws.bucket(versioned=True, events=True)
    heard = aws.listener({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})

    version = aws.s3.put_object(Bucket=bucket, Key="folder/run.yaml", Body=b"x")["VersionId"]

    event = aws.until(heard, what="the event arrives")[0]
    assert (event["detail-type"], event["detail"]["bucket"]["name"]) == ("Object Created", bucket)
    assert (event["detail"]["object"]["key"], event["detail"]["object"]["version-id"]) == ("folder/run.yaml", version)
    assert event["detail"]["object"]["size"] == 1
