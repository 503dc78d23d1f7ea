"""The bucket as another client sees it: boto3, which shares no code with what is tested."""

import contextlib
import hashlib
import json
from pathlib import Path

import boto3
from botocore.config import Config
from world import BUCKET, KEY, SECRET, World


class Bucket:
    def __init__(self, world: World) -> None:
        self.client = boto3.client(
            "s3",
            endpoint_url=world.s3,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )
        with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=BUCKET)

    def objects(self, prefix: str) -> dict[str, dict]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {found["Key"]: found for page in pages for found in page.get("Contents", [])}

    def count(self, prefix: str) -> int:
        """Of the files alone."""
        return sum(1 for key in self.objects(prefix) if "/.s3backup/" not in key)

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def json(self, key: str) -> dict:
        return json.loads(self.read(key))

    def reports(self, control: str) -> list[dict]:
        """The run reports below a job's control prefix, oldest first."""
        return [self.json(key) for key in sorted(self.objects(f"{control}runs/"))]

    def open_uploads(self, prefix: str) -> list[str]:
        found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def parts(self, prefix: str) -> int:
        """How many parts the uploads that are open have."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
        listed = (
            self.client.list_parts(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"]) for one in found
        )
        return sum(len(parts.get("Parts", [])) for parts in listed)

    def differences(self, source: Path, prefix: str) -> list[str]:
        """What is not the same in the bucket as below `source`: names, sizes and bytes of every file."""
        there = {key: found for key, found in self.objects(f"{prefix}/").items() if "/.s3backup/" not in key}
        here = {f"{prefix}/{path.relative_to(source)}": path for path in source.rglob("*") if path.is_file()}
        wrong = [f"missing: {key}" for key in here.keys() - there.keys()]
        wrong += [f"not in the source: {key}" for key in there.keys() - here.keys()]
        for key in here.keys() & there.keys():
            data = here[key].read_bytes()
            # SeaweedFS, as S3, makes the ETag of an object that came in one piece from the bytes that it has.
            etag = there[key]["ETag"].strip('"')
            if "-" in etag:
                is_same = self.read(key) == data
            else:
                is_same = there[key]["Size"] == len(data) and etag == hashlib.md5(data).hexdigest()
            if not is_same:
                wrong.append(f"other bytes: {key}")
        return sorted(wrong)
