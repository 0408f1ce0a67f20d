"""Backups in a bucket of a real S3 server."""

from __future__ import annotations

import json

from tests.backups.system import Place
from tests.running import Person, inside
from tests.s3server import S3Server


def test_a_backup_lives_in_a_bucket_as_in_a_folder(bucket: Place, s3: S3Server, someone: Person) -> None:
    first = bucket.create()
    person = Person.new().register()
    second = bucket.create()

    def folders() -> set[str]:
        return {key.partition("/")[0] for key in sorted(s3.keys())}

    assert folders() == {first, second}
    assert bucket.states() == {first: "complete", second: "complete"}
    assert "all checksums are right" in bucket.good("verify", "--all")
    rules = ("--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")
    bucket.good("prune", *rules)
    assert folders() == {second}

    body = s3.client().get_object(Bucket=s3.bucket, Key=f"{second}/auth.dump")["Body"].read()
    bucket.good("restore", "latest", "--yes")
    person.sign_in()
    s3.client().put_object(Bucket=s3.bucket, Key=f"{second}/auth.dump", Body=body[:-1] + b"x")
    assert "its checksum is not that of the manifest" in bucket.here("verify", second).stdout
    s3.client().delete_object(Bucket=s3.bucket, Key=f"{second}/manifest.json")
    assert bucket.states() == {second: "unfinished"}


def test_a_server_that_goes_away_in_the_middle_leaves_no_backup(bucket: Place, s3: S3Server, someone: Person) -> None:
    with bucket.held("create") as held:
        s3.stop(at_once=True)
        held.release()
        code, said = held.ended()
    assert code == 1
    assert "cannot be used: it does not answer" in said
    assert "it counts as none, and `backup prune` removes it a day later" in said
    assert "it does not answer" in bucket.refused("list")
    s3.start()
    assert "complete" not in bucket.states().values()


def test_a_bucket_that_does_not_let_us_in_is_told(bucket: Place, s3: S3Server) -> None:
    def with_other(**settings: str) -> Place:
        return Place(bucket.folder, bucket.settings | settings)

    for secret in ("wrong", s3.secret_key[:-1] + "x"):
        said = with_other(BACKUP_S3_SECRET_ACCESS_KEY=secret).refused("list")
        assert "correct BACKUP_S3_ACCESS_KEY_ID" in said
        assert secret not in said
    client = s3.client()
    client.create_bucket(Bucket=f"{s3.bucket}-other")
    assert "refuses our requests" in with_other(BACKUP_S3_BUCKET=f"{s3.bucket}-other").refused("list")
    finished = bucket.run("list", **s3.environment(IMAGE_ROOT=""))
    assert finished.returncode == 1
    assert "BACKUP_S3_BUCKET: it is the place of the images" in finished.stderr


PARTS = """
import json, datetime as dt
from backups.places import place
from backups.places.bucket import PART
here = place()
def chunks(total, broken=False):
    for number in range(total // 65536):
        yield bytes([number % 251]) * 65536
    if broken:
        raise RuntimeError("the source broke")
    yield b"end"
total = 2 * PART + 65536
here.write("20261123T173012Z-0123abcd/large", chunks(total))
same = b"".join(here.read("20261123T173012Z-0123abcd/large")) == b"".join(chunks(total))
here.write("20261123T173012Z-0123abcd/empty", [])
empty = list(here.read("20261123T173012Z-0123abcd/empty"))
try:
    here.write("20261123T173012Z-0123abcd/broken", chunks(total, broken=True))
except RuntimeError:
    pass
upload = here._client.create_multipart_upload(Bucket=here.bucket_name, Key="20261123T173012Z-0123abcd/killed")
tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
early = here.discard_unfinished(before=tomorrow - dt.timedelta(days=2))
late = here.discard_unfinished(before=tomorrow)
print(json.dumps([same, empty, early, late, sorted(each.name.partition("/")[2] for each in here.kept())]))
"""


def test_a_large_piece_comes_in_parts_and_has_no_name_before_the_last(bucket: Place, s3: S3Server) -> None:
    found = inside("console", PARTS, environment=bucket.environment)

    assert found == [True, [], 0, 1, ["empty", "large"]], json.dumps(found)


def test_uploads_of_somebody_else_are_left_alone(bucket: Place, s3: S3Server, someone: Person) -> None:
    client = s3.client()
    for key in ("films/holiday.mp4", "20261123T173012Z-0123abcd/auth.dump"):
        client.create_multipart_upload(Bucket=s3.bucket, Key=key)

    removed = inside("console", DISCARD, environment=bucket.environment)

    left = client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
    assert (removed, [upload["Key"] for upload in left]) == (1, ["films/holiday.mp4"])
    client.abort_multipart_upload(Bucket=s3.bucket, Key="films/holiday.mp4", UploadId=left[0]["UploadId"])


DISCARD = """
import json, datetime as dt
from backups.places import place
print(json.dumps(place().discard_unfinished(before=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))))
"""
