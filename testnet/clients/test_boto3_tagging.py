"""boto3 against the real server: tags of stored objects and of versions."""

import pytest

from compare import refused


def tag_set(**tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def tags_of(s3, bucket, key, **version):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key, **version)["TagSet"]}


@pytest.mark.parametrize("size", [5, 300_000])
def test_tags_are_set_replaced_and_taken_away_and_the_object_stays(s3, bucket, size):
    content = bytes(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=content, Metadata={"a": "b"})
    before = s3.head_object(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket, "k") == {} and "TagCount" not in before
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="1", b="x y+z/\u00e9"))
    assert tags_of(s3, bucket, "k") == {"a": "1", "b": "x y+z/\u00e9"}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(c=""))
    assert tags_of(s3, bucket, "k") == {"c": ""}
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["TagCount"], got["ETag"], got["Metadata"]) == (1, put["ETag"], {"a": "b"})
    assert got["LastModified"] == before["LastModified"]
    assert got["Body"].read() == content
    deleted = s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(s3, bucket, "k") == {}


def test_tags_given_with_a_put_an_upload_and_a_copy(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Tagging="a=1&b=two%20words")
    assert tags_of(s3, bucket, "k") == {"a": "1", "b": "two words"}
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=f"{bucket}/k")
    assert tags_of(s3, bucket, "kept") == {"a": "1", "b": "two words"}
    s3.copy_object(Bucket=bucket, Key="new", CopySource=f"{bucket}/k", TaggingDirective="REPLACE", Tagging="c=3")
    assert tags_of(s3, bucket, "new") == {"c": "3"}
    named = {"Bucket": bucket, "Key": "upload"}
    named["UploadId"] = s3.create_multipart_upload(Tagging="d=4", **named)["UploadId"]
    part = s3.upload_part(PartNumber=1, Body=b"part", **named)
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, **named)
    assert tags_of(s3, bucket, "upload") == {"d": "4"}


def test_each_version_has_tags_of_its_own(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="v=1")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"2", Tagging="v=2")["VersionId"]
    assert s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=old, Tagging=tag_set(v="old"))["VersionId"] == old
    assert s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(v="new"))["VersionId"] == new
    assert tags_of(s3, bucket, "k", VersionId=old) == {"v": "old"}
    assert tags_of(s3, bucket, "k") == {"v": "new"}
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["VersionId"] == new
    assert s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=old)["VersionId"] == old
    assert (tags_of(s3, bucket, "k", VersionId=old), tags_of(s3, bucket, "k")) == ({}, {"v": "new"})
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    with refused(404, "NoSuchKey"):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="1"))
    with refused(405, "MethodNotAllowed"):
        s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=marker, Tagging=tag_set(a="1"))
    with refused(404, "NoSuchVersion"):
        s3.put_object_tagging(Bucket=bucket, Key="k", VersionId="0" * 32, Tagging=tag_set(a="1"))
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 2


def test_tags_beyond_the_bounds_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    eleven = {f"k{number}": "v" for number in range(11)}
    twice = {"TagSet": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}
    for tagging in [
        tag_set(**eleven),
        tag_set(**{"k" * 129: "v"}),
        tag_set(k="v" * 257),
        tag_set(**{"aws:k": "v"}),
        twice,
    ]:
        with refused(400, "InvalidTag"):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging)
    with refused(400, "InvalidTag"):
        s3.put_object(Bucket=bucket, Key="k2", Body=b"x", Tagging="&".join(f"{name}=v" for name in eleven))
    assert tags_of(s3, bucket, "k") == {"a": "1"}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(**{"k" * 128: "v" * 256}))
    with refused(404, "NoSuchKey"):
        s3.put_object_tagging(Bucket=bucket, Key="none", Tagging=tag_set(a="1"))


def test_whoever_only_reads_sees_tags_and_changes_none(s3, connect, server, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    name = f"tag-reader-{bucket[-8:]}"
    key = server.create_key(name, create_buckets=False)
    server.command("key", "allow", name, bucket, "--read")
    reader = connect(key)
    assert tags_of(reader, bucket, "k") == {"a": "1"}
    with refused(403, "AccessDenied"):
        reader.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="2"))
    with refused(403, "AccessDenied"):
        reader.delete_object_tagging(Bucket=bucket, Key="k")
