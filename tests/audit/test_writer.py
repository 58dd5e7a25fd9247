"""The writer inside the store's transaction, its keys, and the heads a connector keeps."""

import hashlib
import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import auditkey, checkpoint, notes
from ony_core.errors import Malformed, OnyError
from ony_core.server import audit
from tests.audit.world import ORG, ORIGIN, OTHER, SIGNING, World, check_database, ed25519_holds, origin_of


def test_a_row_that_was_rolled_back_never_was(world):
    world.db.execute("BEGIN")
    world.log.append(world.db, ORG, "verdict", {})
    world.db.execute("ROLLBACK")
    world.commit()
    report = check_database(world, world.head(24))
    assert (report.result, report.rows) == ("OK", 24)


def test_rows_and_their_checkpoint_come_in_one_commit_and_a_quiet_log_gets_none(world):
    before = world.db.execute("SELECT count(*) FROM checkpoint").fetchone()
    world.log.checkpoint(world.db, [ORG, OTHER])
    assert world.db.execute("SELECT count(*) FROM checkpoint").fetchone() == before
    assert [r[0] for r in world.db.execute("SELECT size FROM checkpoint")] == [2, 4, 5, 8, 11, 13, 16, 20, 23]


def test_the_note_is_signed_for_anyone_and_sealed_for_the_owner(world):
    note = checkpoint.parse(world.note(23))
    assert (note.origin, note.size, note.after) == (ORIGIN, 23, 20)
    assert checkpoint.sealed_by(note, world.key) and checkpoint.signed_by(note, ed25519_holds)
    assert not checkpoint.sealed_by(note, b"x" * 32) and not checkpoint.signed_by(note, lambda signature, message: False)
    assert note.last == world.db.execute("SELECT mac FROM audit WHERE seq = 23").fetchone()[0]


def test_a_log_that_was_changed_while_the_server_was_down_takes_no_further_row(world):
    damages = [
        "UPDATE audit SET body = x'7b7d' WHERE seq = 15",
        "DELETE FROM audit WHERE seq = 23",
        "DELETE FROM audit WHERE seq = 15",
        "DELETE FROM checkpoint WHERE size = 23",
        "DELETE FROM checkpoint",
        "DELETE FROM audit",
        "UPDATE audit_node SET hash = zeroblob(32) WHERE level = 4",
        "DELETE FROM audit_node WHERE level = 4",
        "UPDATE checkpoint SET note = replace(note, 'time 2026', 'time 2025') WHERE size = 23",
        "UPDATE checkpoint SET note = 'x' WHERE size = 23",
    ]
    for damage in damages:
        world.unlocked().execute("BEGIN")
        world.db.execute(damage)
        with pytest.raises(OnyError, match="not what its last checkpoint promised"):
            world.fresh_log().append(world.db, ORG, "verdict", {})
        world.db.execute("ROLLBACK")
    assert world.fresh_log().append(world.db, ORG, "verdict", {}) == 24


def test_our_own_mistakes_cannot_change_the_log(world):
    for mistake in ("UPDATE audit SET seq = seq + 1", "DELETE FROM audit", "UPDATE checkpoint SET size = 1", "DELETE FROM checkpoint"):
        with pytest.raises(Exception, match="never"):
            world.db.execute(mistake)


def test_logs_of_two_organisations_do_not_mix(world):
    auditkey.create_key(world.folder / "audit.key", OTHER)
    assert world.log.append(world.db, OTHER, "genesis", {}) == 1
    world.log.checkpoint(world.db, [OTHER])
    world.commit()
    assert check_database(world, world.head(24)).result == "OK"


def test_without_a_key_nothing_is_written(world):
    with pytest.raises(OnyError, match="no audit key"):
        world.log.append(world.db, OTHER, "genesis", {})
    (world.folder / "audit.key").unlink()
    with pytest.raises(OnyError, match="cannot read the audit key"):
        world.fresh_log().append(world.db, ORG, "verdict", {})
    assert not (world.folder / "audit.key").exists()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Ada Lovelace"},
        {"address": "+15550100123"},
        {"code": "482913"},
        {"email": "a@example.com"},
        {"command": "rm -rf /"},
        {"text": "naïve"},
        {"nested": {"a": "b"}},
        {"peer": "10.0.0.17"},
        {"kind": "other"},
        {"at": "2026-06-30T14:22:07Z"},
        {"Big": "verdict"},
        {"list": ["fine", "not fine"]},
        {"ratio": 0.5},
        {"line": "a\n"},
    ],
    ids=lambda body: next(iter(body)),
)
def test_a_body_holds_ids_digests_and_closed_words_or_is_refused_unquoted(world, body):
    with pytest.raises(ValueError) as refused:
        world.log.append(world.db, ORG, "verdict", body)
    assert str(next(iter(body.values()))) not in str(refused.value)
    assert world.size == 23


@pytest.mark.parametrize("kind", ["", "Verdict", "a b", "x" * 41, "1st"])
def test_a_kind_is_one_closed_word(world, kind):
    with pytest.raises(ValueError):
        world.log.append(world.db, ORG, kind, {})


def test_what_a_body_may_hold_is_kept_as_it_is(world):
    body = {"request_id": "req_" + "0" * 32, "digest": "hmac-sha256:" + "a" * 64, "actions": ["deploy.production", "db.migrate"], "n": 3,
            "until": "2026-06-30T14:22:07Z", "sqlite": "3.40.1", "right": True, "nothing": None, "empty": ""}  # fmt: skip
    world.log.append(world.db, ORG, "policy.set", body)
    stored = json.loads(world.db.execute("SELECT body FROM audit WHERE seq = 24").fetchone()[0])
    assert stored.pop("at") and stored.pop("kind") == "policy.set"
    assert stored == body


# ---------------------------------------------------------------- keys


def test_a_key_is_made_once_for_each_organisation_and_never_again(tmp_path):
    path = tmp_path / "audit.key"
    text = auditkey.create_key(path, ORG)
    key = auditkey.read_keys(path)[ORG]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and auditkey.from_text(text) == key
    with pytest.raises(OnyError, match="exists already"):
        audit.create_key(path, ORG)
    auditkey.create_key(path, OTHER)
    assert auditkey.read_keys(path)[ORG] == key and len(auditkey.read_keys(path)) == 2
    assert os.listdir(tmp_path) == ["audit.key"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"x",
        b'{"format":"ony-audit-key/2","keys":{}}',
        b'{"format":"ony-audit-key/1","keys":[]}',
        b'{"format":"ony-audit-key/1","keys":{"org_1":"00"}}',
    ],
)
def test_a_key_file_that_cannot_be_read_is_never_replaced(tmp_path, content):
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(OnyError, match="damaged"):
        auditkey.create_key(path, ORG)
    assert path.read_bytes() == content


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "audit.key"
    auditkey.create_key(path, ORG)
    path.chmod(0o640)
    with pytest.raises(OnyError, match="read by others"):
        auditkey.read_keys(path)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 62), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_verification_key_forgives_case_and_spaces_but_no_wrong_letter(key, at, letter):
    text = auditkey.to_text(key)
    assert auditkey.from_text(f" {text.lower()}\n") == key
    at += len("ony-audit-")
    if text[at] not in ("-", letter):
        with pytest.raises(Malformed):
            auditkey.from_text(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "ony-audit-", "AAAA", "ony-audit-" + "A" * 56, "\u00a7" * 56])
def test_what_is_no_verification_key_is_refused(text):
    with pytest.raises(Malformed):
        auditkey.from_text(text)


# ---------------------------------------------------------------- heads


def test_a_kept_head_only_grows(world, tmp_path):
    assert notes.read_head(tmp_path, ORIGIN) is None
    for size in (8, 23, 13, 23):
        kept = notes.write_head(tmp_path, world.note(size))
    assert kept.size == 23 and notes.read_head(tmp_path, ORIGIN).root == world.head(23).root
    path = notes.head_path(tmp_path, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and sorted(os.listdir(tmp_path)) == [path.name, "data"]
    assert set(json.loads(path.read_text())) == {"origin", "size", "root", "note"}


def test_a_head_of_the_same_size_and_another_root_is_a_fork(tmp_path):
    one, two = World(tmp_path / "one", key=b"k" * 32).grown(3), World(tmp_path / "two", key=b"k" * 32)
    two.commit(3, tag=5)
    notes.write_head(tmp_path, one.note(3))
    with pytest.raises(OnyError, match="forked"):
        notes.write_head(tmp_path, two.note(3))
    assert notes.read_head(tmp_path, ORIGIN).root == one.head(3).root


def test_a_damaged_head_is_an_error_and_never_no_head(world, tmp_path):
    notes.write_head(tmp_path, world.note(8))
    path = notes.head_path(tmp_path, ORIGIN)
    good = path.read_text()
    other = json.dumps({**json.loads(good), "size": 9})
    extra = json.dumps({**json.loads(good), "more": 1})
    for damage in ("", "{}", "[]", good[:-9], good.replace("ony/", "onx/"), other, extra, "[" * 50_000):
        path.write_text(damage)
        for use in (notes.read_head, lambda folder, _: notes.witnesses(folder), lambda folder, _: notes.write_head(folder, world.note(23))):
            with pytest.raises(OnyError, match="damaged"):
                use(tmp_path, ORIGIN)


def test_a_head_file_about_another_log_is_refused(world, tmp_path):
    notes.write_head(tmp_path, world.note(8))
    elsewhere = origin_of(OTHER)
    notes.head_path(tmp_path, ORIGIN).rename(notes.head_path(tmp_path, elsewhere))
    with pytest.raises(OnyError, match="another log"):
        notes.read_head(tmp_path, elsewhere)


def test_a_witness_is_a_folder_a_file_or_a_plain_note(world, tmp_path):
    with pytest.raises(OnyError, match="no heads"):
        notes.witnesses(tmp_path)
    with pytest.raises(OnyError, match="cannot read"):
        notes.witnesses(tmp_path / "absent")
    notes.write_head(tmp_path, world.note(8))
    (tmp_path / "readme.txt").write_text("not a head")
    plain = tmp_path / "note.txt"
    plain.write_text(world.note(23))
    assert [h.size for path in (tmp_path, notes.head_path(tmp_path, ORIGIN), plain) for h in notes.witnesses(path)] == [8, 8, 23]


# ---------------------------------------------------------------- notes


def extension_with(note: str, time: str) -> str:
    at = note.index("time ") + len("time ")
    return note[:at] + time + note[at + len(time) :]


def test_a_note_has_one_spelling_only(world):
    good = world.note(23)
    origin, size, root, extension, _, ed25519, seal, _ = good.split("\n")

    def spelled(*lines: str) -> str:
        return "\n".join([*lines, ""])

    assert checkpoint.parse(good).text == spelled(origin, size, root, extension)
    for bad in (
        "",
        "\n\n",
        good[:-1],
        good + "\n",
        good + "x",
        good.replace("\n\n", "\n"),
        good.replace("\n", "\r\n"),
        " " + good,
        good.replace("\n23\n", "\n023\n"),
        good.replace("\n23\n", "\n-1\n"),
        good.replace("\n23\n", "\n00\n"),
        good.replace("\n23\n", "\n2 3\n"),
        good.replace("epoch 0", "epoch 1"),
        good.replace("T1", "t1"),
        extension_with(good, "2026-02-30T10:00:00Z"),
        extension_with(good, "2026-06-30T24:00:00Z"),
        extension_with(good, "2026-06-30 14:22:07Z"),
        extension_with(good, "2026-06-30T14:22:61Z"),
        good.replace("ony/", "oni/"),
        good.replace("— ", "- "),
        spelled(origin, size, root, extension, "", seal[:-4]),
        spelled(origin, size, root, extension, ""),
        spelled(origin, size, root[:-4], extension, "", seal),
        spelled(origin, size, root, extension, "", *[seal] * 17),
        spelled(origin, size, root, extension, extension, "", seal),
        spelled(origin, size, root, extension.replace("time 2026-06", "time 2026-16"), "", seal),
        good + "x" * 9000,
    ):
        with pytest.raises(Malformed):
            checkpoint.parse(bad)
    moved = checkpoint.parse(spelled(origin, size, root, extension, "", seal, ed25519))
    assert not checkpoint.sealed_by(moved, world.key), "the seal is the last line"


def test_the_ed25519_line_is_named_as_other_tools_expect(world):
    """C2SP signed-note: key id = SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)[:4], over the text alone."""
    note = checkpoint.parse(world.note(5))
    name, identity, signature = note.signatures[0]
    public = SIGNING.public_key().public_bytes_raw()
    assert identity == hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    SIGNING.public_key().verify(signature, note.text.encode())
