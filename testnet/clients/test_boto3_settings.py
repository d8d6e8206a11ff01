"""boto3 against the real server: the settings of a bucket, read back as they were put, and what they change."""

import urllib.error
import urllib.request

import pytest
from compare import refused

AES256 = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]}
NOTHING_PUBLIC = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
RULES = [
    {
        "ID": "app",
        "AllowedOrigins": ["https://app.example", "https://*.dev.example"],
        "AllowedMethods": ["GET", "PUT", "HEAD"],
        "AllowedHeaders": ["content-type", "x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 300,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
]


def everyone_else(link: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """The status and headers of an answer to somebody without a key."""
    request = urllib.request.Request(link, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        answer = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}


def test_cors_rules_decide_about_preflights_and_answers(server, s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    upload = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    asking = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "content-type"}

    status, told = everyone_else(upload, "OPTIONS", Origin="https://app.example", **asking)
    assert (status, told["access-control-allow-origin"]) == (200, "https://app.example")
    assert told["access-control-max-age"] == "300"
    assert "Origin" in told["vary"]
    assert everyone_else(upload, "OPTIONS", Origin="https://else.example", **asking)[0] == 403
    assert everyone_else(upload, "OPTIONS", Origin="https://app.example")[0] == 400

    download = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    status, told = everyone_else(download, Origin="https://x.dev.example")
    assert (status, told["access-control-allow-origin"]) == (200, "https://x.dev.example")
    assert told["access-control-expose-headers"] == "ETag"
    status, told = everyone_else(download, Origin="https://stranger.example")
    assert (status, told["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-credentials" not in told
    # A page has to be able to read why it was refused.
    status, told = everyone_else(f"{server.endpoint}/{bucket}/k", Origin="https://app.example")
    assert (status, told["access-control-allow-origin"]) == (403, "https://app.example")

    s3.delete_bucket_cors(Bucket=bucket)
    with refused(404, "NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)
    assert everyone_else(upload, "OPTIONS", Origin="https://app.example", **asking)[0] == 403


@pytest.mark.parametrize(
    "rule, code",
    [
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*.*"], "AllowedMethods": ["GET"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "ExposeHeaders": ["*"]}, "InvalidRequest"),
        ({"AllowedOrigins": [], "AllowedMethods": ["GET"]}, "MalformedXML"),
    ],
)
def test_a_cors_rule_that_means_nothing_is_refused(s3, bucket, rule, code):
    with refused(400, code):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def test_bucket_tags_read_back(s3, bucket):
    tags = [{"Key": "owner", "Value": "anna"}, {"Key": "purpose", "Value": "films & photos"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    with refused(400, "InvalidTag"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags * 2})
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused(404, "NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=bucket)


def test_a_public_access_block_keeps_a_public_bucket_private(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    link = f"{server.endpoint}/{bucket}/k"
    assert everyone_else(link)[0] == 200
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=NOTHING_PUBLIC)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == NOTHING_PUBLIC
    assert everyone_else(link)[0] == 403
    with refused(403, "AccessDenied"):
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.delete_public_access_block(Bucket=bucket)
    with refused(404, "NoSuchPublicAccessBlockConfiguration"):
        s3.get_public_access_block(Bucket=bucket)
    assert everyone_else(link)[0] == 200


def test_ownership_controls_end_acls(s3, bucket_name):
    s3.create_bucket(Bucket=bucket_name, ObjectOwnership="BucketOwnerEnforced")
    controls = s3.get_bucket_ownership_controls(Bucket=bucket_name)["OwnershipControls"]
    assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    with refused(400, "AccessControlListNotSupported"):
        s3.put_bucket_acl(Bucket=bucket_name, ACL="public-read")
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    s3.delete_bucket_ownership_controls(Bucket=bucket_name)
    with refused(404, "OwnershipControlsNotFoundError"):
        s3.get_bucket_ownership_controls(Bucket=bucket_name)
    with refused(501, "NotImplemented"):
        rules = [{"ObjectOwnership": "ObjectWriter"}]
        s3.put_bucket_ownership_controls(Bucket=bucket_name, OwnershipControls={"Rules": rules})


def test_encryption_is_what_everything_has(s3, bucket):
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=AES256)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == AES256
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    s3.delete_bucket_encryption(Bucket=bucket)
    with refused(404, "ServerSideEncryptionConfigurationNotFoundError"):
        s3.get_bucket_encryption(Bucket=bucket)
    with refused(501, "NotImplemented"):
        kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=kms)


def test_what_nobody_can_set_is_told_as_it_is(s3, bucket):
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    with refused(404, "ReplicationConfigurationNotFoundError"):
        s3.get_bucket_replication(Bucket=bucket)
    deleted = s3.delete_bucket_replication(Bucket=bucket)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(501, "NotImplemented"):
        s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"})
    with refused(501, "NotImplemented"):
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    rule = {"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": f"arn:aws:s3:::{bucket}"}}
    with refused(501, "NotImplemented"):
        s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={"Role": "arn:aws:iam::1:role/r", "Rules": [rule]})


def test_settings_that_nobody_can_set_are_for_those_who_may_see_the_bucket(connect, server, s3, bucket):
    stranger = connect(server.create_key(f"stranger-{bucket[-8:]}"))
    for name in ("get_bucket_accelerate_configuration", "get_bucket_request_payment", "get_bucket_replication",
                 "delete_bucket_replication"):
        with refused(403, "AccessDenied"):
            getattr(stranger, name)(Bucket=bucket)
