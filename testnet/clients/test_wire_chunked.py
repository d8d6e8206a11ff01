"""Bodies in all four aws-chunked forms, whole and damaged; what is damaged is never stored."""

import pytest

from compare import keys_in
from wire import Request, crc32, exchange, send

FORMS = {
    "signed": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "signed with trailer": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "unsigned with trailer": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
}
CONTENT = bytes(range(256)) * 600


class Put:
    """One chunked PUT: its signed head and its body, to be damaged before it is sent."""

    def __init__(self, server, bucket, form, content=CONTENT, size=64 * 1024, **headers):
        self.server = server
        self.sign = form != "unsigned with trailer"
        trailer = {"x-amz-checksum-crc32": crc32(content)} if "trailer" in form else None
        given = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(content)), **headers}
        if trailer:
            given["x-amz-trailer"] = "x-amz-checksum-crc32"
        # The length of the encoded body depends on nothing that the signature changes.
        length = len(Request("PUT", "/").signed(server).chunks(content, size, trailer, self.sign))
        given["content-length"] = str(length)
        self.signed = Request("PUT", f"/{bucket}/k", headers=given, payload=FORMS[form]).signed(server)
        self.body = self.signed.chunks(content, size, trailer, self.sign)

    def send(self):
        return exchange(self.server, self.signed.head() + self.body, "PUT")


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.mark.parametrize("size", [8 * 1024, 64 * 1024, len(CONTENT)])
def test_a_chunked_body_is_stored_decoded(server, s3, bucket, form, size):
    assert Put(server, bucket, form, size=size).send().status == 200
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == CONTENT
    assert "ContentEncoding" not in got


def test_one_chunk_of_many_megabytes_is_streamed(server, s3, bucket, form):
    content = CONTENT * 200
    assert Put(server, bucket, form, content, size=len(content)).send().status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == len(content)


def test_an_empty_chunked_body_is_an_empty_object(server, s3, bucket, form):
    assert Put(server, bucket, form, b"").send().status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_other_content_encodings_are_kept(server, s3, bucket, form):
    assert Put(server, bucket, form, **{"content-encoding": "aws-chunked,gzip"}).send().status == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip"


def test_a_flipped_byte_is_never_stored(server, s3, bucket, form):
    put = Put(server, bucket, form)
    middle = len(put.body) // 2
    put.body = put.body[:middle] + bytes([put.body[middle] ^ 1]) + put.body[middle + 1 :]
    answer = put.send()
    expected = [(400, "BadDigest")] if form == "unsigned with trailer" else [(403, "SignatureDoesNotMatch")]
    assert (answer.status, answer.code) in expected
    assert keys_in(s3, bucket) == []


def test_a_decoded_length_that_is_not_the_real_one_is_refused(server, s3, bucket, form):
    for wrong in (len(CONTENT) - 1, len(CONTENT) + 1):
        answer = Put(server, bucket, form, **{"x-amz-decoded-content-length": str(wrong)}).send()
        assert (answer.status, answer.code) == (400, "IncompleteBody")
    assert keys_in(s3, bucket) == []


def test_a_body_without_its_final_chunk_is_refused(server, s3, bucket, form):
    put = Put(server, bucket, form)
    end = put.body.rindex(b"\r\n0") + 2
    put.body = put.body[:end]
    put.signed.headers["content-length"] = str(len(put.body))
    signed = Request("PUT", f"/{bucket}/k", headers=_own(put.signed.headers), payload=FORMS[form]).signed(server)
    trailer = {"x-amz-checksum-crc32": crc32(CONTENT)} if "trailer" in form else None
    body = signed.chunks(CONTENT, 64 * 1024, trailer, put.sign)
    answer = exchange(server, signed.head() + body[:end], "PUT")
    assert (answer.status, answer.code) == (400, "IncompleteBody")
    assert keys_in(s3, bucket) == []


def _own(headers):
    return {name: value for name, value in headers.items() if name not in ("authorization", "x-amz-date", "host")}


@pytest.mark.parametrize("garbage", [b"zz\r\nabc\r\n0\r\n\r\n", b"3;chunk-signature=\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n", b"f" * 40])
def test_garbage_between_chunks_is_refused(server, s3, bucket, form, garbage):
    put = Put(server, bucket, form, b"abc")
    signed = Request(
        "PUT", f"/{bucket}/k", headers={**_own(put.signed.headers), "content-length": str(len(garbage))}, payload=FORMS[form]
    ).signed(server)
    answer = exchange(server, signed.head() + garbage, "PUT")
    assert answer.status in (400, 403) and answer.code
    assert keys_in(s3, bucket) == []


def test_a_trailer_that_is_not_the_checksum_is_refused(server, s3, bucket):
    put = Put(server, bucket, "unsigned with trailer")
    put.body = put.body.replace(crc32(CONTENT).encode(), crc32(b"other").encode())
    answer = put.send()
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert keys_in(s3, bucket) == []


def test_an_unsigned_payload_of_known_length_is_accepted(server, s3, bucket):
    assert send(server, Request("PUT", f"/{bucket}/k"), CONTENT).status == 200
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == CONTENT
