"""boto3 against the real server when answers are lost: what it tries again has happened, and is not done twice."""

import pytest

from compare import refused
from forgetful import Forgetful


@pytest.fixture
def unlucky(server):
    """An endpoint that loses the answers to the first two PUTs."""
    relay = Forgetful(server.endpoint, "PUT", 2)
    yield relay
    relay.stop()


def test_a_conditional_put_is_not_refused_by_its_own_first_attempt(s3, connect, unlucky, bucket):
    retrying = connect(endpoint=unlucky.endpoint, retries={"total_max_attempts": 4, "mode": "standard"})
    created = retrying.put_object(Bucket=bucket, Key="lock", Body=b"mine", IfNoneMatch="*")
    assert created["ResponseMetadata"]["RetryAttempts"] == 2 and len(unlucky.lost) == 2
    assert s3.get_object(Bucket=bucket, Key="lock")["Body"].read() == b"mine"
    with refused(412, "PreconditionFailed"):
        retrying.put_object(Bucket=bucket, Key="lock", Body=b"mine", IfNoneMatch="*")


def test_a_swap_is_not_refused_by_its_own_first_attempt_and_makes_one_version(s3, connect, unlucky, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    before = s3.put_object(Bucket=bucket, Key="state", Body=b"1")["ETag"]
    retrying = connect(endpoint=unlucky.endpoint, retries={"total_max_attempts": 4, "mode": "standard"})
    swapped = retrying.put_object(Bucket=bucket, Key="state", Body=b"2", IfMatch=before)
    assert swapped["ResponseMetadata"]["RetryAttempts"] == 2
    versions = s3.list_object_versions(Bucket=bucket, Prefix="state")["Versions"]
    assert len(versions) == 2 and versions[0]["VersionId"] == swapped["VersionId"]


def test_who_does_not_count_attempts_hears_what_is_so(s3, connect, unlucky, bucket):
    retrying = connect(endpoint=unlucky.endpoint, retries={"total_max_attempts": 4, "mode": "standard"})
    uncounted = lambda request, **_: request.headers.__delitem__("amz-sdk-request")
    retrying.meta.events.register("before-send.s3", uncounted)
    with refused(412, "PreconditionFailed"):
        retrying.put_object(Bucket=bucket, Key="lock", Body=b"mine", IfNoneMatch="*")
