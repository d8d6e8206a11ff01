"""Buckets addressed by host name, as `s3.domains` permits: written by hand, and by boto3 with virtual addressing."""

import hashlib
import urllib.request

import pytest

from compare import keys_in, refused
from warren_process import DOMAIN
from wire import Request, send


@pytest.fixture
def to(server, bucket):
    """Sends a signed request to this host."""
    if not hasattr(server, "state"):
        pytest.skip("only for a server of our own, which knows the domain")

    def go(method, host, path, body=b"", **given):
        return send(server, Request(method, path, headers={"host": host}, **given), body)

    return go


@pytest.mark.parametrize("port", ["", ":80", ":3900"])
def test_a_bucket_is_found_below_the_domain(to, s3, bucket, port):
    host = f"{bucket}.{DOMAIN}{port}"
    assert to("PUT", host, "/folder/k ü+", b"content").status == 200
    assert keys_in(s3, bucket) == ["folder/k ü+"]
    assert to("GET", host, "/folder/k ü+").body == b"content"
    assert b"<Key>folder/k" in to("GET", host, "/", query=[("list-type", "2")]).body
    assert to("DELETE", host, "/folder/k ü+").status == 204


def test_the_domain_itself_and_foreign_names_are_addressed_by_path(to, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    for host in (DOMAIN, f"{DOMAIN}:3900", "elsewhere.example"):
        assert to("GET", host, f"/{bucket}/k").body == b"content"
        assert f"<Name>{bucket}</Name>".encode() in to("GET", host, "/").body


def test_the_host_is_part_of_what_is_signed(server, to, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    answer = send(server, Request("GET", "/k", headers={"host": f"{bucket}.{DOMAIN}"}, unsigned=("host",)))
    assert (answer.status, answer.code) in [(403, "AccessDenied"), (403, "SignatureDoesNotMatch")]


def test_a_bucket_that_is_not_there_is_named(to):
    answer = to("GET", f"never-was-a-bucket.{DOMAIN}", "/k")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")
    assert b"<BucketName>never-was-a-bucket</BucketName>" in answer.body


@pytest.fixture
def virtual(server, connect, bucket):
    """A boto3 client that puts the bucket in front of the domain; the server stands in for DNS, as its proxy."""
    if not hasattr(server, "state"):
        pytest.skip("only for a server of our own, which knows the domain")
    return connect(
        endpoint=f"http://{DOMAIN}", proxies={"http": server.endpoint}, s3={"addressing_style": "virtual"}
    )


def test_boto3_puts_lists_copies_and_deletes(virtual, bucket):
    seen = []
    virtual.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    content = hashlib.shake_128(b"virtual").digest(300_000)
    virtual.put_object(Bucket=bucket, Key="a b/ü+", Body=content)
    assert virtual.get_object(Bucket=bucket, Key="a b/ü+")["Body"].read() == content
    virtual.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b/ü+"})
    assert keys_in(virtual, bucket) == ["a b/ü+", "copy"]
    virtual.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a b/ü+"}, {"Key": "copy"}]})
    assert keys_in(virtual, bucket) == []
    with refused(404, "NoSuchKey"):
        virtual.get_object(Bucket=bucket, Key="copy")
    assert seen and all(url.startswith(f"http://{bucket}.{DOMAIN}/") for url in seen)


def test_a_link_by_host_name_downloads(server, virtual, bucket):
    virtual.put_object(Bucket=bucket, Key="k", Body=b"shared")
    link = virtual.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    assert link.startswith(f"http://{bucket}.{DOMAIN}/k?")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": server.endpoint}))
    assert opener.open(link, timeout=10).read() == b"shared"
