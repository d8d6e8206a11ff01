"""boto3 against the real server: buckets by other names, for everybody or for one key."""

import json

import pytest
from botocore.exceptions import ClientError
from compare import keys_in, refused


def test_a_bucket_is_found_by_its_alias(server, s3, bucket):
    alias = f"{bucket}-alias"
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    with refused(404, "NoSuchBucket"):
        s3.get_object(Bucket=alias, Key="k")
    server.command("bucket", "alias", bucket, alias)
    assert s3.get_object(Bucket=alias, Key="k")["Body"].read() == b"content"
    s3.put_object(Bucket=alias, Key="l", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="m", CopySource=f"{alias}/l")
    assert keys_in(s3, bucket) == keys_in(s3, alias) == ["k", "l", "m"]
    with refused(409, "BucketAlreadyExists"):
        s3.create_bucket(Bucket=alias)
    shown = json.loads(server.command("bucket", "info", alias, "--json"))
    assert (shown["name"], shown["aliases"]) == (bucket, [{"name": alias, "key": None}])
    with pytest.raises(AssertionError, match=f"another name of the bucket {bucket}"):
        server.command("bucket", "rm", alias)
    for key in ("k", "l", "m"):
        s3.delete_object(Bucket=bucket, Key=key)
    with refused(400, "InvalidRequest"):
        s3.delete_bucket(Bucket=alias)
    s3.head_bucket(Bucket=bucket)
    server.command("bucket", "alias", bucket, alias, "--remove")
    with refused(404, "NoSuchBucket"):
        s3.list_objects_v2(Bucket=alias)
    s3.delete_bucket(Bucket=bucket)


def test_an_alias_of_a_key_is_for_whoever_signs_with_it(connect, server, s3, bucket):
    name = f"app-{bucket[-8:]}"
    key = server.create_key(name, create_buckets=False)
    app = connect(key)
    server.command("bucket", "alias", bucket, "data-of-the-app", "--key", name)
    with pytest.raises(ClientError, match="403|AccessDenied"):
        app.put_object(Bucket="data-of-the-app", Key="k", Body=b"x")
    server.command("key", "allow", name, bucket, "--read", "--write")
    app.put_object(Bucket="data-of-the-app", Key="k", Body=b"x")
    assert keys_in(s3, bucket) == ["k"]
    assert "data-of-the-app" in [entry["Name"] for entry in app.list_buckets()["Buckets"]]
    with refused(404, "NoSuchBucket"):
        s3.get_object(Bucket="data-of-the-app", Key="k")
