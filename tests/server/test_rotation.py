"""Every key is replaced while both sides go on: the master key, the signing keys by a statement of old and new, approval secrets."""

import base64
import json
import re
import stat
from pathlib import Path
from types import SimpleNamespace

import pyotp
import pytest

from ony_core import canon, checkpoint, durable
from ony_core.commands import keeping
from ony_core.connector.pins import FILE, OVERLAP_S, Pins
from ony_core.connector.statement import opened
from ony_core.errors import OnyError, Refused
from ony_core.server import factors, keyring, keys
from ony_core.server.keyring import Keyring
from ony_core.server.keys import Keys
from ony_core.server.message import Request
from ony_core.store.sealed import PLACES
from tests.server.test_upkeep import Kept
from tests.server.world import running

SCHEMA = (Path(__file__).resolve().parents[2] / "schema.sql").read_text()


@pytest.fixture
def hall(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    made = Kept(tmp_path / "data")
    address = made.keyring.seal(b"+15550100123", "device.address", made.org_id, made.owner.device_id, made.clock)
    made.store.write_now(lambda tx: tx._db.execute("UPDATE device SET address_sealed = ?", (address,)) and None)
    made.keys = Keys(made.folder, made.store, made.keyring, made.clock)
    yield made
    made.close()


async def asked(hall: Kept, act: str, **wish: str):
    body = {"email": "", "code": hall.owner.code(), **wish}
    response = await getattr(hall.keys, act)(Request("POST", "/", body=json.dumps(body).encode()))
    hall.clock.pass_(31)
    return response.status, json.loads(response.body)


def master_lines(hall: Kept) -> list[str]:
    return (hall.folder / "master.key").read_text().split()


# ---------------------------------------------------------------- the master key


def test_every_sealed_column_of_the_schema_is_sealed_anew():
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\) STRICT", SCHEMA, re.DOTALL)
    sealed = {(table, column) for table, body in tables for column in re.findall(r"(\w*sealed) BLOB", body)}
    assert sealed == {(table, column) for table, _, column, _, _ in PLACES} and len(sealed) == len(PLACES)


@running
async def decides(hall: Kept) -> None:
    request = await hall.held(session=f"sess_{hall.clock.now:032x}")
    assert await hall.presses(request, code=hall.owner.code()) == "approved"
    assert await hall.claims(request) == "used"
    hall.clock.pass_(31)


def test_a_new_master_key_seals_everything_and_the_server_goes_on_and_starts_again(hall):
    before, (old,) = (hall.folder / "ony.db").read_bytes(), master_lines(hall)
    device = hall.read(hall.org_id, lambda org: org.device(hall.owner.device_id))
    status, said = running(asked)(hall, "rotate", key="master")
    assert status == 200 and said["sealed_anew"] == 5, "two signing keys, one TOTP secret, address and decision key"
    (new,) = master_lines(hall)
    assert new != old and stat.S_IMODE((hall.folder / "master.key").stat().st_mode) == 0o600
    decides(hall)
    hall.restart()
    decides(hall)
    with pytest.raises(OnyError):
        Keyring((bytes.fromhex(old),)).unseal(
            hall.read(hall.org_id, lambda org: org.device(hall.owner.device_id)).decision_key_sealed, "device.decision_key", hall.org_id,
            hall.owner.device_id)  # fmt: skip
    assert Keyring((bytes.fromhex(old),)).unseal(device.decision_key_sealed, "device.decision_key", hall.org_id, hall.owner.device_id)
    assert before and "key_rotated" in hall.kinds()


@pytest.mark.parametrize("moment", ["before the first file", "after the first file", "in the transaction", "before the last file"])
def test_a_rotation_that_is_cut_short_loses_nothing_and_can_be_done_again(hall, monkeypatch, moment):
    replaced = []

    def replace(path, data, mode=0o600, real=durable.replace):
        if moment == "before the first file" or (moment == "before the last file" and replaced):
            raise OSError("cut")
        replaced.append(data)
        real(path, data, mode)
        if moment == "after the first file":
            raise OSError("cut")

    def reseal(tx, change):
        raise OSError("cut")

    monkeypatch.setattr(durable, "replace", replace)
    if moment == "in the transaction":
        monkeypatch.setattr("ony_core.store.store.Tx.reseal", reseal)
    with pytest.raises(OSError, match="cut"):
        keyring.rotate_master(hall.folder, hall.store, hall.keyring, hall.clock)
    monkeypatch.undo()
    decides(hall)
    hall.restart()
    decides(hall)
    keyring.rotate_master(hall.folder, hall.store, hall.keyring, hall.clock)
    assert len(master_lines(hall)) == 1
    decides(hall)
    hall.restart()
    decides(hall)


# ---------------------------------------------------------------- the signing keys


def a_connector(hall: Kept, folder) -> Pins:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    return Pins(folder, {"verdict": hall.first_verdict, "audit": hall.first_audit}, hall.clock.wall)


@pytest.fixture
def rotated(hall):
    hall.first_verdict, hall.first_audit = hall.keyring.verdict_public, hall.keyring.audit_public
    assert running(asked)(hall, "rotate", key="verdict")[0] == 200
    return hall


def believes(pins: Pins, hall: Kept) -> bool:
    said = hall.keyring.statement("bundle", {"a": 1})
    try:
        opened("bundle", said, frozenset({"v", "type", "a"}), lambda signature, message: pins.verify("verdict", signature, message))
    except Refused:
        return False
    return True


def test_for_seven_days_the_old_key_signs_and_then_the_new_one_which_connectors_know_by_then(rotated, tmp_path):
    hall = rotated
    told, deaf = a_connector(hall, tmp_path / "told"), a_connector(hall, tmp_path / "deaf")
    assert hall.keyring.verdict_public == hall.first_verdict and believes(told, hall)
    assert told.learn(hall.keyring.statements) and not told.learn(hall.keyring.statements)
    hall.clock.pass_(OVERLAP_S - 100)
    running(hall.upkeep.sweep)()
    assert hall.keyring.verdict_public == hall.first_verdict and believes(told, hall)
    hall.clock.pass_(101)
    running(hall.upkeep.sweep)()
    assert hall.keyring.verdict_public != hall.first_verdict
    assert believes(told, hall) and not believes(deaf, hall)
    assert believes(a_connector(hall, tmp_path / "told"), hall), "what was learnt outlives a restart"
    assert deaf.learn(hall.keyring.statements) and believes(deaf, hall), "late, but the old key vouches"
    old = hall.store.read(lambda tx: next(key for key in tx.server_keys("verdict") if key.state == "retired"))
    signer = keyring.Ed25519PrivateKey.from_private_bytes(hall.keyring.unseal(old.private_sealed, "server_key", "", old.id))
    assert not told.verify("verdict", signer.sign(b"x"), b"x"), "a key that was replaced signs nothing any more"
    decides(hall)
    hall.restart()
    decides(hall)


def test_a_second_rotation_waits_for_the_first_and_is_then_followed_too(rotated, tmp_path):
    hall = rotated
    status, said = running(asked)(hall, "rotate", key="verdict")
    assert (status, said["error"]["code"]) == (409, "in_rotation")
    late = a_connector(hall, tmp_path / "late")
    for _ in range(2):
        hall.clock.pass_(OVERLAP_S + 1)
        running(hall.upkeep.sweep)()
        running(asked)(hall, "rotate", key="verdict")
    assert late.learn(hall.keyring.statements) and believes(late, hall), "one statement leads to the next"


def test_checkpoints_are_signed_by_the_new_key_in_the_end(rotated, tmp_path):
    hall = rotated
    running(asked)(hall, "rotate", key="audit")
    pins = a_connector(hall, tmp_path / "c")
    pins.learn(hall.keyring.statements)
    hall.clock.pass_(OVERLAP_S + 1)
    running(hall.upkeep.sweep)()
    decides(hall)
    assert hall.keyring.audit_public != hall.first_audit
    note = checkpoint.parse(hall.newest())
    assert checkpoint.signed_by(note, lambda signature, message: pins.verify("audit", signature, message))


def test_no_other_statement_teaches_a_connector_anything(rotated, tmp_path):
    (said,) = rotated.keyring.statements
    body = json.loads(said["payload"])
    stranger = keyring.Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
    public = "ed25519:" + stranger.public_key().public_bytes_raw().hex()

    def signed(**changes):
        payload = canon.dumps(body | changes)
        by = "ed25519:" + stranger.sign(b"ony/server_key/v1\n" + payload).hex()
        return {"payload": payload.decode(), "old_signature": by, "new_signature": by}

    flipped = said["old_signature"][:-1] + ("0" if said["old_signature"][-1] != "0" else "1")
    wrong = [None, 7, {}, [], {"payload": 1}, {**said, "old_signature": flipped}, {**said, "new_signature": flipped}, {**said, "extra": 1},
             signed(), signed(new=public), signed(old=public, new=public), {**said, "payload": said["payload"].replace("verdict", "audit")},
             {**said, "payload": said["payload"] + " "}, {**said, "new_signature": said["old_signature"]}]  # fmt: skip
    pins = a_connector(rotated, tmp_path / "c")
    for one in wrong:
        assert not pins.learn([one]), one
    assert not pins.learn("nonsense") and not pins.learn(None) and not (tmp_path / "c" / FILE).exists()


def test_pins_that_cannot_be_read_are_no_reason_to_begin_anew(rotated, tmp_path):
    pins = a_connector(rotated, tmp_path / "c")
    pins.learn(rotated.keyring.statements)
    (tmp_path / "c" / FILE).write_text("[{}]")
    with pytest.raises(OnyError, match="damaged"):
        a_connector(rotated, tmp_path / "c")


# ---------------------------------------------------------------- codes


@pytest.mark.parametrize(("act", "wish"), [("rotate", {"key": "master"}), ("rotate", {"key": "verdict"}), ("renew_totp", {})])
def test_each_takes_an_approvers_code(hall, act, wish):
    before = hall.store.read(lambda tx: tx._db.execute("SELECT * FROM server_key").fetchall()), master_lines(hall)
    assert running(asked)(hall, act, code="000000", **wish)[0] == 403
    assert before == (hall.store.read(lambda tx: tx._db.execute("SELECT * FROM server_key").fetchall()), master_lines(hall))
    assert running(asked)(hall, "rotate", key="tls")[0] == 400


def test_a_renewed_approval_secret_replaces_the_one_before_at_once(hall):
    status, said = running(asked)(hall, "renew_totp")
    assert status == 200 and said["totp_secret"] != hall.owner.secret and len(base64.b32decode(said["totp_secret"])) == 20
    old, hall.owner.secret = hall.owner.code(), said["totp_secret"]
    assert pyotp.parse_uri(said["otpauth_uri"]).secret == said["totp_secret"]

    @running
    async def both():
        request = await hall.held()
        assert await hall.presses(request, code=old) == "wrong_code"
        assert await hall.presses(request, code=hall.owner.code()) == "approved"

    both()
    assert hall.logged()[-3]["kind"] != "totp_renewed" and "totp_renewed" in hall.kinds()


def test_a_lost_secret_is_renewed_on_a_stopped_server_at_once_with_a_recovery_code(hall):
    user = hall.read(hall.org_id, lambda org: org.user(hall.owner.user_id))
    proof = hall.write(lambda org: factors.new_recovery_codes(org, user, hall.clock))[0]
    with pytest.raises(OnyError, match="another server"):
        keeping._renew_lost(hall.folder, "", proof)
    hall.store.close()
    with pytest.raises(OnyError, match="recovery codes"):
        keeping._renew_lost(hall.folder, "", "a" * 16)
    said = keeping._renew_lost(hall.folder, "", proof)
    with pytest.raises(OnyError, match="recovery codes"):
        keeping._renew_lost(hall.folder, "", proof)
    hall.reopened(hall.folder)
    assert [row["lost"] for row in hall.logged() if row["kind"] == "totp_renewed"] == [True]
    hall.owner.secret = said["totp_secret"]
    decides(hall)


def test_and_without_one_its_codes_count_a_day_later(hall):
    said = hall.store.write_now(lambda tx: keys.renewed_lost(tx, hall.keyring, "", "", hall.clock))
    hall.owner.secret = said["totp_secret"]

    @running
    async def tries(seconds: int, outcome: str):
        hall.clock.pass_(seconds)
        request = await hall.held(session=f"sess_{seconds:032x}")
        assert await hall.presses(request, code=hall.owner.code()) == outcome

    tries(0, "wrong_code")
    tries(keys.LOST_WAIT_S - 60, "wrong_code")
    tries(120, "approved")
    row = next(row for row in hall.logged() if row["kind"] == "totp_renewed")
    assert row["lost"] is True and row["active_from"] == said["active_from"]


def test_a_user_without_a_secret_gets_none_this_way(hall):
    nobody = SimpleNamespace(id="usr_" + "0" * 32, email="a@b")
    with pytest.raises(Refused, match="no approval secret"):
        hall.write(lambda org: keys.renewed(org, nobody, hall.keyring, hall.clock, lost=False))
