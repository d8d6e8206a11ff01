"""Headless Chromium against the real server: pages of another origin that upload by presigned PUT and by form."""

import http.server
import shutil
import threading

import pytest

PAGE = b"<!doctype html><title>An application of another origin</title>"
PUT = "async ([url, text]) => { const r = await fetch(url, {method: 'PUT', body: text}); return [r.status, r.headers.get('etag')] }"
POST = """async ([url, fields, text]) => {
    const form = new FormData();
    Object.entries(fields).forEach(([name, value]) => form.append(name, value));
    form.append('file', new File([text], 'from a browser.txt', {type: 'text/plain'}));
    return (await fetch(url, {method: 'POST', body: form})).status;
}"""


@pytest.fixture(scope="module")
def origin():
    """A page somewhere else; gives its origin."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture
def page(origin):
    """A tab of Chromium that shows the page."""
    reason = "is not installed: its tests did NOT run"
    api = pytest.importorskip("playwright.sync_api", reason=f"playwright {reason}")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip(f"chromium {reason}")
    with api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(origin)
        yield tab
        browser.close()


def allow(s3, bucket: str, origin: str) -> None:
    rule = {"AllowedOrigins": [origin], "AllowedMethods": ["PUT", "POST"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def test_a_page_puts_a_file_by_a_presigned_link(s3, bucket, origin, page):
    link = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate(PUT, [link, "refused before it is sent"])
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    allow(s3, bucket, origin)
    status, etag = page.evaluate(PUT, [link, "from a browser"])
    stored = s3.get_object(Bucket=bucket, Key="k")
    assert (status, etag) == (200, stored["ETag"])
    assert stored["Body"].read() == b"from a browser"


def test_a_page_posts_a_signed_form(s3, bucket, origin, page):
    allow(s3, bucket, origin)
    form = s3.generate_presigned_post(bucket, "up/${filename}", Conditions=[["content-length-range", 1, 100]])
    assert page.evaluate(POST, [form["url"], form["fields"], "from a browser"]) == 204
    assert s3.get_object(Bucket=bucket, Key="up/from a browser.txt")["Body"].read() == b"from a browser"
    assert page.evaluate(POST, [form["url"], form["fields"], "x" * 101]) == 400
