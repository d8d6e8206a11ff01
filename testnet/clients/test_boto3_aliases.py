"""boto3 against the real server: buckets by other names, for everybody or for one key."""

import http.client
import json

import pytest
from botocore.exceptions import ClientError
from compare import keys_in, refused
from warren_process import DOMAIN, WEBSITE_DOMAIN
from wire import Request, exchange, send


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


@pytest.fixture
def app(connect, server, s3, bucket):
    """A client of a key that calls the bucket `mine-…`, and may read and write there; and that name."""
    name = f"app-{bucket[-8:]}"
    key, alias = server.create_key(name, create_buckets=False), f"mine-{bucket[-8:]}"
    server.command("bucket", "alias", bucket, alias, "--key", name)
    server.command("key", "allow", name, bucket, "--read", "--write")
    return connect(key), alias


def test_a_copy_onto_itself_is_noticed_by_whatever_name(server, s3, bucket, app):
    client, mine = app
    everybodys = f"{bucket}-alias"
    server.command("bucket", "alias", bucket, everybodys)
    client.put_object(Bucket=mine, Key="k", Body=b"content")
    for to in (bucket, everybodys, mine):
        for source in (bucket, everybodys, mine):
            with refused(400, "InvalidRequest"):
                client.copy_object(Bucket=to, Key="k", CopySource=f"{source}/k")
    client.copy_object(
        Bucket=mine, Key="k", CopySource=f"{bucket}/k", MetadataDirective="REPLACE", Metadata={"by": "alias"}
    )
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"by": "alias"}


def test_a_browser_may_use_a_bucket_by_the_name_that_a_key_has_for_it(server, s3, bucket, app):
    client, mine = app
    rule = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    client.put_object(Bucket=mine, Key="k", Body=b"content")
    origin = {"Origin": "https://a.example"}

    def ask(method, link, headers=origin):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request(method, link.removeprefix(server.endpoint), headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Access-Control-Allow-Origin")

    get, put = (
        client.generate_presigned_url(f"{what}_object", Params={"Bucket": mine, "Key": "k"}) for what in ("get", "put")
    )
    # It asks first, which nobody signs: whose name that is stands in the link.
    asked = {**origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    assert ask("OPTIONS", put, asked) == (200, "https://a.example")
    assert ask("GET", get) == (200, "https://a.example")
    # A page is shown why it is refused, too.
    assert ask("GET", get.replace("X-Amz-Signature=", "X-Amz-Signature=0")) == (403, "https://a.example")
    assert ask("GET", get, {"Origin": "https://b.example"}) == (200, None)
    # The name is nobody else's.
    assert ask("OPTIONS", f"/{mine}/k", asked) == (404, None)
    others = s3.generate_presigned_url("get_object", Params={"Bucket": mine, "Key": "k"})
    assert ask("GET", others) == (404, None)


def test_an_alias_is_a_host_name_as_well(server, s3, bucket):
    alias, whole = f"{bucket}-alias", f"www.{bucket}.example"
    for name in (alias, whole):
        server.command("bucket", "alias", bucket, name)
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"home", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    assert send(server, Request("GET", "/k", headers={"host": f"{alias}.{DOMAIN}"})).body == b"content"
    listed = send(server, Request("GET", "/", headers={"host": f"{alias}.{DOMAIN}"}))
    assert b"<Key>index.html</Key><" in listed.body
    for host in (f"{alias}.{WEBSITE_DOMAIN}", whole):
        visited = exchange(server, f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        assert (visited.status, visited.body) == (200, b"home")
    server.command("bucket", "alias", bucket, alias, "--remove")
    gone = exchange(server, f"GET / HTTP/1.1\r\nhost: {alias}.{WEBSITE_DOMAIN}\r\nconnection: close\r\n\r\n".encode())
    assert gone.status == 404 and b"NoSuchBucket" in gone.body


def test_a_policy_knows_the_source_of_a_copy_by_whatever_name(server, s3, connect, bucket, app):
    client, mine = app
    everybodys, target = f"{bucket}-alias", f"{bucket}-copies"
    server.command("bucket", "alias", bucket, everybodys)
    s3.put_object(Bucket=bucket, Key="secret/k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.create_bucket(Bucket=target)
    server.command("key", "allow", f"app-{bucket[-8:]}", target, "--read", "--write")
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{target}/*",
        "Condition": {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/secret/*"}},
    }
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    for name in (bucket, everybodys, mine):
        with refused(403, "AccessDenied"):
            client.copy_object(Bucket=target, Key="copy", CopySource=f"{name}/secret/k")
        client.copy_object(Bucket=target, Key="copy", CopySource=f"{name}/k")
