"""Compares files, folders and objects byte for byte."""

import filecmp
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError


def names_below(folder: Path) -> set[str]:
    """The relative paths of all files below a folder."""
    return {
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder) for name in names
    }


def assert_same_file(one: Path, other: Path) -> None:
    """Two files hold the same bytes."""
    assert filecmp.cmp(one, other, shallow=False), f"{one} and {other} differ"


def assert_same_folder(one: Path, other: Path) -> None:
    """Two folders hold files of the same names with the same bytes."""
    assert names_below(one) == names_below(other)
    for name in names_below(one):
        assert_same_file(one / name, other / name)


def assert_bucket_holds(s3, bucket: str, folder: Path, prefix: str = "") -> None:
    """A bucket holds, under a prefix, exactly the files of a folder; read back with boto3."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    assert {key.removeprefix(prefix) for key in keys} == names_below(folder)
    for key in keys:
        stored = s3.get_object(Bucket=bucket, Key=key)["Body"]
        with open(folder / key.removeprefix(prefix), "rb") as file:
            while expected := file.read(1 << 20):
                assert stored.read(len(expected)) == expected, f"{key} differs"
            assert stored.read() == b""


def keys_in(s3, bucket: str, **query) -> list[str]:
    """The keys of one page of a listing."""
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, **query).get("Contents", [])]


@contextmanager
def refused(status: int, code: str):
    """The statements inside are answered with this status and error code, and a request id."""
    with pytest.raises(ClientError) as caught:
        yield caught
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (status, code)
    assert answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-request-id")


def becomes_true(condition, seconds: float = 15) -> None:
    """What the server does by itself is done within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.05)
