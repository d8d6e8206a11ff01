"""boto3 against the real server: the five checksums, whole and composite, right and wrong, and Content-MD5."""

import base64
import hashlib

import pytest
from awscrt import checksums

from compare import keys_in, refused
from wire import Request, exchange

MIB = 1 << 20


def _big_endian(number: int, length: int) -> bytes:
    return number.to_bytes(length, "big")


DIGESTS = {
    "CRC32": lambda content: _big_endian(checksums.crc32(content), 4),
    "CRC32C": lambda content: _big_endian(checksums.crc32c(content), 4),
    "CRC64NVME": lambda content: _big_endian(checksums.crc64nvme(content), 8),
    "SHA1": lambda content: hashlib.sha1(content).digest(),
    "SHA256": lambda content: hashlib.sha256(content).digest(),
}


def text(algorithm: str, content: bytes) -> str:
    return base64.b64encode(DIGESTS[algorithm](content)).decode()


@pytest.fixture(params=DIGESTS)
def algorithm(request):
    return request.param


@pytest.fixture
def quiet(connect):
    """A client that adds no checksum of its own."""
    return connect(request_checksum_calculation="when_required", response_checksum_validation="when_required")


def test_a_checksum_computed_by_the_client_is_kept(s3, bucket, algorithm):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"checked", ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    for answer in (put, got, head):
        assert answer[f"Checksum{algorithm}"] == text(algorithm, b"checked")
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert f"Checksum{algorithm}" not in s3.head_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"checked"


def test_a_checksum_in_a_header_is_checked(quiet, bucket, algorithm):
    quiet.put_object(Bucket=bucket, Key="right", Body=b"a", **{f"Checksum{algorithm}": text(algorithm, b"a")})
    with refused(400, "BadDigest"):
        quiet.put_object(Bucket=bucket, Key="wrong", Body=b"b", **{f"Checksum{algorithm}": text(algorithm, b"a")})
    with refused(400, "InvalidRequest"):
        quiet.put_object(Bucket=bucket, Key="malformed", Body=b"b", **{f"Checksum{algorithm}": "AAAA!"})
    assert keys_in(quiet, bucket) == ["right"]


def test_a_listing_names_the_algorithm(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="k", Body=b"checked", ChecksumAlgorithm=algorithm)
    (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert entry["ChecksumAlgorithm"] == [algorithm]


MODES = [
    ("CRC32", "COMPOSITE"), ("CRC32C", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"),
    ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
]  # fmt: skip


@pytest.mark.parametrize("algorithm, mode", MODES)
def test_a_multipart_upload_has_a_checksum_of_the_whole_or_of_its_parts(s3, bucket, algorithm, mode):
    parts = [hashlib.shake_128(b"1").digest(5 * MIB), b"the end"]
    at = {"Bucket": bucket, "Key": "k"}
    created = s3.create_multipart_upload(**at, ChecksumAlgorithm=algorithm, ChecksumType=mode)
    assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == (algorithm, mode)
    this = {**at, "UploadId": created["UploadId"]}
    name = f"Checksum{algorithm}"
    sent = []
    for number, content in enumerate(parts, 1):
        part = s3.upload_part(**this, PartNumber=number, Body=content, ChecksumAlgorithm=algorithm)
        assert part[name] == text(algorithm, content)
        sent.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    assert [part[name] for part in s3.list_parts(**this)["Parts"]] == [part[name] for part in sent]

    done = s3.complete_multipart_upload(**this, MultipartUpload={"Parts": sent}, ChecksumType=mode)
    if mode == "COMPOSITE":
        expected = text(algorithm, b"".join(DIGESTS[algorithm](content) for content in parts)) + "-2"
    else:
        expected = text(algorithm, b"".join(parts))
    head = s3.head_object(**at, ChecksumMode="ENABLED")
    assert (done[name], head[name], head["ChecksumType"]) == (expected, expected, mode)
    assert s3.get_object(**at, ChecksumMode="ENABLED")["Body"].read() == b"".join(parts)


def test_a_wrong_checksum_of_a_part_or_of_the_whole_is_refused(quiet, bucket):
    at = {"Bucket": bucket, "Key": "k"}
    upload = quiet.create_multipart_upload(**at, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"]
    this = {**at, "UploadId": upload}
    with refused(400, "BadDigest"):
        quiet.upload_part(**this, PartNumber=1, Body=b"a", ChecksumCRC32=text("CRC32", b"b"))
    tag = quiet.upload_part(**this, PartNumber=1, Body=b"a", ChecksumCRC32=text("CRC32", b"a"))["ETag"]
    with refused(400, "BadDigest"):
        quiet.complete_multipart_upload(
            **this,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]},
            ChecksumCRC32=text("CRC32", b"b"),
            ChecksumType="FULL_OBJECT",
        )
    assert keys_in(quiet, bucket) == []


def test_content_md5_is_checked(quiet, bucket):
    def md5(content):
        return base64.b64encode(hashlib.md5(content).digest()).decode()

    quiet.put_object(Bucket=bucket, Key="right", Body=b"a", ContentMD5=md5(b"a"))
    with refused(400, "BadDigest"):
        quiet.put_object(Bucket=bucket, Key="wrong", Body=b"b", ContentMD5=md5(b"a"))
    with refused(400, "InvalidDigest"):
        quiet.put_object(Bucket=bucket, Key="malformed", Body=b"b", ContentMD5="not base64")
    assert keys_in(quiet, bucket) == ["right"]


def test_a_copy_keeps_the_checksum(s3, bucket, algorithm):
    s3.put_object(Bucket=bucket, Key="k", Body=b"checked", ChecksumAlgorithm=algorithm)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    head = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == text(algorithm, b"checked")


@pytest.mark.parametrize("algorithm, mode", MODES)
def test_parts_that_are_copied_have_the_checksums_of_their_upload(s3, bucket, algorithm, mode):
    parts = [hashlib.shake_128(b"1").digest(5 * MIB), b"the end"]
    # The sources have other checksums, or none that are of use.
    s3.put_object(Bucket=bucket, Key="source", Body=b"".join(parts), ChecksumAlgorithm="SHA1")
    at = {"Bucket": bucket, "Key": "k"}
    upload = s3.create_multipart_upload(**at, ChecksumAlgorithm=algorithm, ChecksumType=mode)["UploadId"]
    this, name, begin, sent = {**at, "UploadId": upload}, f"Checksum{algorithm}", 0, []
    for number, content in enumerate(parts, 1):
        span = f"bytes={begin}-{begin + len(content) - 1}"
        copied = s3.upload_part_copy(**this, PartNumber=number, CopySource=f"{bucket}/source", CopySourceRange=span)
        part = copied["CopyPartResult"]
        assert part[name] == text(algorithm, content)
        sent.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
        begin += len(content)
    assert [part[name] for part in s3.list_parts(**this)["Parts"]] == [part[name] for part in sent]
    s3.complete_multipart_upload(**this, MultipartUpload={"Parts": sent}, ChecksumType=mode)
    if mode == "COMPOSITE":
        expected = text(algorithm, b"".join(DIGESTS[algorithm](content) for content in parts)) + "-2"
    else:
        expected = text(algorithm, b"".join(parts))
    head = s3.head_object(**at, ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (expected, mode)


@pytest.mark.parametrize(
    "algorithm, mode", [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")]
)
def test_a_checksum_that_cannot_be_over_that_is_refused(s3, bucket, algorithm, mode):
    with refused(400, "InvalidRequest"):
        s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=mode)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_checksum_in_a_trailer_is_kept_and_checked(server, s3, bucket, algorithm):
    name, content = f"x-amz-checksum-{algorithm.lower()}", b"checked" * 20_000

    def put(key, trailer):
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(content)),
            "x-amz-trailer": name,
        }
        request = Request("PUT", f"/{bucket}/{key}", headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        length = len(request.signed(server).chunks(content, trailer=trailer, sign=False))
        request.headers["content-length"] = str(length)
        signed = request.signed(server)
        return exchange(server, signed.head() + signed.chunks(content, trailer=trailer, sign=False), "PUT")

    right = text(algorithm, content)
    answer = put("right", {name: right})
    assert (answer.status, answer.headers[name]) == (200, right)
    assert s3.head_object(Bucket=bucket, Key="right", ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == right
    wrong = put("wrong", {name: text(algorithm, b"other")})
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    for trailer in ({name: "AAAA"}, {name: "no base64!"}, {}):
        assert put("malformed", trailer).status == 400
    assert keys_in(s3, bucket) == ["right"]
