"""boto3 and curl over HTTPS, on the port that speaks HTTP as well, trusting what `warren net ca` prints."""

import json
import socket
import ssl

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from compare import refused
from conftest import MIB
from warren_process import DOMAIN, RunningElsewhere


@pytest.fixture(scope="module")
def trusted(server, tmp_path_factory):
    """The certificate of the mesh's authority, as a file."""
    if isinstance(server, RunningElsewhere):
        pytest.skip("only the box itself can tell what to trust")
    path = tmp_path_factory.mktemp("trust") / "warren-ca.pem"
    path.write_text(server.command("net", "ca"))
    return str(path)


def client(server, trusted, host="127.0.0.1", scheme="https", style="path"):
    return boto3.client(
        "s3", endpoint_url=f"{scheme}://{host}:{server.port}", verify=trusted,
        aws_access_key_id=server.key.id, aws_secret_access_key=server.key.secret, region_name="warren",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": style}),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_objects_go_both_ways_by_address_and_by_name(server, trusted, bucket, host):
    s3 = client(server, trusted, host)
    body = bytes(range(256)) * 4 * 1024
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    # The same port over HTTP, and the same object.
    plain = client(server, trusted, host, scheme="http")
    assert plain.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_a_large_object_goes_up_in_parts_and_comes_down_whole(server, trusted, bucket, files, tmp_path):
    s3 = client(server, trusted)
    source = next(files.rglob("many parts.bin"))
    s3.upload_file(str(source), bucket, "large")
    s3.download_file(bucket, "large", str(tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == source.read_bytes()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * (5 * MIB))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert done["Location"].startswith(f"https://127.0.0.1:{server.port}/"), done["Location"]


def test_a_presigned_link_works_over_https(server, trusted, bucket, program):
    s3 = client(server, trusted)
    s3.put_object(Bucket=bucket, Key="k", Body=b"linked")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert link.startswith("https://")
    curl = program("curl", "--silent", "--show-error", "--fail", "--cacert", trusted)
    assert curl(link) == b"linked"


def test_buckets_are_found_below_names_that_the_certificate_covers(server, trusted, bucket, program):
    client(server, trusted).put_object(Bucket=bucket, Key="k", Body=b"x")
    host = f"{bucket}.{DOMAIN}"
    curl = program("curl", "--silent", "--show-error", "--cacert", trusted, "--resolve", f"{host}:{server.port}:127.0.0.1")
    # Known by that name, though nobody without a key may read.
    assert b"AccessDenied" in curl(f"https://{host}:{server.port}/k")


def test_a_policy_that_insists_on_tls_lets_pass_what_comes_by_it(server, trusted, bucket):
    s3, plain = client(server, trusted), client(server, trusted, scheme="http")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with refused(403, "AccessDenied"):
        plain.get_object(Bucket=bucket, Key="k")


def test_a_policy_tells_versions_of_tls_apart(server, trusted, bucket, program):
    s3, plain = client(server, trusted), client(server, trusted, scheme="http")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    curl = program("curl", "--silent", "--show-error", "--cacert", trusted)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})

    def read(version):
        return curl("--tls-max", version, f"--tlsv{version}", link)

    def deny(**condition):
        statement = {
            "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": condition,
        }
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    assert read("1.2") == read("1.3") == b"x"
    deny(NumericLessThan={"s3:TlsVersion": 1.3})
    assert b"AccessDenied" in read("1.2") and read("1.3") == b"x"
    # What has no version is not less than any, and has to be denied by its lack of one.
    assert plain.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    deny(NumericGreaterThan={"s3:TlsVersion": 1.2})
    assert read("1.2") == b"x" and b"AccessDenied" in read("1.3")
    deny(Null={"s3:TlsVersion": True})
    assert read("1.2") == read("1.3") == b"x"
    with refused(403, "AccessDenied"):
        plain.get_object(Bucket=bucket, Key="k")


def test_whoever_does_not_trust_the_home_or_asks_for_somebody_else_gets_nothing(server, trusted, program):
    with pytest.raises(SSLError):
        client(server, True).list_buckets()
    elsewhere = ("--resolve", f"example.org:{server.port}:127.0.0.1", f"https://example.org:{server.port}/")
    said = program("curl", "--silent", "--show-error", "--cacert", trusted)(*elsewhere, status=60)
    assert b"example.org" in said


def test_every_version_of_tls_that_is_safe_is_spoken_and_no_other(server, trusted):
    spoken = []
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=trusted)
        # Python 3.13 asks for this by itself.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection(("127.0.0.1", server.port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as tls:
                spoken.append(tls.version())
        except ssl.SSLError:
            pass
    assert spoken == ["TLSv1.2", "TLSv1.3"]
