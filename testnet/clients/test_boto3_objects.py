"""boto3 against the real server: objects put, read in ranges and conditions, copied and deleted."""

import hashlib
from datetime import timedelta

import boto3.s3.transfer
import pytest
from botocore.handlers import validate_bucket_name

from compare import assert_same_file, keys_in, refused
from wire import Request, exchange, send

MIB = 1 << 20


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def test_the_life_of_a_bucket(s3, bucket_name):
    s3.create_bucket(Bucket=bucket_name, CreateBucketConfiguration={"LocationConstraint": "warren"})
    with refused(409, "BucketAlreadyOwnedByYou"):
        s3.create_bucket(Bucket=bucket_name)
    assert s3.head_bucket(Bucket=bucket_name)["BucketRegion"] == "warren"
    listed = s3.list_buckets()
    assert bucket_name in [bucket["Name"] for bucket in listed["Buckets"]]
    assert listed["Owner"]["ID"]
    assert s3.get_bucket_location(Bucket=bucket_name)["LocationConstraint"] == "warren"
    s3.delete_bucket(Bucket=bucket_name)
    with refused(404, "404"):
        s3.head_bucket(Bucket=bucket_name)
    with refused(404, "NoSuchBucket"):
        s3.delete_bucket(Bucket=bucket_name)


@pytest.mark.parametrize("operation", ["get_object", "head_object", "list_objects_v2", "list_objects"])
def test_a_missing_bucket_is_named(s3, bucket_name, operation):
    more = {"Key": "k"} if operation.endswith("_object") else {}
    with refused(404, "404" if operation == "head_object" else "NoSuchBucket"):
        getattr(s3, operation)(Bucket=bucket_name, **more)


def test_a_bucket_with_an_object_stays(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    assert keys_in(s3, bucket) == ["k"]


@pytest.mark.parametrize("name", ["ab", "Upper", "under_score", "a..b", "192.168.1.1"])
def test_a_bucket_name_that_s3_forbids_is_refused(connect, name):
    unchecked = connect()
    unchecked.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    with refused(400, "InvalidBucketName"):
        unchecked.create_bucket(Bucket=name)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 65537, 4 * MIB, 4 * MIB + 1])
def test_what_was_put_is_what_get_and_head_give(s3, bucket, size):
    content = hashlib.shake_128(str(size).encode()).digest(size)
    assert s3.put_object(Bucket=bucket, Key="k", Body=content)["ETag"] == etag(content)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == content
    head = s3.head_object(Bucket=bucket, Key="k")
    for answer in (got, head):
        assert answer["ETag"] == etag(content)
        assert answer["ContentLength"] == size
        assert answer["AcceptRanges"] == "bytes"
        assert answer["ContentType"] == "binary/octet-stream"
        assert "StorageClass" not in answer


def test_headers_and_metadata_come_back(s3, bucket):
    given = {
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"one": "1", "mixed-case": "Value"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **given)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {name: head[name] for name in given} == given


def test_a_get_may_override_the_answer_headers(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/x-other", ResponseCacheControl="no-store")
    assert (got["ContentType"], got["CacheControl"]) == ("text/x-other", "no-store")


def test_metadata_over_two_kilobytes_is_refused(s3, bucket):
    with refused(400, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="k", Metadata={"big": "x" * 2100})
    assert keys_in(s3, bucket) == []


def test_an_unknown_storage_class_is_refused_and_a_known_one_accepted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", StorageClass="STANDARD")
    with refused(400, "InvalidStorageClass"):
        s3.put_object(Bucket=bucket, Key="other", StorageClass="CHEAP")
    assert keys_in(s3, bucket) == ["k"]


ODD_KEYS = [
    "plain", "with space", "plus+sign", "percent%41", "ü/ö", "e\u0301 not é", "日本語", "\U0001f600",
    "a//b", "/leading", "trailing/", ".", "..", "../up", "a/./b", "a/../b", "a", "a/b", "?query=1", "#fragment",
    "&amp;<tag>\"'", "new\nline", "tab\t", "\x01control", "~tilde", "*star", "a:b;c=d,e@f$g!h(i)[j]{k}|l\\m^n`o",
    "x" * 1024,
]  # fmt: skip


def test_every_odd_key_is_an_object_of_its_own(s3, bucket):
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert keys_in(s3, bucket) == sorted(ODD_KEYS, key=str.encode)
    for key in ODD_KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD_KEYS if key.isprintable()]})
    assert "Errors" not in answer
    for key in keys_in(s3, bucket):
        s3.delete_object(Bucket=bucket, Key=key)
    assert keys_in(s3, bucket) == []


def test_a_key_over_1024_bytes_is_refused(s3, bucket):
    with refused(400, "KeyTooLongError"):
        s3.put_object(Bucket=bucket, Key="ü" * 512 + "x")


RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=0-9", 0, 10), ("bytes=5-", 5, 10), ("bytes=-3", 7, 10), ("bytes=-99", 0, 10),
    ("bytes=8-99", 8, 10), ("bytes=9-9", 9, 10),
]  # fmt: skip


@pytest.mark.parametrize("text, start, end", RANGES)
def test_a_range_gives_exactly_its_bytes(s3, bucket, text, start, end):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {start}-{end - 1}/10"
    assert got["Body"].read() == b"0123456789"[start:end]
    assert s3.head_object(Bucket=bucket, Key="k", Range=text)["ContentLength"] == end - start


def test_a_range_across_block_borders_gives_exactly_its_bytes(s3, bucket, files):
    content = (files / "many parts.bin").read_bytes()
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    for border in (64 << 10, 4 * MIB, 8 * MIB, len(content)):
        start, end = border - 3, min(border + 3, len(content))
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{end - 1}")
        assert got["Body"].read() == content[start:end]


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_past_the_end_is_refused(s3, bucket, text):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    with refused(416, "InvalidRange") as caught:
        s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */10"


def test_any_range_of_an_empty_object_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k")
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-0")


@pytest.mark.parametrize("text", ["bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "lines=0-1", "bytes"])
def test_a_malformed_or_multiple_range_gives_the_whole(s3, bucket, text):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (200, b"0123456789")


def test_conditional_reads_answer_304_and_412(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - timedelta(hours=1), modified + timedelta(hours=1)
    at = {"Bucket": bucket, "Key": "k"}
    other = '"00000000000000000000000000000000"'

    for given in [
        {"IfMatch": tag}, {"IfMatch": "*"}, {"IfNoneMatch": other}, {"IfModifiedSince": before},
        {"IfUnmodifiedSince": after}, {"IfMatch": tag, "IfUnmodifiedSince": before},
        {"IfNoneMatch": other, "IfModifiedSince": after},
    ]:  # fmt: skip
        assert s3.get_object(**at, **given)["Body"].read() == b"x", given
    for given in [{"IfMatch": other}, {"IfUnmodifiedSince": before}]:
        with refused(412, "PreconditionFailed"):
            s3.get_object(**at, **given)
        with refused(412, "412"):
            s3.head_object(**at, **given)
    for given in [{"IfNoneMatch": tag}, {"IfNoneMatch": "*"}, {"IfNoneMatch": tag, "IfModifiedSince": before}]:
        with refused(304, "304") as caught:
            s3.get_object(**at, **given)
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == tag


def test_conditional_writes_are_decided_by_what_is_stored(s3, bucket):
    at = {"Bucket": bucket, "Key": "k"}
    with refused(404, "NoSuchKey"):
        s3.put_object(**at, Body=b"0", IfMatch='"00000000000000000000000000000000"')
    tag = s3.put_object(**at, Body=b"1", IfNoneMatch="*")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(**at, Body=b"2", IfNoneMatch="*")
    newer = s3.put_object(**at, Body=b"3", IfMatch=tag)["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(**at, Body=b"4", IfMatch=tag)
    assert s3.get_object(**at)["Body"].read() == b"3"
    s3.delete_object(**at)
    s3.put_object(**at, Body=b"5", IfNoneMatch="*")
    assert newer == etag(b"3")


def test_deleting_what_is_not_there_succeeds(s3, bucket):
    assert s3.delete_object(Bucket=bucket, Key="never was")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_many_keys_are_deleted_in_one_request(s3, bucket):
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key)
    objects = [{"Key": key} for key in [*keys, "never was"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [deleted["Key"] for deleted in answer["Deleted"]] == [*keys, "never was"]
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})


def test_more_than_1000_keys_in_one_deletion_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k0")
    objects = [{"Key": f"k{number}"} for number in range(1001)]
    with refused(400, "MalformedXML"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert keys_in(s3, bucket) == ["k0"]


def test_a_copy_takes_content_and_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from ü+1", Body=b"content", ContentType="text/x-test", Metadata={"a": "1"})
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from ü+1"})
    assert copied["CopyObjectResult"]["ETag"] == etag(b"content")
    got = s3.get_object(Bucket=bucket, Key="to")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"content", "text/x-test", {"a": "1"})


def test_a_copy_onto_itself_must_change_something(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", Metadata={"a": "1"})
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"/{bucket}/k"}
    with refused(400, "InvalidRequest"):
        s3.copy_object(**itself)
    s3.copy_object(**itself, Metadata={"b": "2"}, MetadataDirective="REPLACE")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"content", {"b": "2"})


def test_copy_conditions_and_missing_sources_are_refused(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"content")["ETag"]
    to = {"Bucket": bucket, "Key": "to"}
    with refused(404, "NoSuchKey"):
        s3.copy_object(**to, CopySource=f"{bucket}/never was")
    with refused(404, "NoSuchBucket"):
        s3.copy_object(**to, CopySource="never-was-a-bucket/k")
    for given in [{"CopySourceIfNoneMatch": tag}, {"CopySourceIfMatch": '"other"'}]:
        with refused(412, "PreconditionFailed"):
            s3.copy_object(**to, CopySource=f"{bucket}/k", **given)
    assert keys_in(s3, bucket) == ["k"]


def test_the_transfer_manager_moves_a_large_file_in_threads(connect, bucket, large_file, tmp_path):
    s3 = connect(max_pool_connections=8)
    transfer = boto3.s3.transfer.TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=8)
    s3.upload_file(str(large_file), bucket, "large", Config=transfer)
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=transfer)
    s3.download_file(bucket, "copied", str(tmp_path / "back"), Config=transfer)
    assert_same_file(large_file, tmp_path / "back")


def test_the_transfer_manager_moves_every_size(s3, bucket, files, tmp_path):
    for file in [path for path in files.rglob("*") if path.is_file()]:
        s3.upload_file(str(file), bucket, file.name)
        s3.download_file(bucket, file.name, str(tmp_path / file.name))
        assert_same_file(file, tmp_path / file.name)


def test_the_name_of_a_bucket_of_somebody_else_is_taken(server, s3, connect, bucket):
    other = connect(server.create_key(f"other-{bucket[-8:]}"))
    with refused(409, "BucketAlreadyExists"):
        other.create_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)
    assert bucket not in [listed["Name"] for listed in other.list_buckets()["Buckets"]]


def test_metadata_in_utf_8_comes_back_byte_for_byte(server, s3, bucket):
    value = "Füße, 写真 🙂"
    put = send(server, Request("PUT", f"/{bucket}/k", headers={"x-amz-meta-title": value}), b"x")
    assert put.status == 200
    # Header values have no encoding of their own: Python takes each byte for a character.
    as_bytes = s3.head_object(Bucket=bucket, Key="k")["Metadata"]["title"].encode("latin-1")
    assert as_bytes.decode() == value
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert s3.get_object(Bucket=bucket, Key="copy")["Metadata"]["title"].encode("latin-1") == as_bytes


def test_metadata_that_is_not_utf_8_is_refused(server, s3, bucket):
    signed = Request("PUT", f"/{bucket}/k", headers={"x-amz-meta-title": "?", "content-length": "1"}).signed(server)
    answer = exchange(server, signed.head().replace(b"title: ?", b"title: \xff") + b"x", "PUT")
    assert answer.status in (400, 403) and answer.code
    assert keys_in(s3, bucket) == []


def test_an_empty_object_is_copied_in_every_way(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "1"})
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert copied["CopyObjectResult"]["ETag"] == etag(b"")
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["ContentLength"], got["Body"].read(), got["Metadata"]) == (0, b"", {"a": "1"})
    at = {"Bucket": bucket, "Key": "part"}
    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
    part = s3.upload_part_copy(**at, PartNumber=1, CopySource=f"{bucket}/k")["CopyPartResult"]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.head_object(Bucket=bucket, Key="part")["ContentLength"] == 0
