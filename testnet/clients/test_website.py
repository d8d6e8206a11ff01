"""Websites as a browser sees them, by host name; set up with boto3."""

import json

import pytest

from compare import refused
from warren_process import WEBSITE_DOMAIN
from wire import exchange

INDEX = {"IndexDocument": {"Suffix": "index.html"}}


@pytest.fixture
def visit(server, s3, bucket):
    """Asks, as anyone may, for a page of the bucket's website, which everyone may read."""
    if not hasattr(server, "state"):
        pytest.skip("only for a server of our own, which knows the domain")
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}))
    for key, content in (("index.html", "home"), ("docs/index.html", "docs"), ("error.html", "sorry")):
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="text/html")

    def go(path, method="GET", host=f"{bucket}.{WEBSITE_DOMAIN}"):
        head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        return exchange(server, head.encode(), method)

    return go


def test_folders_have_index_pages_and_errors_a_page_of_their_own(s3, bucket, visit):
    configuration = {**INDEX, "ErrorDocument": {"Key": "error.html"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
    shown = s3.get_bucket_website(Bucket=bucket)
    assert {name: shown[name] for name in configuration} == configuration
    assert (visit("/").status, visit("/").body) == (200, b"home")
    assert visit("/").headers["content-type"] == "text/html"
    assert visit("/docs/").body == b"docs"
    folder = visit("/docs")
    assert (folder.status, folder.headers["location"]) == (302, "/docs/")
    # Whoever may not list is not told whether a page exists.
    assert (visit("/none").status, visit("/none").body) == (403, b"sorry")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert (visit("/none").status, visit("/none").body) == (404, b"sorry")
    assert visit("/", method="PUT").status == 405
    s3.delete_bucket_website(Bucket=bucket)
    assert b"NoSuchWebsiteConfiguration" in visit("/").body
    with refused(404, "NoSuchWebsiteConfiguration"):
        s3.get_bucket_website(Bucket=bucket)


def test_rules_and_objects_send_visitors_elsewhere(s3, bucket, visit):
    rules = [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "docs/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "403"},
            "Redirect": {"HostName": "elsewhere.example", "Protocol": "https", "HttpRedirectCode": "302"},
        },
    ]
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={**INDEX, "RoutingRules": rules})
    assert s3.get_bucket_website(Bucket=bucket)["RoutingRules"] == rules
    assert visit("/old/page").headers["location"] == "/docs/page"
    lost = visit("/none")
    assert (lost.status, lost.headers["location"]) == (302, "https://elsewhere.example/none")
    s3.put_object(Bucket=bucket, Key="moved", Body=b"", WebsiteRedirectLocation="https://new.example/")
    assert visit("/moved").headers["location"] == "https://new.example/"
    everything = {"RedirectAllRequestsTo": {"HostName": "new.example"}}
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=everything)
    assert (visit("/a").status, visit("/a").headers["location"]) == (301, "//new.example/a")


@pytest.mark.parametrize(
    "configuration, code",
    [
        ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
        ({**INDEX, "RedirectAllRequestsTo": {"HostName": "a.example"}}, "InvalidRequest"),
        ({"RedirectAllRequestsTo": {"HostName": "a.example", "Protocol": "ftp"}}, "InvalidArgument"),
        ({"ErrorDocument": {"Key": "error.html"}}, "InvalidArgument"),
    ],
)
def test_what_a_website_cannot_be_is_refused(s3, bucket, configuration, code):
    with refused(400, code):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
