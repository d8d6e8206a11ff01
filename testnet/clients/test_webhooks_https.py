"""Webhooks over HTTPS: an authority of the owner's choice vouches for a receiver, and nobody else does."""

import ssl
import subprocess

import boto3
import pytest
from botocore.config import Config
from compare import becomes_true
from hook import Hook, short
from warren_process import Server


class Authority:
    """A certificate authority of somebody's own, as `openssl` makes it."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        openssl(
            "req", "-x509", *KEY, "-keyout", folder / f"{name}.key", "-out", self.certificate, "-days", "30",
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign",
        )

    def context(self, *names):
        """What a server of these names speaks TLS with."""
        certificate, key, request, about = (
            self.folder / f"{self.name}-{names[0]}.{end}" for end in ("crt", "key", "csr", "ext")
        )
        about.write_text(f"basicConstraints=CA:FALSE\nsubjectAltName={','.join(f'DNS:{name}' for name in names)}\n")
        openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", "/CN=hook")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key",
            "-set_serial", "7", "-days", "30", "-out", certificate, "-extfile", about,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


class Told:
    """A box, its client, and its receivers, each vouched for in another way."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.home, self.elsewhere = Authority(folder, "home"), Authority(folder, "elsewhere")
        context = self.home.context("localhost")
        hook = lambda context: Hook(context, "localhost")  # noqa: E731
        self.hooks = {
            "trusted": hook(context),
            "stranger": hook(context),
            "renamed": hook(self.home.context("other.example")),
            "swapped": hook(self.elsewhere.context("localhost")),
        }
        self.configure("trusted", "renamed", "swapped")
        self.box = Server(binary, folder, WARREN_CONFIG=str(self.config))
        self.s3 = boto3.client(
            "s3", endpoint_url=self.box.endpoint, region_name="warren",
            aws_access_key_id=self.box.key.id, aws_secret_access_key=self.box.key.secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    @property
    def config(self):
        return self.folder / "warren.toml"

    def configure(self, *vouched_for):
        webhooks = [f"{name}={hook.url}" for name, hook in self.hooks.items()]
        files = [f"{name}={self.home.certificate}" for name in vouched_for]
        self.config.write_text(f"s3.webhooks = {webhooks}\ns3.webhook_ca_files = {files}\n")

    def bucket_telling(self, name):
        """A bucket of which a receiver is told."""
        bucket = f"tells-{name}"
        self.s3.create_bucket(Bucket=bucket)
        rule = {"QueueArn": f"arn:warren:sqs::{name}:webhook", "Events": ["s3:ObjectCreated:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
        )
        return bucket


@pytest.fixture(scope="module")
def told(request, program, tmp_path_factory):
    if request.config.getoption("--endpoint"):
        pytest.skip("a server that somebody else started knows no webhook of this test")
    program("openssl")
    telling = Told(request.config.getoption("--warren"), tmp_path_factory.mktemp("vouching"))
    yield telling
    assert telling.box.stop() == 0, telling.box.log.read_text()[-4000:]
    assert "panicked" not in telling.box.log.read_text() and "/secret" not in telling.box.log.read_text()


def test_a_receiver_is_told_for_which_the_authority_of_the_owner_vouches(told):
    bucket = told.bucket_telling("trusted")
    told.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    [record] = told.hooks["trusted"].told(bucket, 1)
    assert short(record) == ("ObjectCreated:Put", "k")


@pytest.mark.parametrize(
    "name, why",
    [
        # Signed by somebody whom browsers do not know, and nobody was named.
        ("stranger", "no authority that is trusted vouches for its certificate"),
        # Signed by somebody else than the one who was named.
        ("swapped", "no authority that is trusted vouches for its certificate"),
        ("renamed", "its certificate is for another name"),
    ],
)
def test_a_receiver_for_which_nobody_vouches_is_asked_again_and_told_nothing(told, name, why):
    hook, bucket = told.hooks[name], told.bucket_telling(name)
    told.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    # The test event, and the event twice.
    becomes_true(lambda: hook.handshakes_failed >= 3)
    assert hook.messages == []
    lines = [line for line in told.box.log.read_text().splitlines() if "told later" in line and f'"{name}"' in line]
    assert lines and all(why in line for line in lines), lines


def test_what_was_not_told_is_once_an_authority_vouches(told):
    hook = told.hooks["stranger"]
    told.box.stop()
    told.configure("trusted", "stranger")
    told.box.start()
    [record] = hook.told("tells-stranger", 1)
    assert short(record) == ("ObjectCreated:Put", "k")


@pytest.mark.parametrize(
    "files, why",
    [
        (["trusted=missing.pem"], "missing.pem: No such file or directory"),
        (["trusted=empty.pem"], "empty.pem: it has no certificate in PEM"),
        (["trusted=cut.pem"], "cut.pem: it is damaged PEM"),
        (["trusted=garbled.pem"], "garbled.pem: certificate 1 in it does not read"),
        (["nobody=good.pem"], 'no webhook in s3.webhooks is called "nobody"'),
        (["plain=good.pem"], 'the URL of the webhook "plain" is not https://'),
        (["trusted=good.pem", "trusted=good.pem"], 'two files are named for the webhook "trusted"'),
        (["good.pem"], "is not NAME=FILE"),
    ],
)
def test_a_configuration_that_cannot_hold_says_so(told, tmp_path, files, why):
    pem = told.home.certificate.read_text()
    (tmp_path / "good.pem").write_text(pem)
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "cut.pem").write_text(pem.replace("-----END", ""))
    (tmp_path / "garbled.pem").write_text(pem.replace("M", "A", 1))
    files = [file.replace("=", f"={tmp_path}/") for file in files]
    config = tmp_path / "warren.toml"

    def check(files):
        config.write_text(
            "s3.webhooks = ['trusted=https://hooks.example/secret', 'plain=http://hooks.example/secret']\n"
            f"s3.webhook_ca_files = {files}\n"
        )
        return subprocess.run([told.binary, "config", "check", config], capture_output=True, text=True, timeout=30)

    checked = check(files)
    assert checked.returncode == 2 and why in checked.stderr and "s3.webhook_ca_files" in checked.stderr, checked
    assert "/secret" not in checked.stderr
    assert check([f"trusted={tmp_path}/good.pem"]).returncode == 0
