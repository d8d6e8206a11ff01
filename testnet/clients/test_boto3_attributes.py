"""boto3 against the real server: GetObjectAttributes, and deletes that happen only to what is expected."""

import base64
import zlib
from datetime import timedelta

import pytest

from compare import keys_in, refused

MIB = 1 << 20
ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


def attributes(s3, bucket, key, names=ALL, **more):
    return s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=names, **more)


def test_attributes_of_a_plain_object(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm="CRC32", StorageClass="GLACIER")
    told = attributes(s3, bucket, "k")
    assert told["ETag"] == put["ETag"].strip('"')
    crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
    assert told["Checksum"] == {"ChecksumCRC32": crc, "ChecksumType": "FULL_OBJECT"}
    assert (told["ObjectSize"], told["StorageClass"]) == (5, "GLACIER")
    assert "ObjectParts" not in told and "VersionId" not in told
    assert told["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    only = attributes(s3, bucket, "k", ["ObjectSize"])
    assert only["ObjectSize"] == 5 and not {"ETag", "Checksum", "StorageClass"} & only.keys()
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert attributes(s3, bucket, "empty")["ObjectSize"] == 0


@pytest.mark.parametrize("algorithm", ["SHA256", None])
def test_attributes_of_an_upload_in_parts(connect, bucket, algorithm):
    s3 = connect(request_checksum_calculation="when_required")
    named = {"Bucket": bucket, "Key": "k"}
    checksums = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    upload = s3.create_multipart_upload(**named, **checksums)["UploadId"]
    parts = []
    for number, size in [(1, 5 * MIB), (3, 5 * MIB), (7, 10)]:
        part = s3.upload_part(PartNumber=number, Body=bytes(size), UploadId=upload, **named, **checksums)
        sums = {name: value for name, value in part.items() if name.startswith("ChecksumSHA")}
        parts.append({"PartNumber": number, "ETag": part["ETag"], **sums})
    s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **named)
    told = attributes(s3, bucket, "k")
    assert told["ETag"].endswith("-3") and told["ObjectSize"] == 10 * MIB + 10
    assert told["ObjectParts"]["TotalPartsCount"] == 3
    if algorithm is None:
        assert "Parts" not in told["ObjectParts"] and "Checksum" not in told
        return
    assert told["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert [(part["PartNumber"], part["Size"]) for part in told["ObjectParts"]["Parts"]] == [
        (1, 5 * MIB),
        (3, 5 * MIB),
        (7, 10),
    ]
    assert [part["ChecksumSHA256"] for part in told["ObjectParts"]["Parts"]] == [p["ChecksumSHA256"] for p in parts]
    page = attributes(s3, bucket, "k", MaxParts=2)["ObjectParts"]
    assert (page["IsTruncated"], page["MaxParts"], page["NextPartNumberMarker"]) == (True, 2, 3)
    rest = attributes(s3, bucket, "k", PartNumberMarker=3)["ObjectParts"]
    assert (rest["IsTruncated"], [part["PartNumber"] for part in rest["Parts"]]) == (False, [7])


def test_attributes_of_a_version_and_of_what_is_not_there(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"newer")
    told = attributes(s3, bucket, "k", VersionId=old)
    assert (told["ObjectSize"], told["VersionId"]) == (3, old)
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    with refused(404, "NoSuchKey"):
        attributes(s3, bucket, "k")
    with refused(405, "MethodNotAllowed"):
        attributes(s3, bucket, "k", VersionId=marker)
    with refused(404, "NoSuchKey"):
        attributes(s3, bucket, "none")
    with refused(400, "InvalidArgument"):
        attributes(s3, bucket, "k", ["Owner"], VersionId=old)


def test_a_delete_happens_to_what_is_expected_or_not_at_all(s3, bucket):
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"second")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    for condition in [
        {"IfMatch": first},
        {"IfMatch": '"foreign"'},
        {"IfMatchSize": 5},
        {"IfMatchLastModifiedTime": modified - timedelta(seconds=1)},
        {"IfMatch": second, "IfMatchSize": 5},
    ]:
        with refused(412, "PreconditionFailed"):
            s3.delete_object(Bucket=bucket, Key="k", **condition)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=second, IfMatchSize=6, IfMatchLastModifiedTime=modified)
    assert keys_in(s3, bucket) == []
    for condition in [{"IfMatch": second}, {"IfMatch": "*"}]:
        with refused(404, "NoSuchKey"):
            s3.delete_object(Bucket=bucket, Key="k", **condition)
    # Where there is nothing, nothing differs.
    s3.delete_object(Bucket=bucket, Key="k", IfMatchSize=6, IfMatchLastModifiedTime=modified)
    s3.put_object(Bucket=bucket, Key="k", Body=b"any")
    s3.delete_object(Bucket=bucket, Key="k", IfMatch="*")
    assert keys_in(s3, bucket) == []


def test_each_of_many_deletes_has_its_own_condition(s3, bucket):
    tags = {key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"] for key in ["a", "b", "cc", "d"]}
    modified = s3.head_object(Bucket=bucket, Key="d")["LastModified"]
    objects = [
        {"Key": "a", "ETag": tags["a"]},
        {"Key": "b", "ETag": tags["a"]},
        {"Key": "cc", "Size": 1},
        {"Key": "d", "LastModifiedTime": modified, "Size": 1},
        {"Key": "none", "ETag": tags["a"]},
    ]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert {entry["Key"] for entry in answer["Deleted"]} == {"a", "d"}
    assert {error["Key"]: error["Code"] for error in answer["Errors"]} == {
        "b": "PreconditionFailed",
        "cc": "PreconditionFailed",
        "none": "NoSuchKey",
    }
    assert keys_in(s3, bucket) == ["b", "cc"]


def test_a_conditional_delete_leaves_a_marker_where_versions_are_kept(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch='"foreign"')
    assert s3.delete_object(Bucket=bucket, Key="k", IfMatch=tag)["DeleteMarker"] is True
    with refused(404, "NoSuchKey"):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=tag)
    assert len(s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]) == 1


def test_a_copy_happens_only_if_its_destination_is_as_expected(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"source")
    copy = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/source"}
    s3.copy_object(IfNoneMatch="*", **copy)
    with refused(412, "PreconditionFailed"):
        s3.copy_object(IfNoneMatch="*", **copy)
    with refused(412, "PreconditionFailed"):
        s3.copy_object(IfMatch='"foreign"', **copy)
    s3.copy_object(IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"], **copy)
    with refused(404, "NoSuchKey"):
        s3.copy_object(IfMatch="*", **{**copy, "Key": "none"})
