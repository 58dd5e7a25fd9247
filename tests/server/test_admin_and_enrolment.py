"""From an empty folder to an enrolled connector, judged by the connector's own checks; and every way in that must stay shut."""

import asyncio
import hashlib
import os
import re

import pyotp
import pytest

from ony_core.connector import bundle, enrolled, statement
from ony_core.errors import Malformed, OnyError, Refused, UsageError
from ony_core.server.admin import initialise
from ony_core.server.message import Request
from ony_core.server.passwords import hashed
from tests.server.office import EMAIL, NUMBER, Office, bundle_of, refused, request, said
from tests.server.world import WRONG
from tests.store.world import Clock

# ---------------------------------------------------------------- a new server


def new_server(folder, **changes):
    wish = {"org": "Acme", "email": EMAIL, "password": "correct horse battery", **changes}
    return initialise(folder, wish["org"], wish["email"], wish["password"], Clock())


def test_init_makes_a_server_in_a_folder_of_its_own(tmp_path):
    made = new_server(tmp_path / "data")
    assert set(made) == {"org_id", "user_id", "verification_key"}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (tmp_path / "data").iterdir()} >= {"ony.db", "master.key", "audit.key"}
    assert not [path for path in (tmp_path / "data").iterdir() if path.stat().st_mode & 0o077]


def test_init_says_no_where_there_is_a_server_and_changes_nothing(tmp_path):
    new_server(tmp_path / "data")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    with pytest.raises(OnyError, match="already"):
        new_server(tmp_path / "data")
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_init_leaves_a_strangers_folder_as_it_is(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "letters.txt").write_text("mine")
    os.chmod(tmp_path / "home", 0o755)
    with pytest.raises(OnyError):
        new_server(tmp_path / "home")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letters.txt"]


WISHES = [{"password": "eleven char"}, {"password": "x" * 1025}, {"password": ""}, {"email": "owner"}, {"org": ""}, {"org": "A\nB"}]


@pytest.mark.parametrize("wish", WISHES)
def test_init_makes_nothing_of_a_bad_wish(tmp_path, wish):
    with pytest.raises(UsageError):
        new_server(tmp_path / "data", **wish)
    assert not (tmp_path / "data").exists()


def test_a_password_is_kept_as_a_slow_salted_hash():
    kept = hashed("correct horse battery", b"s" * 16)
    scheme, rounds, _, _ = kept.split("$")
    assert (scheme, int(rounds) >= 600_000) == ("pbkdf2-sha256", True)
    assert kept != hashed("correct horse battery", b"t" * 16)
    assert "correct" not in kept


# ---------------------------------------------------------------- phones


def test_the_first_phone_of_a_user_brings_the_secret_and_the_second_does_not(tmp_path):
    office = Office(tmp_path)
    office.hall.store.write_now(lambda tx: tx.org(office.hall.org_id).add_user("usr_" + "7" * 32, "new@example.com", "member", ""))
    confirmed = {"by": EMAIL}
    first, second = (said(office.phone(number, "new@example.com", **confirmed)) for number in (NUMBER, "+15550100124"))
    assert pyotp.parse_uri(first["otpauth_uri"]).secret == first["totp_secret"]
    assert len(first["totp_secret"]) == 32
    assert (second["totp_secret"], second["otpauth_uri"]) == (None, None)
    assert first["device_id"] != second["device_id"]
    office.hall.close()


PHONES = [
    ({"number": "5550100123"}, (400, "bad_number")),
    ({"number": "+05550100123"}, (400, "bad_number")),
    ({"number": "+1555010012345678"}, (400, "bad_number")),
    ({"number": "+1555010012٣"}, (400, "bad_number")),
    ({"number": NUMBER + "\n"}, (400, "bad_number")),
    ({"verified": False}, (400, "not_verified")),
    ({"email": "nobody@example.com"}, (404, "unknown_user")),
]


CONFIRMATIONS = [
    ({"code": ""}, (403, "code_needed")),
    ({"code": WRONG}, (403, "wrong_code")),
    ({"code": "x" * 19}, (403, "wrong_code")),
    ({"by": "nobody@example.com"}, (404, "unknown_approver")),
]


@pytest.mark.parametrize(("wish", "answer"), CONFIRMATIONS)
def test_once_there_is_an_approver_a_phone_takes_their_code(office, wish, answer):
    before = len(office.hall.read(office.hall.org_id, lambda org: org.devices()))
    assert refused(office.phone(**wish)) == answer
    assert len(office.hall.read(office.hall.org_id, lambda org: org.devices())) == before


def test_revoking_every_phone_does_not_unlock_the_door_again(office):
    asyncio.run(office.admin.revoke_device(request("POST"), office.hall.owner.device_id))
    assert refused(office.phone(code="")) == (403, "code_needed")


def test_the_code_that_confirms_is_used_up(office):
    code = office.hall.owner.code(1)
    assert office.phone(code=code).status == 201
    office.hall.clock.pass_(-30)
    assert refused(office.phone(code=code)) == (403, "wrong_code")


@pytest.mark.parametrize(("wish", "answer"), PHONES)
def test_phones_that_are_not_enrolled(office, wish, answer):
    before = office.hall.kinds()
    assert refused(office.phone(**wish)) == answer
    assert office.hall.kinds() == before


def test_a_number_is_kept_sealed_and_shown_masked_and_never_logged(office, tmp_path):
    office.phone()
    listed = asyncio.run(office.admin.devices(request("GET")))
    assert "+1•••0123" in [device["label"] for device in said(listed)["devices"]]
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal")) + listed.body
    assert b"5550100" not in kept


def test_a_revoked_device_is_gone_from_the_next_bundle_and_stays_so(office):
    hall = office.hall
    checked = bundle_of(office)
    assert checked.states[hall.owner.device_id] == "active"
    assert asyncio.run(office.admin.revoke_device(request("POST"), hall.owner.device_id)).status == 200
    newer = bundle_of(office, checked)
    assert newer.states[hall.owner.device_id] == "revoked"
    assert newer.version > checked.version
    assert refused(asyncio.run(office.admin.revoke_device(request("POST"), hall.owner.device_id))) == (404, "unknown_device")


# ---------------------------------------------------------------- enrolment


def test_an_enrolment_is_what_the_connector_accepts(office):
    code = office.code()
    assert re.fullmatch(r"ony(-[A-Z2-7]{4}){8}", code)
    made = office.enroll(code)
    accepted = enrolled.accept(said(made), code, "http://127.0.0.1:8750", "laptop", office.hall.clock)
    assert (made.status, accepted.server_key) == (201, office.hall.keyring.verdict_public)
    first = bundle.check(said(made)["bundle"], accepted, statement.verifier(accepted.server_key), None)
    assert first.fresh(office.hall.clock.wall())
    (approver,) = accepted.approvers
    from ony_core import verdict

    assert approver.key == verdict.connector_key(office.hall.owner.decision_key, accepted.connector_id)


def test_a_token_is_kept_as_a_digest_only(office, tmp_path):
    token = said(office.enroll(office.code()))["token"]
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal"))
    assert token.encode() not in kept
    assert token.removeprefix("con_").encode() not in kept
    found = office.hall.store.read(lambda tx: tx.connector_by_token(hashlib.sha256(token.encode()).digest()))
    assert (found.name, found.state) == ("laptop", "active")


def test_a_one_time_code_is_kept_as_a_digest_only(office, tmp_path):
    code = office.code()
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal"))
    assert code.encode() not in kept
    assert re.sub("-", "", code).upper().encode() not in kept


def test_people_type_codes_in_many_ways(office):
    for way in (str.lower, str.upper, lambda c: c.replace("-", " "), lambda c: f"  {c}\n"):
        assert office.enroll(way(office.code())).status == 201


def test_a_code_works_once(office):
    code = office.code()
    assert office.enroll(code).status == 201
    assert refused(office.enroll(code)) == (403, "bad_code")


def test_of_many_enrolments_with_one_code_at_once_one_is_made(office):
    code = office.code()
    wish = {"code": code, "name": "laptop", "version": "0.2.0", "protocol": 1}

    async def rush():
        return await asyncio.gather(*(office.connectors.enroll(request("POST", wish)) for _ in range(20)))

    assert sorted(made.status for made in asyncio.run(rush())) == [201] + [403] * 19


def test_a_code_ends_after_a_quarter_of_an_hour(office):
    first, second = office.code(), office.code()
    office.hall.clock.pass_(899)
    assert office.enroll(first).status == 201
    office.hall.clock.pass_(1)
    assert refused(office.enroll(second)) == (403, "bad_code")


def test_a_code_that_was_never_made_is_refused_like_a_used_one(office):
    code = office.code()
    other = code[:4] + ("B" if code[4] != "B" else "C") + code[5:]
    assert refused(office.enroll(other)) == (403, "bad_code")
    assert office.enroll(code).status == 201, "and takes nothing from the right one"


ODD = [{"code": "ony-1"}, {"code": ""}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 100}, {"version": "1 2"}, {"protocol": 2}]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_enrolment_is_refused_before_the_code_is_used(office, odd):
    code = office.code()
    assert office.enroll(**{"code": code, **odd}).status == 400
    assert office.enroll(code).status == 201


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"code":"x"}', b'{"code":1,"name":"a","version":"1","protocol":1}', b"\xff"])
def test_a_body_of_another_shape_is_malformed(office, body):
    with pytest.raises(Malformed):
        asyncio.run(office.connectors.enroll(Request("POST", "/", body=body)))


def test_a_server_with_another_key_is_not_the_one_the_code_vouches_for(office, tmp_path):
    (tmp_path / "other").mkdir()
    code, stranger = office.code(), Office(tmp_path / "other", seed="stranger")
    answer = said(stranger.enroll(stranger.code()))
    with pytest.raises(Refused) as found:
        enrolled.accept(answer, code, "http://127.0.0.1:8750", "laptop", office.hall.clock)
    assert found.value.reason == "wrong_server"
    stranger.hall.close()


def test_a_code_for_nobody_in_particular_needs_a_server_with_one_user(office):
    assert asyncio.run(office.admin.enroll_code(request("POST", {"email": ""}))).status == 201
    office.hall.store.write_now(lambda tx: tx.org(office.hall.org_id).add_user("usr_" + "7" * 32, "second@example.com", "member", ""))
    assert refused(asyncio.run(office.admin.enroll_code(request("POST", {"email": ""})))) == (404, "unknown_user")
