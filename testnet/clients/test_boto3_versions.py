"""boto3 against the real server: versions kept, hidden by markers, listed, restored and deleted for good."""

import pytest

from compare import keys_in, refused

MIB = 1 << 20


@pytest.fixture
def versioned(s3, bucket):
    """A bucket of the test's own that keeps versions."""
    set_versioning(s3, bucket, "Enabled")
    return bucket


def set_versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def put(s3, bucket, key, content: bytes):
    return s3.put_object(Bucket=bucket, Key=key, Body=content).get("VersionId")


def read(s3, bucket, key, **version):
    return s3.get_object(Bucket=bucket, Key=key, **version)["Body"].read()


def entries(s3, bucket, **query):
    """Versions and markers of a listing, newest first within a key: key, version, whether marker, whether latest."""
    listed = s3.list_object_versions(Bucket=bucket, **query)
    found = [(entry, False) for entry in listed.get("Versions", [])]
    found += [(entry, True) for entry in listed.get("DeleteMarkers", [])]
    # boto3 parts what stands mixed in the answer; times within a key never repeat.
    found.sort(key=lambda pair: pair[0]["LastModified"], reverse=True)
    found.sort(key=lambda pair: pair[0]["Key"])
    return [(entry["Key"], entry["VersionId"], marker, entry["IsLatest"]) for entry, marker in found]


def test_versioning_is_set_and_read_back(s3, bucket):
    for status in ["Enabled", "Suspended", "Enabled"]:
        set_versioning(s3, bucket, status)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    with refused(400, "MalformedXML"):
        set_versioning(s3, bucket, "Off")
    with refused(501, "NotImplemented"):
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Suspended", "MFADelete": "Enabled"}
        )
    with refused(501, "NotImplemented"):
        s3.put_bucket_versioning(Bucket=bucket, MFA="serial 123456", VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_each_put_makes_a_version_that_can_be_read(s3, versioned):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"one", Metadata={"n": "1"})
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"second")
    assert first["VersionId"] != second["VersionId"]
    assert read(s3, versioned, "k") == b"second"
    got = s3.get_object(Bucket=versioned, Key="k", VersionId=first["VersionId"])
    assert (got["Body"].read(), got["VersionId"], got["Metadata"]) == (b"one", first["VersionId"], {"n": "1"})
    head = s3.head_object(Bucket=versioned, Key="k", VersionId=first["VersionId"])
    assert (head["ContentLength"], head["VersionId"], head["ETag"]) == (3, first["VersionId"], first["ETag"])
    assert s3.head_object(Bucket=versioned, Key="k")["VersionId"] == second["VersionId"]
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=first["VersionId"], Range="bytes=1-")["Body"].read() == b"ne"


def test_a_key_that_is_written_again_and_again_keeps_every_version(s3, versioned):
    """More than its row has room for: with 3 KB in each version that would be some three hundred."""
    padding = b"." * 3000
    versions = [put(s3, versioned, "k", b"%d" % number + padding) for number in range(600)]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": 90})
    listed = [entry for page in pages for entry in page["Versions"]]
    assert [entry["VersionId"] for entry in listed] == versions[::-1]
    assert [entry["IsLatest"] for entry in listed] == [True] + [False] * 599
    for number in range(0, 600, 37):
        assert read(s3, versioned, "k", VersionId=versions[number]) == b"%d" % number + padding
    s3.put_object_tagging(
        Bucket=versioned, Key="k", VersionId=versions[3], Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    )
    # All but a few of the oldest: what was the newest of them is what the key is then.
    gone = [{"Key": "k", "VersionId": version} for version in versions[5:]]
    deleted = s3.delete_objects(Bucket=versioned, Delete={"Objects": gone})
    assert len(deleted["Deleted"]) == len(gone) and not deleted.get("Errors")
    assert read(s3, versioned, "k") == b"4" + padding
    tags = s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=versions[3])["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}]
    assert [version for _, version, _, _ in entries(s3, versioned)] == versions[4::-1]


def test_a_version_that_never_was_is_not_found(s3, versioned):
    put(s3, versioned, "k", b"x")
    for key in ["k", "other"]:
        with refused(404, "NoSuchVersion"):
            s3.get_object(Bucket=versioned, Key=key, VersionId="0" * 32)
        with refused(404, "404"):
            s3.head_object(Bucket=versioned, Key=key, VersionId="0" * 32)
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=versioned, Key="k", VersionId="no version")


def test_a_delete_leaves_a_marker_that_hides_the_key(s3, versioned):
    version = put(s3, versioned, "k", b"kept")
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    marker = deleted["VersionId"]
    assert deleted["DeleteMarker"] is True and marker != version
    assert keys_in(s3, versioned) == []
    with refused(404, "NoSuchKey") as caught:
        s3.get_object(Bucket=versioned, Key="k")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker)
    with refused(404, "404") as caught:
        s3.head_object(Bucket=versioned, Key="k")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    for operation, code in [("get_object", "MethodNotAllowed"), ("head_object", "405")]:
        with refused(405, code) as caught:
            getattr(s3, operation)(Bucket=versioned, Key="k", VersionId=marker)
        headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert (headers["x-amz-delete-marker"], headers["allow"]) == ("true", "DELETE")
        assert headers["last-modified"].endswith("GMT")
    assert read(s3, versioned, "k", VersionId=version) == b"kept"
    assert entries(s3, versioned) == [("k", marker, True, True), ("k", version, False, False)]


def test_removing_the_marker_brings_the_object_back(s3, versioned):
    version = put(s3, versioned, "k", b"kept")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    removed = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    assert (removed["DeleteMarker"], removed["VersionId"]) == (True, marker)
    assert read(s3, versioned, "k") == b"kept"
    removed = s3.delete_object(Bucket=versioned, Key="k", VersionId=version)
    assert removed["VersionId"] == version and "DeleteMarker" not in removed
    with refused(404, "NoSuchVersion"):
        s3.get_object(Bucket=versioned, Key="k", VersionId=version)
    # What is not there is deleted without a word.
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=version)["VersionId"] == version
    assert entries(s3, versioned) == []


def test_markers_can_be_stacked_and_deleting_what_never_was_leaves_one(s3, versioned):
    markers = [s3.delete_object(Bucket=versioned, Key="never")["VersionId"] for _ in range(2)]
    assert entries(s3, versioned) == [("never", markers[1], True, True), ("never", markers[0], True, False)]


def test_what_stood_there_before_versioning_is_kept_as_null(s3, bucket):
    assert put(s3, bucket, "k", b"old") is None
    assert "VersionId" not in s3.head_object(Bucket=bucket, Key="k")
    set_versioning(s3, bucket, "Enabled")
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    version = put(s3, bucket, "k", b"new")
    assert read(s3, bucket, "k", VersionId="null") == b"old"
    assert entries(s3, bucket) == [("k", version, False, True), ("k", "null", False, False)]
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
    assert entries(s3, bucket) == [("k", version, False, True)]


def test_where_versioning_is_suspended_null_replaces_null(s3, versioned):
    kept = put(s3, versioned, "k", b"kept")
    set_versioning(s3, versioned, "Suspended")
    for content in [b"one", b"two"]:
        assert put(s3, versioned, "k", content) == "null"
    assert entries(s3, versioned) == [("k", "null", False, True), ("k", kept, False, False)]
    assert read(s3, versioned, "k", VersionId="null") == b"two"
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert (deleted["VersionId"], deleted["DeleteMarker"]) == ("null", True)
    assert entries(s3, versioned) == [("k", "null", True, True), ("k", kept, False, False)]
    s3.delete_object(Bucket=versioned, Key="k", VersionId="null")
    assert read(s3, versioned, "k") == b"kept"


def test_a_bucket_with_versions_or_markers_is_not_empty(s3, versioned):
    version = put(s3, versioned, "k", b"x")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    for left in [version, marker]:
        with refused(409, "BucketNotEmpty"):
            s3.delete_bucket(Bucket=versioned)
        s3.delete_object(Bucket=versioned, Key="k", VersionId=left)
    s3.delete_bucket(Bucket=versioned)


def test_many_versions_and_markers_are_deleted_in_one_request(s3, versioned):
    versions = [put(s3, versioned, "k", bytes([n])) for n in range(3)]
    hidden = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}, {"Key": "never"}]})["Deleted"]
    assert all(entry["DeleteMarker"] and entry["DeleteMarkerVersionId"] for entry in hidden)
    assert all("VersionId" not in entry for entry in hidden)
    marker = next(entry["DeleteMarkerVersionId"] for entry in hidden if entry["Key"] == "k")
    objects = [{"Key": "k", "VersionId": version} for version in [versions[0], versions[2], marker]]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [*objects, {"Key": "k", "VersionId": "bad"}]})
    deleted = {entry["VersionId"]: entry for entry in answer["Deleted"]}
    assert set(deleted) == {versions[0], versions[2], marker}
    assert (deleted[marker]["DeleteMarker"], deleted[marker]["DeleteMarkerVersionId"]) == (True, marker)
    assert "DeleteMarker" not in deleted[versions[0]]
    assert [(error["VersionId"], error["Code"]) for error in answer["Errors"]] == [("bad", "InvalidArgument")]
    assert read(s3, versioned, "k") == bytes([1])


def test_a_copy_of_a_version_restores_it(s3, versioned):
    content = bytes(range(256)) * 1000
    old = put(s3, versioned, "k", content)
    put(s3, versioned, "k", b"new")
    copied = s3.copy_object(
        Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k", "VersionId": old}
    )
    assert copied["CopySourceVersionId"] == old and copied["VersionId"] not in (None, old)
    assert read(s3, versioned, "k") == content
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k"})
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k", "VersionId": marker})


def test_an_upload_becomes_a_version(s3, versioned):
    first = put(s3, versioned, "k", b"before")
    upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
    named = {"Bucket": versioned, "Key": "k", "UploadId": upload}
    copied = s3.upload_part_copy(
        PartNumber=2, CopySource={"Bucket": versioned, "Key": "k", "VersionId": first}, **named
    )
    assert copied["CopySourceVersionId"] == first
    stored = s3.upload_part(PartNumber=1, Body=bytes(5 * MIB), **named)
    parts = [
        {"PartNumber": 1, "ETag": stored["ETag"]},
        {"PartNumber": 2, "ETag": copied["CopyPartResult"]["ETag"]},
    ]
    completed = [s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named) for _ in range(2)]
    assert completed[0]["VersionId"] == completed[1]["VersionId"] != first
    assert read(s3, versioned, "k", VersionId=completed[0]["VersionId"]) == bytes(5 * MIB) + b"before"
    assert read(s3, versioned, "k", VersionId=first) == b"before"


def test_a_marker_counts_as_absent_for_a_conditional_put(s3, versioned):
    s3.put_object(Bucket=versioned, Key="k", Body=b"1", IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*")
    s3.delete_object(Bucket=versioned, Key="k")
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfMatch='"c4ca4238a0b923820dcc509a6f75849b"')
    s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*")
    assert read(s3, versioned, "k") == b"2"


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_a_listing_of_versions_is_whole_whatever_the_pages(s3, versioned, page):
    expected = []
    for key in ["a", "b", "c/d", "e"]:
        versions = [(key, put(s3, versioned, key, b"x"), False) for _ in range(3)]
        if key in "ae":
            versions.append((key, s3.delete_object(Bucket=versioned, Key=key)["VersionId"], True))
        expected += reversed(versions)
    listed, marker = [], {}
    while True:
        answer = s3.list_object_versions(Bucket=versioned, MaxKeys=page, **marker)
        one = [(e["Key"], e["VersionId"], False) for e in answer.get("Versions", [])]
        one += [(e["Key"], e["VersionId"], True) for e in answer.get("DeleteMarkers", [])]
        assert 1 <= len(one) <= page
        listed += one
        if not answer["IsTruncated"]:
            break
        marker = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer["NextVersionIdMarker"]}
    assert sorted(listed) == sorted(expected)
    grouped = s3.list_object_versions(Bucket=versioned, Delimiter="/", Prefix="")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["c/"]
    assert {entry["Key"] for entry in grouped["Versions"]} == {"a", "b", "e"}
    below = s3.list_object_versions(Bucket=versioned, Prefix="c/")["Versions"]
    assert [(e["Key"], e["VersionId"], False) for e in below] == expected[7:10]
    assert [entry["IsLatest"] for entry in below] == [True, False, False]
    behind = s3.list_object_versions(Bucket=versioned, KeyMarker="b")
    assert {entry["Key"] for entry in behind["Versions"]} == {"c/d", "e"}


def test_whoever_may_not_name_versions_reads_only_the_current_one(connect, server, s3, versioned):
    old = put(s3, versioned, "k", b"old")
    put(s3, versioned, "k", b"new")
    key = server.create_key("versions-reader", create_buckets=False)
    server.command("key", "allow", "versions-reader", versioned, "--read")
    reader = connect(key)
    assert read(reader, versioned, "k", VersionId=old) == b"old"
    for operation in ["delete_object", "put_object"]:
        with refused(403, "AccessDenied"):
            getattr(reader, operation)(Bucket=versioned, Key="k")
    with refused(403, "AccessDenied"):
        reader.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert reader.get_bucket_versioning(Bucket=versioned)["Status"] == "Enabled"
    assert len(reader.list_object_versions(Bucket=versioned)["Versions"]) == 2
