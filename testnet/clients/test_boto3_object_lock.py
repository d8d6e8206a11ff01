"""boto3 against the real server: versions that retentions and legal holds keep, whoever wants them gone."""

import json
import time
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from compare import becomes_true, refused

MIB = 1 << 20


def in_(**time):
    """A moment from now, in whole seconds."""
    return (datetime.now(timezone.utc) + timedelta(**time)).replace(microsecond=0)


@pytest.fixture
def locking(s3, bucket_name):
    """A bucket of the test's own that was created with object lock."""
    s3.create_bucket(Bucket=bucket_name, ObjectLockEnabledForBucket=True)
    return bucket_name


@pytest.fixture
def writer(connect, server, locking):
    """A client with a key that may read and write the bucket, and does not own it."""
    name = f"writer-{locking[-8:]}"
    key = server.create_key(name, create_buckets=False)
    server.command("key", "allow", name, locking, "--read", "--write")
    return connect(key)


def set_default(s3, bucket, **retention):
    configuration = {"ObjectLockEnabled": "Enabled"}
    if retention:
        configuration["Rule"] = {"DefaultRetention": retention}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)


def retain(s3, bucket, key, mode, until, **more):
    s3.put_object_retention(Bucket=bucket, Key=key, Retention={"Mode": mode, "RetainUntilDate": until}, **more)


def put(s3, bucket, key, **lock):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"kept", **lock)["VersionId"]


def test_a_bucket_created_with_object_lock_keeps_versions_for_good(s3, locking):
    assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
    configuration = s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"]
    assert configuration == {"ObjectLockEnabled": "Enabled"}
    with refused(409, "InvalidBucketState"):
        s3.put_bucket_versioning(Bucket=locking, VersioningConfiguration={"Status": "Suspended"})


def test_a_bucket_gets_object_lock_later_if_it_keeps_versions(s3, bucket):
    with refused(404, "ObjectLockConfigurationNotFoundError"):
        s3.get_object_lock_configuration(Bucket=bucket)
    with refused(409, "InvalidBucketState"):
        set_default(s3, bucket)
    put_null = s3.put_object(Bucket=bucket, Key="old", Body=b"x")
    assert "VersionId" not in put_null
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    set_default(s3, bucket, Mode="COMPLIANCE", Years=1)
    default = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert default == {"Mode": "COMPLIANCE", "Years": 1}
    set_default(s3, bucket)
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    # What stood there before can be locked as well.
    s3.put_object_legal_hold(Bucket=bucket, Key="old", VersionId="null", LegalHold={"Status": "ON"})
    with refused(403, "AccessDenied"):
        s3.delete_object(Bucket=bucket, Key="old", VersionId="null")
    s3.put_object_legal_hold(Bucket=bucket, Key="old", LegalHold={"Status": "OFF"})
    s3.delete_object(Bucket=bucket, Key="old", VersionId="null")


@pytest.mark.parametrize(
    "rule, code",
    [
        ({"Mode": "SOFT", "Days": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE"}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidArgument"),
        ({"Mode": "GOVERNANCE", "Years": 101}, "InvalidArgument"),
    ],
)
def test_a_default_retention_that_makes_no_sense_is_refused(s3, locking, rule, code):
    with refused(400, code):
        set_default(s3, locking, **rule)


def test_the_default_retention_locks_what_is_put_without_one(s3, locking):
    set_default(s3, locking, Mode="GOVERNANCE", Days=2)
    put(s3, locking, "k")
    head = s3.head_object(Bucket=locking, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert timedelta(days=1, hours=23) < head["ObjectLockRetainUntilDate"] - datetime.now(timezone.utc) <= timedelta(days=2)
    put(s3, locking, "own", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=in_(hours=1))
    until = s3.get_object_retention(Bucket=locking, Key="own")["Retention"]["RetainUntilDate"]
    assert until < in_(hours=2)
    for key in ["k", "own"]:
        version = s3.head_object(Bucket=locking, Key=key)["VersionId"]
        with refused(403, "AccessDenied"):
            s3.delete_object(Bucket=locking, Key=key, VersionId=version)
        s3.delete_object(Bucket=locking, Key=key, VersionId=version, BypassGovernanceRetention=True)


def test_a_version_in_compliance_stays_whoever_asks(s3, locking):
    until = in_(seconds=5)
    version = put(s3, locking, "k", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    marker = s3.delete_object(Bucket=locking, Key="k")
    assert marker["DeleteMarker"] is True
    for bypass in [{}, {"BypassGovernanceRetention": True}]:
        with refused(403, "AccessDenied"):
            s3.delete_object(Bucket=locking, Key="k", VersionId=version, **bypass)
        with refused(403, "AccessDenied"):
            retain(s3, locking, "k", "COMPLIANCE", until - timedelta(seconds=1), VersionId=version, **bypass)
        with refused(403, "AccessDenied"):
            retain(s3, locking, "k", "GOVERNANCE", in_(hours=1), VersionId=version, **bypass)
        with refused(403, "AccessDenied"):
            s3.put_object_retention(Bucket=locking, Key="k", VersionId=version, Retention={}, **bypass)
        answer = s3.delete_objects(
            Bucket=locking, Delete={"Objects": [{"Key": "k", "VersionId": version}]}, **bypass
        )
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    s3.delete_object(Bucket=locking, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=locking, Key="k")["Body"].read() == b"kept"
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=locking)


def test_a_retention_of_governance_is_prolonged_freely_and_shortened_by_the_owner(s3, writer, locking):
    version = put(writer, locking, "k")
    retain(writer, locking, "k", "GOVERNANCE", in_(hours=1))
    retain(writer, locking, "k", "GOVERNANCE", in_(hours=2))
    for bypass in [{}, {"BypassGovernanceRetention": True}]:
        with refused(403, "AccessDenied"):
            retain(writer, locking, "k", "GOVERNANCE", in_(minutes=30), **bypass)
        with refused(403, "AccessDenied"):
            writer.delete_object(Bucket=locking, Key="k", VersionId=version, **bypass)
    with refused(403, "AccessDenied"):
        retain(s3, locking, "k", "GOVERNANCE", in_(minutes=30))
    retain(s3, locking, "k", "GOVERNANCE", in_(minutes=30), BypassGovernanceRetention=True)
    s3.put_object_retention(Bucket=locking, Key="k", Retention={}, BypassGovernanceRetention=True)
    with refused(404, "NoSuchObjectLockConfiguration"):
        s3.get_object_retention(Bucket=locking, Key="k")
    writer.delete_object(Bucket=locking, Key="k", VersionId=version)


def test_a_legal_hold_keeps_a_version_until_it_is_lifted(s3, locking):
    version = put(s3, locking, "k", ObjectLockLegalHoldStatus="ON")
    assert s3.head_object(Bucket=locking, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    assert s3.get_object_legal_hold(Bucket=locking, Key="k")["LegalHold"]["Status"] == "ON"
    with refused(403, "AccessDenied"):
        s3.delete_object(Bucket=locking, Key="k", VersionId=version, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "OFF"})
    assert s3.get_object(Bucket=locking, Key="k")["ObjectLockLegalHoldStatus"] == "OFF"
    with refused(400, "MalformedXML"):
        s3.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "MAYBE"})
    s3.delete_object(Bucket=locking, Key="k", VersionId=version)


def test_what_was_never_locked_says_so(s3, locking):
    version = put(s3, locking, "k")
    head = s3.head_object(Bucket=locking, Key="k")
    assert not [name for name in head if name.startswith("ObjectLock")]
    for operation in ["get_object_retention", "get_object_legal_hold"]:
        with refused(404, "NoSuchObjectLockConfiguration"):
            getattr(s3, operation)(Bucket=locking, Key="k")
        with refused(404, "NoSuchKey"):
            getattr(s3, operation)(Bucket=locking, Key="none")
    marker = s3.delete_object(Bucket=locking, Key="k")["VersionId"]
    with refused(405, "MethodNotAllowed"):
        retain(s3, locking, "k", "GOVERNANCE", in_(hours=1), VersionId=marker)
    with refused(404, "NoSuchVersion"):
        retain(s3, locking, "k", "GOVERNANCE", in_(hours=1), VersionId="0" * 32)
    retain(s3, locking, "k", "GOVERNANCE", in_(hours=1), VersionId=version)


def test_a_bucket_without_object_lock_takes_no_locks(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for lock in [
        {"ObjectLockLegalHoldStatus": "ON"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_(hours=1)},
    ]:
        with refused(400, "InvalidRequest"):
            s3.put_object(Bucket=bucket, Key="k2", Body=b"x", **lock)
        with refused(400, "InvalidRequest"):
            s3.copy_object(Bucket=bucket, Key="k2", CopySource=f"{bucket}/k", **lock)
        with refused(400, "InvalidRequest"):
            s3.create_multipart_upload(Bucket=bucket, Key="k2", **lock)
    with refused(400, "InvalidRequest"):
        retain(s3, bucket, "k", "GOVERNANCE", in_(hours=1))
    with refused(400, "InvalidRequest"):
        s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
    for operation in ["get_object_retention", "get_object_legal_hold"]:
        with refused(400, "InvalidRequest"):
            getattr(s3, operation)(Bucket=bucket, Key="k")
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k2")


@pytest.mark.parametrize(
    "lock",
    [
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockRetainUntilDate": in_(hours=1)},
        {"ObjectLockMode": "SOFT", "ObjectLockRetainUntilDate": in_(hours=1)},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_(hours=-1)},
        {"ObjectLockLegalHoldStatus": "MAYBE"},
    ],
)
def test_a_lock_that_makes_no_sense_is_refused(s3, locking, lock):
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=locking, Key="k", Body=b"x", **lock)
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=locking, Key="k")


def test_a_retention_in_the_past_is_refused(s3, locking):
    put(s3, locking, "k")
    with refused(400, "InvalidArgument"):
        retain(s3, locking, "k", "GOVERNANCE", in_(hours=-1))


def test_copies_and_uploads_are_locked_as_they_are_told(s3, locking):
    until = in_(hours=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "OFF"}
    put(s3, locking, "k", **lock)
    plain = s3.copy_object(Bucket=locking, Key="plain", CopySource=f"{locking}/k")
    # The lock of the source stays with the source.
    s3.delete_object(Bucket=locking, Key="plain", VersionId=plain["VersionId"])
    s3.copy_object(Bucket=locking, Key="copy", CopySource=f"{locking}/k", **lock)
    named = {"Bucket": locking, "Key": "upload"}
    named["UploadId"] = s3.create_multipart_upload(**named, **lock)["UploadId"]
    part = s3.upload_part(PartNumber=1, Body=b"part", **named)
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, **named)
    for key in ["copy", "upload"]:
        head = s3.head_object(Bucket=locking, Key=key)
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
        assert head["ObjectLockLegalHoldStatus"] == "OFF"
        with refused(403, "AccessDenied"):
            s3.delete_object(Bucket=locking, Key=key, VersionId=head["VersionId"])


def test_whoever_only_reads_may_see_a_lock_and_change_none(s3, connect, server, locking):
    put(s3, locking, "k", ObjectLockLegalHoldStatus="ON")
    name = f"lock-reader-{locking[-8:]}"
    key = server.create_key(name, create_buckets=False)
    server.command("key", "allow", name, locking, "--read")
    reader = connect(key)
    assert reader.head_object(Bucket=locking, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    with refused(403, "AccessDenied"):
        reader.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "OFF"})
    with refused(403, "AccessDenied"):
        retain(reader, locking, "k", "GOVERNANCE", in_(hours=1))
    with refused(403, "AccessDenied"):
        set_default(reader, locking)


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_a_retention_that_is_over_keeps_nothing_any_more(s3, locking, mode):
    version = put(s3, locking, "k", ObjectLockMode=mode, ObjectLockRetainUntilDate=in_(seconds=3))
    began = time.monotonic()
    with refused(403, "AccessDenied"):
        s3.delete_object(Bucket=locking, Key="k", VersionId=version)

    def is_free():
        try:
            s3.delete_object(Bucket=locking, Key="k", VersionId=version)
        except ClientError as refusal:
            assert refusal.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    becomes_true(is_free)
    # Whole seconds are what a date has, and the first of them was under way.
    assert time.monotonic() - began > 1.5
    with refused(404, "NoSuchVersion"):
        s3.get_object(Bucket=locking, Key="k", VersionId=version)
    s3.delete_bucket(Bucket=locking)


def test_a_policy_may_let_a_key_bypass_governance(s3, server, connect, locking):
    name = f"keeper-{locking[-8:]}"
    key = server.create_key(name, create_buckets=False)
    server.command("key", "allow", name, locking, "--read", "--write")
    keeper = connect(key)

    def allow(*actions):
        statement = {
            "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::123456789012:user/{key.id}"},
            "Action": list(actions), "Resource": f"arn:aws:s3:::{locking}/free/*",
        }
        s3.put_bucket_policy(Bucket=locking, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_(hours=1)}
    free, kept = (put(s3, locking, name, **lock) for name in ("free/k", "kept/k"))
    bypass = {"BypassGovernanceRetention": True}
    with refused(403, "AccessDenied"):
        keeper.delete_object(Bucket=locking, Key="free/k", VersionId=free, **bypass)
    allow("s3:BypassGovernanceRetention")
    # Who may bypass has to say so, and may only where the policy says it.
    with refused(403, "AccessDenied"):
        keeper.delete_object(Bucket=locking, Key="free/k", VersionId=free)
    for delete in (
        lambda: keeper.delete_object(Bucket=locking, Key="kept/k", VersionId=kept, **bypass),
        lambda: retain(keeper, locking, "kept/k", "GOVERNANCE", in_(minutes=5), **bypass),
    ):
        with refused(403, "AccessDenied"):
            delete()
    retain(keeper, locking, "free/k", "GOVERNANCE", in_(minutes=5), **bypass)
    answer = keeper.delete_objects(
        Bucket=locking, **bypass,
        Delete={"Objects": [{"Key": "free/k", "VersionId": free}, {"Key": "kept/k", "VersionId": kept}]},
    )
    assert [entry["Key"] for entry in answer["Deleted"]] == ["free/k"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("kept/k", "AccessDenied")]
    # Compliance is for everybody.
    until = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": in_(seconds=2)}
    version = put(s3, locking, "free/forever", **until)
    with refused(403, "AccessDenied"):
        keeper.delete_object(Bucket=locking, Key="free/forever", VersionId=version, **bypass)


def test_a_policy_bounds_how_long_and_how_anything_is_locked(s3, writer, locking):
    def deny(action, **condition):
        return {
            "Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{locking}/*", "Condition": condition,
        }

    statements = [
        deny("s3:PutObjectRetention", NumericGreaterThan={"s3:object-lock-remaining-retention-days": "10"}),
        deny("s3:PutObjectRetention", StringEquals={"s3:object-lock-mode": "COMPLIANCE"}),
        deny("s3:PutObjectLegalHold", StringEquals={"s3:object-lock-legal-hold": "OFF"}),
        deny("s3:PutObject", DateLessThan={"s3:object-lock-retain-until-date": in_(hours=1).isoformat()}),
    ]
    s3.put_bucket_policy(Bucket=locking, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_(days=10)}
    for client in (s3, writer):
        version = put(client, locking, "k", **lock)
        retain(client, locking, "k", "GOVERNANCE", in_(days=10), VersionId=version)
        for changed in (
            {"ObjectLockRetainUntilDate": in_(days=11)},
            {"ObjectLockMode": "COMPLIANCE"},
            {"ObjectLockRetainUntilDate": in_(minutes=30)},
        ):
            with refused(403, "AccessDenied"):
                put(client, locking, "k", **{**lock, **changed})
            with refused(403, "AccessDenied"):
                client.copy_object(Bucket=locking, Key="copy", CopySource=f"{locking}/k", **{**lock, **changed})
            with refused(403, "AccessDenied"):
                client.create_multipart_upload(Bucket=locking, Key="m", **{**lock, **changed})
        for mode, until in (("GOVERNANCE", in_(days=11)), ("COMPLIANCE", in_(days=10))):
            with refused(403, "AccessDenied"):
                retain(client, locking, "k", mode, until, VersionId=version)
        client.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "ON"})
        with refused(403, "AccessDenied"):
            client.put_object_legal_hold(Bucket=locking, Key="k", LegalHold={"Status": "OFF"})
        with refused(403, "AccessDenied"):
            put(client, locking, "k", ObjectLockLegalHoldStatus="OFF")
    # What asks for no lock is not asked how long it is.
    put(writer, locking, "plain")


def test_a_policy_may_insist_on_a_lock(s3, writer, locking):
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{locking}/*",
        "Condition": {"Null": {"s3:object-lock-mode": "true"}},
    }
    s3.put_bucket_policy(Bucket=locking, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with refused(403, "AccessDenied"):
        put(writer, locking, "k")
    put(writer, locking, "k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=in_(hours=1))
