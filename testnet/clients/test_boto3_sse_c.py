"""boto3 against the real server: objects sealed with keys that customers keep (SSE-C)."""

import base64
import hashlib

import pytest
from compare import refused

MIB = 1 << 20
KEY, OTHER = (bytes([byte]) * 32 for byte in b"ab")
MINE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
THEIRS = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
SOURCE = {f"CopySource{name}": value for name, value in MINE.items()}
MD5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
# As it is on the wire, for operations for which boto3 does not encode it.
ENCODED = {
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": base64.b64encode(KEY).decode(),
    "SSECustomerKeyMD5": MD5,
}


def assert_sealed(answer):
    assert (answer["SSECustomerAlgorithm"], answer["SSECustomerKeyMD5"]) == ("AES256", MD5)
    assert "ServerSideEncryption" not in answer


@pytest.mark.parametrize("size", [0, 1, 4096, MIB + 7, 5 * MIB])
def test_an_object_is_read_with_its_key_and_no_other(s3, bucket, size):
    body = bytes(number % 251 for number in range(size))
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, Metadata={"a": "b"}, **MINE)
    assert_sealed(put)
    assert put["ETag"].strip('"') != hashlib.md5(body).hexdigest()
    got = s3.get_object(Bucket=bucket, Key="k", **MINE)
    assert_sealed(got)
    assert got["Body"].read() == body and got["ETag"] == put["ETag"]
    assert_sealed(s3.head_object(Bucket=bucket, Key="k", **MINE))
    if size:
        part = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={size // 2}-", **MINE)
        assert part["Body"].read() == body[size // 2 :]
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k")
    with refused(403, "AccessDenied"):
        s3.get_object(Bucket=bucket, Key="k", **THEIRS)
    with refused(400, "400"):
        s3.head_object(Bucket=bucket, Key="k")
    with refused(403, "403"):
        s3.head_object(Bucket=bucket, Key="k", **THEIRS)
    with refused(400, "InvalidRequest"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag"])
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"], **ENCODED)
    assert attributes["ObjectSize"] == size
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["Size"], listed["ETag"]) == (size, put["ETag"])


def test_a_key_for_what_has_none_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k", **MINE)
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **SOURCE)


def test_a_key_that_is_not_whole_is_refused(s3, bucket):
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=b"short")
    with refused(400, "InvalidEncryptionAlgorithmError"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", SSECustomerAlgorithm="aws:kms", SSECustomerKey=KEY)
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **{**ENCODED, "SSECustomerKeyMD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    with refused(400, "InvalidArgument"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **MINE, ServerSideEncryption="AES256")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_all_parts_of_an_upload_have_its_key(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **MINE)
    assert_sealed(upload)
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload["UploadId"]}
    bodies = [b"x" * (5 * MIB), b"the end"]
    for wrong in ({}, THEIRS):
        with refused(400, "InvalidRequest"):
            s3.upload_part(**part, PartNumber=1, Body=b"x", **wrong)
    parts = []
    for number, body in enumerate(bodies, 1):
        told = s3.upload_part(**part, PartNumber=number, Body=body, **MINE)
        assert_sealed(told)
        parts.append({"ETag": told["ETag"], "PartNumber": number})
    with refused(400, "InvalidRequest"):
        s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts}, **THEIRS)
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts}, **MINE)
    assert s3.get_object(Bucket=bucket, Key="m", **MINE)["Body"].read() == b"".join(bodies)
    last = s3.get_object(Bucket=bucket, Key="m", PartNumber=2, **MINE)
    assert last["Body"].read() == bodies[1]
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="m", PartNumber=2)
    plain = s3.create_multipart_upload(Bucket=bucket, Key="p")["UploadId"]
    with refused(400, "InvalidRequest"):
        s3.upload_part(Bucket=bucket, Key="p", UploadId=plain, PartNumber=1, Body=b"x", **MINE)


def test_a_copy_is_sealed_with_the_key_it_is_given(s3, bucket):
    body = b"y" * (MIB + 1)
    s3.put_object(Bucket=bucket, Key="k", Body=body, **MINE)
    source = f"{bucket}/k"
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=source)
    wrong = {f"CopySource{name}": value for name, value in THEIRS.items()}
    with refused(403, "AccessDenied"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource=source, **wrong)
    for name, to in (("same", MINE), ("other", THEIRS), ("plain", {})):
        s3.copy_object(Bucket=bucket, Key=name, CopySource=source, **SOURCE, **to)
        assert s3.get_object(Bucket=bucket, Key=name, **to)["Body"].read() == body
        if to:
            with refused(400, "InvalidRequest"):
                s3.get_object(Bucket=bucket, Key=name)
    with refused(403, "AccessDenied"):
        s3.get_object(Bucket=bucket, Key="other", **MINE)
    # Giving an object another key changes it.
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, **SOURCE, **THEIRS)
    assert s3.get_object(Bucket=bucket, Key="k", **THEIRS)["Body"].read() == body

    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **MINE)["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    same = f"{bucket}/same"
    with refused(400, "InvalidRequest"):
        s3.upload_part_copy(**part, PartNumber=1, CopySource=same, **MINE)
    tag = s3.upload_part_copy(**part, PartNumber=1, CopySource=same, **SOURCE, **MINE)["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]})
    assert s3.get_object(Bucket=bucket, Key="m", **MINE)["Body"].read() == body


def test_tags_and_deletes_need_no_key(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **MINE)
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert s3.get_object(Bucket=bucket, Key="k", **MINE)["Body"].read() == b"x"
    s3.delete_object(Bucket=bucket, Key="k")
