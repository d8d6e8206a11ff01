"""boto3 against the real server: lifecycle rules, read back as they were put, told with objects, and carried out."""

from datetime import datetime, timedelta, timezone

import pytest
from compare import becomes_true, keys_in, refused

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
EVERYTHING = [
    {
        "ID": "all",
        "Status": "Disabled",
        "Filter": {
            "And": {
                "Prefix": "logs/",
                "Tags": [{"Key": "a", "Value": "b"}],
                "ObjectSizeGreaterThan": 5,
                "ObjectSizeLessThan": 500,
            }
        },
        "Expiration": {"Days": 30},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 2},
    },
    {"ID": "old form", "Status": "Enabled", "Prefix": "tmp/", "Expiration": {"Date": PAST}},
    {
        "ID": "rest",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    },
]


def put_rules(s3, bucket, *rules):
    filled = [{"Status": "Enabled", "Filter": {}, **rule} for rule in rules]
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": filled})


def expires(answer) -> str:
    return answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-expiration", "")


def test_rules_read_back_as_they_were_put(s3, bucket):
    with refused(404, "NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    configuration = {"Rules": EVERYTHING}
    put = s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration=configuration,
        TransitionDefaultMinimumObjectSize="all_storage_classes_128K",
    )
    got = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert got["Rules"] == EVERYTHING
    for told in (put, got):
        assert told["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    deleted = s3.delete_bucket_lifecycle(Bucket=bucket)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    "rule, status, code",
    [
        ({}, 400, "InvalidRequest"),
        ({"Expiration": {"Days": 0}}, 400, "InvalidArgument"),
        ({"Expiration": {"Date": PAST + timedelta(hours=1)}}, 400, "InvalidArgument"),
        ({"Expiration": {"Days": 1}, "Status": "On"}, 400, "MalformedXML"),
        ({"Expiration": {"Days": 1}, "Prefix": "a"}, 400, "MalformedXML"),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 0}}, 400, "InvalidArgument"),
        (
            {
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                "Filter": {"Tag": {"Key": "a", "Value": "b"}},
            },
            400,
            "InvalidRequest",
        ),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, 501, "NotImplemented"),
    ],
)
def test_rules_that_mean_nothing_here_are_refused(s3, bucket, rule, status, code):
    with refused(status, code):
        put_rules(s3, bucket, rule)
    with refused(404, "NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def test_an_id_is_given_and_never_twice(s3, bucket):
    days = {"Expiration": {"Days": 1}}
    with refused(400, "InvalidArgument"):
        put_rules(s3, bucket, {"ID": "a", **days}, {"ID": "a", **days})
    put_rules(s3, bucket, days, days)
    ids = {rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert len(ids) == 2 and "" not in ids


def test_an_object_says_when_it_goes_and_by_which_rule(s3, bucket):
    put_rules(
        s3,
        bucket,
        {"ID": "in ten", "Expiration": {"Days": 10}},
        {"ID": "tagged", "Filter": {"Tag": {"Key": "keep", "Value": "short"}}, "Expiration": {"Days": 2}},
    )

    def in_days(days, rule):
        midnight = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0) + timedelta(days=days + 1)
        return f'expiry-date="{midnight:%a, %d %b %Y %H:%M:%S GMT}", rule-id="{rule}"'

    assert expires(s3.put_object(Bucket=bucket, Key="k", Body=b"x")) == in_days(10, "in%20ten")
    for answer in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert expires(answer) == in_days(10, "in%20ten")
    assert expires(s3.put_object(Bucket=bucket, Key="t", Body=b"x", Tagging="keep=short")) == in_days(2, "tagged")
    assert expires(s3.head_object(Bucket=bucket, Key="t")) == in_days(2, "tagged")
    assert expires(s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/t")) == in_days(2, "tagged")
    plain = {"TaggingDirective": "REPLACE", "Tagging": ""}
    assert expires(s3.copy_object(Bucket=bucket, Key="plain", CopySource=f"{bucket}/t", **plain)) == in_days(10, "in%20ten")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="keep=short")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    completed = s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert expires(completed) == in_days(2, "tagged")
    s3.delete_object_tagging(Bucket=bucket, Key="t")
    assert expires(s3.head_object(Bucket=bucket, Key="t")) == in_days(10, "in%20ten")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert expires(s3.head_object(Bucket=bucket, Key="k")) == ""


def test_what_is_due_goes_and_the_rest_stays(s3, bucket):
    for key, tags in (("tmp/a", ""), ("tmp/large", ""), ("keep/b", ""), ("tagged", "gone=yes")):
        body = b"x" * (1 << 20 if key == "tmp/large" else 10)
        s3.put_object(Bucket=bucket, Key=key, Body=body, Tagging=tags)
    past = {"Expiration": {"Date": PAST}}
    put_rules(
        s3,
        bucket,
        {"ID": "small", "Filter": {"And": {"Prefix": "tmp/", "ObjectSizeLessThan": 100}}, **past},
        {"ID": "tag", "Filter": {"Tag": {"Key": "gone", "Value": "yes"}}, **past},
        {"ID": "off", "Status": "Disabled", **past},
    )
    becomes_true(lambda: keys_in(s3, bucket) == ["keep/b", "tmp/large"])
    assert s3.get_object(Bucket=bucket, Key="tmp/large")["Body"].read() == b"x" * (1 << 20)


def test_where_versions_are_kept_a_marker_hides_what_expired_until_it_hides_nothing(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    alone = s3.delete_object(Bucket=bucket, Key="alone")["VersionId"]
    put_rules(s3, bucket, {"ID": "k", "Filter": {"Prefix": "k"}, "Expiration": {"Date": PAST}})
    becomes_true(lambda: keys_in(s3, bucket) == [])
    listed = s3.list_object_versions(Bucket=bucket)
    assert [entry["VersionId"] for entry in listed["Versions"]] == [version]
    markers = {entry["Key"]: entry["VersionId"] for entry in listed["DeleteMarkers"]}
    assert markers.keys() == {"k", "alone"} and markers["alone"] == alone
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == b"x"
    assert expires(s3.head_object(Bucket=bucket, Key="k", VersionId=version)) == ""

    put_rules(s3, bucket, {"ID": "markers", "Expiration": {"ExpiredObjectDeleteMarker": True}})
    left = lambda: [entry["Key"] for entry in s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]]  # noqa: E731
    becomes_true(lambda: left() == ["k"])


def test_only_an_owner_sets_rules(connect, server, s3, bucket):
    put_rules(s3, bucket, {"Expiration": {"Days": 1}})
    name = f"lifecycle-{bucket[-8:]}"
    key = server.create_key(name, create_buckets=False)
    server.command("key", "allow", name, bucket, "--read", "--write")
    writer = connect(key)
    assert writer.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    with refused(403, "AccessDenied"):
        put_rules(writer, bucket, {"Expiration": {"Days": 2}})
    with refused(403, "AccessDenied"):
        writer.delete_bucket_lifecycle(Bucket=bucket)
