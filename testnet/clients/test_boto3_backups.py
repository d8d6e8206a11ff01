"""What Kopia asks of S3 for a repository that ransomware cannot erase: blobs under retention, extended by maintenance.

Follows Kopia's S3 storage (repo/blob/s3): a blob is a PUT with Content-MD5 and x-amz-object-lock headers; lists, point-in-time
views and deletes go by versions; full maintenance extends the retention of every blob that is in use.
"""

import base64
import hashlib
from datetime import datetime, timedelta, timezone

import pytest
from compare import becomes_true, refused

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def repository(s3, bucket_name):
    """A bucket as `kopia repository create s3 --retention-mode COMPLIANCE` wants it."""
    s3.create_bucket(Bucket=bucket_name, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=bucket_name)["Status"] == "Enabled"
    assert s3.get_object_lock_configuration(Bucket=bucket_name)["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"
    return bucket_name


def put_blob(s3, bucket, key, content, days=1, mode="COMPLIANCE") -> str:
    """A blob under retention; its version."""
    return s3.put_object(
        Bucket=bucket, Key=key, Body=content, ContentType="application/x-kopia",
        ContentMD5=base64.b64encode(hashlib.md5(content).digest()).decode(),
        ObjectLockMode=mode, ObjectLockRetainUntilDate=now() + days * DAY,
    )["VersionId"]


def until(s3, bucket, key, version) -> datetime:
    held = s3.get_object_retention(Bucket=bucket, Key=key, VersionId=version)["Retention"]
    assert held["Mode"] == "COMPLIANCE"
    return held["RetainUntilDate"]


def extend(s3, bucket, key, version, days, **how):
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": now() + days * DAY}
    s3.put_object_retention(Bucket=bucket, Key=key, VersionId=version, Retention=retention, **how)


def history(s3, bucket, prefix=""):
    """All versions and markers of a key as Kopia walks them: newest first, marker or not."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 3})
    found = [
        (entry["Key"], entry["LastModified"], entry["IsLatest"], kind == "DeleteMarkers", entry["VersionId"])
        for page in pages for kind in ("Versions", "DeleteMarkers") for entry in page.get(kind, [])
    ]
    return sorted(found, key=lambda entry: (entry[0], -entry[1].timestamp()))


def test_a_repository_survives_whoever_holds_its_key(s3, repository):
    blobs = {f"p{number:02}": put_blob(s3, repository, f"p{number:02}", bytes([number]) * 5000) for number in range(8)}
    format_blob = put_blob(s3, repository, "kopia.repository", b"{}")

    # What a thief with the key can do: hide every blob, overwrite it, and try to erase what is below.
    for key, version in blobs.items():
        marker = s3.delete_object(Bucket=repository, Key=key)
        assert marker["DeleteMarker"]
        with refused(403, "AccessDenied"):
            s3.delete_object(Bucket=repository, Key=key, VersionId=version)
        with refused(403, "AccessDenied"):
            s3.delete_object(Bucket=repository, Key=key, VersionId=version, BypassGovernanceRetention=True)
        with refused(403, "AccessDenied"):
            extend(s3, repository, key, version, 0.5, BypassGovernanceRetention=True)
    put_blob(s3, repository, "kopia.repository", b"encrypted by somebody else")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=repository)
    with refused(409, "InvalidBucketState"):
        s3.put_bucket_versioning(Bucket=repository, VersioningConfiguration={"Status": "Suspended"})
    erased = s3.delete_objects(
        Bucket=repository, Delete={"Objects": [{"Key": key, "VersionId": version} for key, version in blobs.items()]}
    )
    assert {error["Code"] for error in erased["Errors"]} == {"AccessDenied"} and len(erased["Errors"]) == len(blobs)

    # `kopia repository connect s3 --point-in-time`: the newest version of each key that is older, if it is no marker.
    for key, version in blobs.items():
        assert [entry[3] for entry in history(s3, repository, key)] == [True, False]
        content = s3.get_object(Bucket=repository, Key=key, VersionId=version)["Body"].read()
        assert content == bytes([int(key[1:])]) * 5000
    assert s3.get_object(Bucket=repository, Key="kopia.repository", VersionId=format_blob)["Body"].read() == b"{}"
    # And undone: without its marker a blob is there again.
    for key in blobs:
        [marker] = [entry[4] for entry in history(s3, repository, key) if entry[3]]
        s3.delete_object(Bucket=repository, Key=key, VersionId=marker)
        assert s3.head_object(Bucket=repository, Key=key)["VersionId"] == blobs[key]


def test_full_maintenance_extends_what_is_in_use_and_nothing_shortens_it(s3, repository):
    blobs = {key: put_blob(s3, repository, key, b"x", days=1) for key in ("p1", "q1", "x1")}
    for key, version in blobs.items():
        before = until(s3, repository, key, version)
        extend(s3, repository, key, version, 30)
        after = until(s3, repository, key, version)
        assert 28 * DAY < after - before < 30 * DAY
        with refused(403, "AccessDenied"):
            extend(s3, repository, key, version, 2)
        with refused(403, "AccessDenied"):
            s3.put_object_retention(
                Bucket=repository, Key=key, VersionId=version, BypassGovernanceRetention=True,
                Retention={"Mode": "GOVERNANCE", "RetainUntilDate": now() + 60 * DAY},
            )
        assert until(s3, repository, key, version) == after
        head = s3.head_object(Bucket=repository, Key=key)
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", after)


def test_maintenance_removes_for_good_what_no_snapshot_needs_once_it_is_free(s3, repository):
    # Kopia deletes blobs by their markers and lets lifecycle rules erase what is old.
    free = s3.put_object(
        Bucket=repository, Key="p-free", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=now() + DAY
    )["VersionId"]
    with refused(403, "AccessDenied"):
        s3.delete_object(Bucket=repository, Key="p-free", VersionId=free)
    s3.delete_object(Bucket=repository, Key="p-free", VersionId=free, BypassGovernanceRetention=True)
    assert history(s3, repository, "p-free") == []
    held = put_blob(s3, repository, "p-held", b"x")
    for key in ("p-held", "p-free"):
        s3.delete_object(Bucket=repository, Key=key)
    rule = {"Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}}
    s3.put_bucket_lifecycle_configuration(Bucket=repository, LifecycleConfiguration={"Rules": [rule]})
    # A marker with nothing below it goes by itself; one that hides a version under retention stays, and so does that.
    becomes_true(lambda: history(s3, repository, "p-free") == [])
    assert [(entry[3], entry[4] == held) for entry in history(s3, repository, "p-held")] == [(True, False), (False, True)]


def test_a_blob_that_is_damaged_on_the_way_is_not_stored(s3, repository):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with refused(400, "BadDigest"):
        s3.put_object(
            Bucket=repository, Key="p", Body=b"x", ContentMD5=wrong,
            ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=now() + DAY,
        )
    assert history(s3, repository) == []


def test_a_retention_without_lock_or_in_the_past_is_refused(s3, repository):
    unlocked = f"{repository}-unlocked"
    s3.create_bucket(Bucket=unlocked)
    with refused(400, "InvalidRequest"):
        put_blob(s3, unlocked, "p", b"x")
    with refused(400, "InvalidArgument"):
        put_blob(s3, repository, "p", b"x", days=-1)
    assert history(s3, repository) == []
