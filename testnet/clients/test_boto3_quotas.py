"""boto3 against the real server: how much a bucket may hold, as `warren bucket quota` and `warren key quota` have it."""

import json
import time

import pytest
from botocore.exceptions import ClientError
from compare import refused
from wire import Request
from wire import connect as connect_to

MIB = 1 << 20


def retrying(put):
    """Puts as soon as what was deleted is seen to be gone."""
    for _ in range(100):
        try:
            return put()
        except ClientError as refusal:
            assert refusal.response["Error"]["Code"] == "QuotaExceeded"
            time.sleep(0.05)
    return put()


@pytest.fixture
def bounded(server, bucket):
    """Bounds the bucket."""
    return lambda *bounds: server.command("bucket", "quota", bucket, *bounds)


def test_what_exceeds_the_quota_of_a_bucket_is_refused(s3, bucket, bounded, server):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 600)
    bounded("--max-size", "1kB", "--max-objects", "3")
    with refused(403, "QuotaExceeded") as caught:
        s3.put_object(Bucket=bucket, Key="b", Body=b"x" * 401)
    assert "1000 bytes and 3 objects; 600 bytes in 1 objects" in caught.value.response["Error"]["Message"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"x" * 400)
    with refused(403, "QuotaExceeded"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b")
    # The same size again takes the place of what is there.
    s3.put_object(Bucket=bucket, Key="b", Body=b"y" * 400)
    shown = json.loads(server.command("--json", "bucket", "info", bucket))
    assert shown["quota"] == {"max_bytes": 1000, "max_objects": 3}
    assert shown["holds"]["objects"] == 2
    s3.delete_object(Bucket=bucket, Key="a")
    # A count that took long is good for a while.
    retrying(lambda: s3.put_object(Bucket=bucket, Key="c", Body=b"x" * 600))
    bounded("--none")
    s3.put_object(Bucket=bucket, Key="d", Body=b"x" * 5000)


def test_parts_of_an_upload_count_before_it_is_complete(s3, bucket, bounded):
    bounded("--max-size", "6MiB")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    tag = s3.upload_part(**part, PartNumber=1, Body=b"x" * (5 * MIB))["ETag"]
    with refused(403, "QuotaExceeded"):
        s3.upload_part(**part, PartNumber=2, Body=b"x" * (2 * MIB))
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]})
    with refused(403, "QuotaExceeded"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * (2 * MIB))
    bounded("--max-objects", "1")
    with refused(403, "QuotaExceeded"):
        s3.create_multipart_upload(Bucket=bucket, Key="n")


def test_the_quota_of_a_key_is_for_all_its_buckets(connect, server, bucket_name):
    name = f"bounded-{bucket_name[-8:]}"
    key = server.create_key(name)
    client = connect(key)
    buckets = [f"{bucket_name}-{number}" for number in range(2)]
    for bucket in buckets:
        client.create_bucket(Bucket=bucket)
    server.command("key", "quota", name, "--max-objects", "2")
    for bucket in buckets:
        client.put_object(Bucket=bucket, Key="k", Body=b"x")
    for bucket in buckets:
        with refused(403, "QuotaExceeded"):
            client.put_object(Bucket=bucket, Key="l", Body=b"x")
    server.command("key", "quota", name, "--none")
    client.put_object(Bucket=buckets[0], Key="l", Body=b"x")


def test_what_a_quota_refuses_is_not_even_asked_for(server, s3, bucket, bounded):
    bounded("--max-size", "1kB")
    for size, begins in ((1000, b"HTTP/1.1 100"), (1001, b"HTTP/1.1 403")):
        headers = {"content-length": str(size), "expect": "100-continue"}
        with connect_to(server) as connection:
            connection.sendall(Request("PUT", f"/{bucket}/k", headers=headers).signed(server).head())
            said = connection.recv(4096)
            assert said.startswith(begins), said
            assert (b"QuotaExceeded" in said) == (size > 1000)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
