"""boto3 against the real server: what happens to objects, told to a webhook in the words of S3."""

import time
from datetime import datetime, timezone

import boto3
import pytest
from botocore.config import Config
from compare import becomes_true, refused
from hook import ARN, Hook, short
from warren_process import Server
from wire import submit


@pytest.fixture(scope="module")
def hook():
    return Hook()


@pytest.fixture(scope="module")
def box(request, hook, tmp_path_factory):
    if request.config.getoption("--endpoint"):
        pytest.skip("a server that somebody else started knows no webhook of this test")
    folder = tmp_path_factory.mktemp("notifying")
    webhooks = f"hook={hook.url},away=http://127.0.0.1:9/secret"
    running = Server(request.config.getoption("--warren"), folder, WARREN_S3_WEBHOOKS=webhooks)
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]
    assert "panicked" not in running.log.read_text() and "/secret" not in running.log.read_text()


@pytest.fixture(scope="module")
def s3(box):
    return boto3.client(
        "s3",
        endpoint_url=box.endpoint,
        aws_access_key_id=box.key.id,
        aws_secret_access_key=box.key.secret,
        region_name="warren",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.fixture(autouse=True)
def willing(hook):
    hook.status = 200


def tell(s3, bucket, *rules, **options):
    filled = [{"QueueArn": ARN, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], **rule} for rule in rules]
    configuration = {"QueueConfigurations": filled}
    return s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration, **options)


def key_filter(**rules):
    return {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}


def test_rules_read_back_as_they_were_put_and_the_receiver_is_told_so(s3, bucket, hook):
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    rule = {"Id": "new", "Events": ["s3:ObjectCreated:Put"], "Filter": key_filter(prefix="in/", suffix=".jpg")}
    tell(s3, bucket, rule)
    got = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert got == [{"Id": "new", "QueueArn": ARN, "Events": rule["Events"], "Filter": rule["Filter"]}]

    def tests():
        return [said for said in hook.messages if said.get("Event") == "s3:TestEvent" and said["Bucket"] == bucket]

    becomes_true(tests)
    assert set(tests()[0]) == {"Service", "Event", "Time", "Bucket", "RequestId", "HostId"}
    tell(s3, bucket)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    "rules, status, code",
    [
        ([{"QueueArn": "arn:warren:sqs::stranger:webhook"}], 400, "InvalidArgument"),
        ([{"QueueArn": "arn:aws:sqs:us-east-1:123456789012:queue"}], 400, "InvalidArgument"),
        ([{"Events": ["s3:ObjectDestroyed:*"]}], 400, "InvalidArgument"),
        ([{"Events": ["s3:ObjectAcl:Get"]}], 400, "InvalidArgument"),
        ([{"Events": ["s3:ObjectRestore:*"]}], 501, "NotImplemented"),
        ([{}, {"Events": ["s3:ObjectCreated:Put"], "Filter": key_filter(prefix="a/")}], 400, "InvalidArgument"),
        ([{"Filter": {"Key": {"FilterRules": [{"Name": "middle", "Value": "a"}]}}}], 400, "InvalidArgument"),
        ([{"Id": "a"}, {"Id": "a", "Events": ["s3:LifecycleExpiration:*"]}], 400, "InvalidArgument"),
    ],
)
def test_rules_that_cannot_hold_are_refused(s3, bucket, rules, status, code):
    with refused(status, code):
        tell(s3, bucket, *rules)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_a_receiver_that_only_another_box_knows_is_named_unseen(s3, bucket):
    rule = {"Id": "elsewhere", "QueueArn": "arn:warren:sqs::elsewhere:webhook"}
    for options in ({}, {"SkipDestinationValidation": False}):
        with refused(400, "InvalidArgument"):
            tell(s3, bucket, rule, **options)
    tell(s3, bucket, rule, SkipDestinationValidation=True)
    [got] = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert (got["Id"], got["QueueArn"]) == ("elsewhere", rule["QueueArn"])
    # What does not even look like a receiver of ours is refused all the same.
    with refused(400, "InvalidArgument"):
        tell(s3, bucket, {"QueueArn": "arn:aws:sqs:us-east-1:123456789012:queue"}, SkipDestinationValidation=True)


def test_other_receivers_of_aws_are_none_here(s3, bucket):
    topic = {"TopicArn": "arn:aws:sns:us-east-1:123456789012:topic", "Events": ["s3:ObjectCreated:*"]}
    with refused(501, "NotImplemented"):
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [topic]}
        )


def test_an_event_is_written_as_s3_writes_it(box, s3, bucket, hook):
    tell(s3, bucket, {"Id": "rule"})
    before = datetime.now(timezone.utc)
    put = s3.put_object(Bucket=bucket, Key="holiday/red flower+é.jpg", Body=b"hello")
    [record] = hook.told(bucket, 1)
    assert set(record) == {
        "eventVersion", "eventSource", "awsRegion", "eventTime", "eventName",
        "userIdentity", "requestParameters", "responseElements", "s3",
    }
    assert record["eventVersion"].startswith("2.") and record["eventSource"] == "aws:s3"
    assert record["eventName"] == "ObjectCreated:Put"
    assert abs((datetime.fromisoformat(record["eventTime"]) - before).total_seconds()) < 10
    assert record["userIdentity"] == {"principalId": box.key.id}
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert record["responseElements"]["x-amz-request-id"] == put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    told = record["s3"]
    assert (told["s3SchemaVersion"], told["configurationId"]) == ("1.0", "rule")
    assert told["bucket"] == {
        "name": bucket, "ownerIdentity": {"principalId": box.key.id}, "arn": f"arn:aws:s3:::{bucket}",
    }
    sequencer = told["object"].pop("sequencer")
    assert int(sequencer, 16) > 0
    assert told["object"] == {
        "key": "holiday/red+flower%2B%C3%A9.jpg", "size": 5, "eTag": "5d41402abc4b2a76b9719d911017c592",
    }


def test_every_way_to_make_and_remove_an_object_is_told(s3, bucket, hook):
    tell(s3, bucket, {})
    s3.put_object(Bucket=bucket, Key="put", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/put")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * 10)
    s3.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.delete_object(Bucket=bucket, Key="put")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "never there"}]})
    records = hook.told(bucket, 5)
    assert sorted(map(short, records)) == [
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:Put", "put"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "put"),
    ]
    gone = next(record for record in records if short(record) == ("ObjectRemoved:Delete", "put"))
    assert set(gone["s3"]["object"]) == {"key", "sequencer"}


def test_versions_and_markers_are_told_with_their_ids(s3, bucket, hook):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tell(s3, bucket, {})
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=put)
    records = hook.told(bucket, 3)
    assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in records] == [
        ("ObjectCreated:Put", put),
        ("ObjectRemoved:DeleteMarkerCreated", marker),
        ("ObjectRemoved:Delete", put),
    ]


def test_tags_and_acls_that_change_are_told_once_each_with_the_version(box, s3, bucket, hook):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put = [s3.put_object(Bucket=bucket, Key="k", Body=body, Tagging="a=b") for body in (b"old", b"new")]
    old, new = (answer["VersionId"] for answer in put)
    events = ["s3:ObjectTagging:*", "s3:ObjectAcl:Put"]
    tell(s3, bucket, {"Id": "said", "Events": events})
    # What comes with an object is no event of its own.
    s3.put_object(Bucket=bucket, Key="other", Body=b"x", Tagging="a=b", ACL="public-read")
    tags = {"TagSet": [{"Key": "c", "Value": "d"}]}
    changed = s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags)
    s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=old)
    # There is nothing left to take away.
    s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=old)
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    # It is so already.
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    records = hook.told(bucket, 3)
    assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in records] == [
        ("ObjectTagging:Put", new),
        ("ObjectTagging:Delete", old),
        ("ObjectAcl:Put", new),
    ]
    request = changed["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert records[0]["responseElements"]["x-amz-request-id"] == request
    for record, answer in zip(records, [put[1], put[0], put[1]]):
        assert record["eventVersion"] == "2.3" and record["s3"]["configurationId"] == "said"
        assert record["userIdentity"] == {"principalId": box.key.id}
        assert record["s3"]["object"]["eTag"] == answer["ETag"].strip('"')
        assert set(record["s3"]["object"]) == {"key", "eTag", "versionId", "sequencer"}
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert sequencers == sorted(set(sequencers))
    got = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert got[0]["Events"] == events


def test_a_rule_for_tags_that_are_put_tells_of_nothing_else(s3, bucket, hook):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tell(s3, bucket, {"Events": ["s3:ObjectTagging:Put"]})
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "d"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", TaggingDirective="REPLACE", Tagging="e=f")
    [record] = hook.told(bucket, 1)
    assert short(record) == ("ObjectTagging:Put", "k")
    # No versions were ever kept.
    assert set(record["s3"]["object"]) == {"key", "eTag", "sequencer"}


def test_changed_tags_are_told_after_a_crash(box, s3, bucket, hook):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tell(s3, bucket, {"Events": ["s3:ObjectTagging:*"]})
    hook.status = 500
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "d"}]})
    box.process.kill()
    box.process.wait()
    hook.status = 200
    box.start()
    [record] = hook.told(bucket, 1)
    assert short(record) == ("ObjectTagging:Put", "k")


def test_a_file_that_a_form_uploads_is_told_as_such(box, s3, bucket, hook):
    tell(s3, bucket, {"Events": ["s3:ObjectCreated:Post"]})
    form = s3.generate_presigned_post(bucket, "upload/${filename}")
    assert submit(box, bucket, form, b"hello").status == 204
    s3.put_object(Bucket=bucket, Key="put", Body=b"x")
    [record] = hook.told(bucket, 1)
    assert short(record) == ("ObjectCreated:Post", "upload/holiday.jpg")
    assert record["s3"]["object"]["size"] == 5


def test_a_marker_by_which_a_lifecycle_rule_hides_something_is_told_with_its_version(s3, bucket, hook):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tell(s3, bucket, {"Events": ["s3:LifecycleExpiration:DeleteMarkerCreated"]})
    s3.put_object(Bucket=bucket, Key="old", Body=b"x")
    past = {"Date": datetime(2020, 1, 1, tzinfo=timezone.utc)}
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": past}]},
    )
    [record] = hook.told(bucket, 1)
    assert short(record) == ("LifecycleExpiration:DeleteMarkerCreated", "old")
    [marker] = s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]
    assert record["s3"]["object"]["versionId"] == marker["VersionId"] and record["eventVersion"] == "2.3"


def test_a_rule_for_a_receiver_that_another_box_knows_is_taken_unseen(s3, bucket):
    elsewhere = {"QueueArn": "arn:warren:sqs::elsewhere:webhook"}
    with refused(400, "InvalidArgument"):
        tell(s3, bucket, elsewhere)
    tell(s3, bucket, elsewhere, SkipDestinationValidation=True)
    [rule] = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert rule["QueueArn"] == elsewhere["QueueArn"]


def test_only_what_the_rules_name_is_told(s3, bucket, hook):
    rule = {"Events": ["s3:ObjectCreated:*"], "Filter": key_filter(prefix="in/", suffix=".jpg")}
    tell(s3, bucket, rule)
    for key in ["in/a.png", "out/a.jpg", "in/a.jpg"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        s3.delete_object(Bucket=bucket, Key=key)
    assert [short(record) for record in hook.told(bucket, 1)] == [("ObjectCreated:Put", "in/a.jpg")]
    tell(s3, bucket)
    s3.put_object(Bucket=bucket, Key="in/b.jpg", Body=b"x")
    hook.told(bucket, 1)


def test_what_a_lifecycle_rule_removes_is_told(s3, bucket, hook):
    tell(s3, bucket, {"Events": ["s3:LifecycleExpiration:*"]})
    s3.put_object(Bucket=bucket, Key="old", Body=b"x")
    past = {"Date": datetime(2020, 1, 1, tzinfo=timezone.utc)}
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": past}]},
    )
    [record] = hook.told(bucket, 1)
    assert short(record) == ("LifecycleExpiration:Delete", "old")
    assert record["userIdentity"] == {"principalId": "s3.amazonaws.com"}


def test_a_failed_write_is_not_told(s3, bucket, hook):
    tell(s3, bucket, {})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", IfNoneMatch="*")
    hook.told(bucket, 1)


def test_events_of_a_key_come_in_order_however_often_the_receiver_refuses(s3, bucket, hook):
    tell(s3, bucket, {})
    hook.status = 503
    for size in range(1, 11):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * size)
    s3.delete_object(Bucket=bucket, Key="k")
    becomes_true(lambda: hook.refused > 0)
    assert hook.records(bucket) == []
    # Nothing is left of the object but what is to be told of it, and that is none.
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")
    hook.status = 200
    records = hook.told(bucket, 11)
    assert [record["s3"]["object"].get("size") for record in records] == [*range(1, 11), None]
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert sequencers == sorted(set(sequencers))


def test_a_receiver_that_is_away_keeps_no_request_and_no_other_receiver_waiting(s3, bucket, bucket_name, hook):
    away = "arn:warren:sqs::away:webhook"
    tell(
        s3, bucket,
        {"Id": "away", "QueueArn": away, "Filter": key_filter(prefix="away/")},
        {"Id": "here", "Filter": key_filter(prefix="here/")},
    )
    began = time.monotonic()
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"away/{number}", Body=b"x")
        s3.put_object(Bucket=bucket, Key=f"here/{number}", Body=b"x")
    assert time.monotonic() - began < 10
    assert {short(record)[1] for record in hook.told(bucket, 20)} == {f"here/{number}" for number in range(20)}
    # A bucket that is emptied goes, and with it what nobody was told.
    keys = [{"Key": f"{where}/{number}"} for where in ("away", "here") for number in range(20)]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    s3.delete_bucket(Bucket=bucket)


def test_an_event_that_was_acknowledged_survives_a_crash(box, s3, bucket, hook):
    tell(s3, bucket, {})
    hook.status = 500
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k0")
    box.process.kill()
    box.process.wait()
    hook.status = 200
    box.start()
    becomes_true(lambda: len({short(record) for record in hook.records(bucket)}) == 6)
    events = [short(record)[0] for record in hook.records(bucket) if short(record)[1] == "k0"]
    assert events[0] == "ObjectCreated:Put" and events[-1] == "ObjectRemoved:Delete"


def test_only_owners_change_who_is_told(box, s3, bucket):
    key = box.create_key("stranger", create_buckets=False)
    other = boto3.client(
        "s3", endpoint_url=box.endpoint, aws_access_key_id=key.id, aws_secret_access_key=key.secret, region_name="warren",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    with refused(403, "AccessDenied"):
        tell(other, bucket, {})
    box.command("key", "allow", key.id, bucket, "--read", "--write")
    with refused(403, "AccessDenied"):
        tell(other, bucket, {})
    assert "QueueConfigurations" not in other.get_bucket_notification_configuration(Bucket=bucket)
