"""From an empty folder to an enrolled connector, judged by the connector's own checks; and every way in that must stay shut."""

import asyncio
import hashlib
import os
import re

import pyotp
import pytest

from ony_core import canon, endorse
from ony_core.connector import bundle, enrolled, statement
from ony_core.errors import Malformed, OnyError, Refused, UsageError
from ony_core.model import MODES
from ony_core.server import devices
from ony_core.server.admin import Admin, initialise
from ony_core.server.connectors import Connectors
from ony_core.server.message import Request
from ony_core.server.passwords import hashed
from tests.server.world import COMMIT, PUSH, WRONG, Hall, Person
from tests.store.world import Clock

EMAIL, NUMBER = "owner@example.com", "+15550100123"


def request(method: str, body: object = None, query: str = "", **headers: str) -> Request:
    found = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(method, "/", query, found, b"" if body is None else canon.dumps(body), "127.0.0.1")


def said(response) -> dict:
    return canon.loads(response.body) if response.body else {}


def refused(response) -> tuple[int, str]:
    return response.status, said(response)["error"]["code"]


class Office:
    """A hall with the two counters in front of the desk: the connectors' and the administrator's."""

    def __init__(self, folder, seed: str = "test") -> None:
        self.hall = Hall(folder, seed)
        hall = self.hall
        self.connectors = Connectors(hall.store, hall.keyring, hall.desk, hall.config, hall.clock)
        self.admin = Admin(hall.store, hall.keyring, hall.config, hall.clock)

    def code(self) -> str:
        return said(asyncio.run(self.admin.enroll_code(request("POST", {"email": EMAIL}))))["code"]

    def enroll(self, code: str, **changes):
        wish = {"code": code, "name": "laptop", "version": "0.2.0", "protocol": 1, **changes}
        return asyncio.run(self.connectors.enroll(request("POST", wish)))

    def phone(self, number: str = NUMBER, email: str = EMAIL, verified: bool = True, **confirmed: str):
        """Confirmed by the owner, with a code that was not used before, unless said otherwise."""
        self.hall.clock.pass_(30)
        wish = {"email": email, "number": number, "verified": verified, "by": "", "code": self.hall.owner.code(), **confirmed}
        return asyncio.run(self.admin.phone(request("POST", wish)))

    def bundle(self, **headers: str):
        return asyncio.run(self.connectors.bundle(request("GET", **headers), self.hall.owner.connector))


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path)
    yield made
    made.hall.close()


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


# ---------------------------------------------------------------- bundle


def bundle_of(office, kept=None):
    hall = office.hall
    me = enrolled.Enrolled("http://127.0.0.1", "", hall.owner.connector_id, hall.org_id, hall.owner.user_id, "t" * 20,
                           hall.keyring.verdict_public, b"", "", (), b"", b"")  # fmt: skip
    return bundle.check(said(office.bundle()), me, statement.verifier(me.server_key), kept)


def test_an_unchanged_bundle_is_not_sent_again_and_a_changed_one_is(office):
    etag = dict(office.bundle().headers)["ETag"]
    office.hall.clock.pass_(60)
    assert office.bundle(if_none_match=etag).status == 304
    asyncio.run(office.admin.revoke_device(request("POST"), office.hall.owner.device_id))
    assert office.bundle(if_none_match=etag).status == 200


def test_a_bundle_grows_no_older_than_an_hour(office):
    etag = dict(office.bundle().headers)["ETag"]
    office.hall.clock.pass_(3600)
    assert office.bundle(if_none_match=etag).status == 200


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_was_set_is_in_the_next_bundle(office, mode):
    wish = {"session": "", "mode": mode, "minutes": 60, "code": office.hall.owner.code()}
    asyncio.run(office.connectors.modes(request("POST", wish), office.hall.owner.connector))
    (found,) = bundle_of(office).modes
    assert (found.mode, found.until) == (mode, office.hall.clock.wall() + 3600)


def test_a_phone_its_owner_let_in_is_pinned_by_a_connector_that_enrolled_before(office):
    code = office.code()
    accepted = enrolled.accept(said(office.enroll(code)), code, "http://127.0.0.1:8750", "laptop", office.hall.clock)
    made = said(office.phone())
    connector = office.hall.read(office.hall.org_id, lambda org: org.connector(accepted.connector_id))
    signed = said(asyncio.run(office.connectors.bundle(request("GET"), connector)))
    fresh = bundle.check(signed, accepted, statement.verifier(accepted.server_key), None)
    (new,), reasons = endorse.added(fresh.listed, accepted.connector_id, accepted.approvers)
    assert (new.device_id, new.label, reasons) == (made["device_id"], "+1•••0123", [])
    later = said(office.enroll(office.code()))
    assert {one["device_id"]: one.get("key") for one in later["approvers"]}.keys() >= {made["device_id"]}


def test_a_phone_that_somebody_else_let_in_is_endorsed_to_nobody(office):
    office.hall.store.write_now(lambda tx: tx.org(office.hall.org_id).add_user("usr_" + "7" * 32, "new@example.com", "member", ""))
    device_id = said(office.phone(email="new@example.com", by=EMAIL))["device_id"]
    assert office.hall.read(office.hall.org_id, lambda org: org.device(device_id)).endorsed_by is None


# ---------------------------------------------------------------- what a connector tells and asks


EVENTS = [
    ([{"type": "heartbeat"}], 0),
    ([{"type": "used", "request_id": "req_" + "1" * 32}], 1),
    ([{"type": "refused", "request_id": "req_" + "1" * 32, "reason": "bad_signature"}], 1),
    ([{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 495230, "passes": 12}], 0),
    ([], 0),
]


@pytest.mark.parametrize(("events", "logged"), EVENTS)
def test_events_that_are_heard(office, events, logged):
    before = len(office.hall.kinds())
    heard = asyncio.run(office.connectors.events(request("POST", {"events": events}), office.hall.owner.connector))
    assert (heard.status, len(office.hall.kinds()) - before) == (204, logged)


NOISE = [
    [{"type": "approved", "request_id": "req_" + "1" * 32}],
    [{"type": "used", "request_id": "rm -rf /"}],
    [{"type": "refused", "reason": "the owner's password is hunter2"}],
    [{"type": "used", "request_id": "req_" + "1" * 32, "note": "free text"}],
    [{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": -1, "passes": 1}],
    [{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 1, "passes": True}],
    [{"type": "heartbeat"}] * 201,
    ["heartbeat"],
    [{"type": ["used"]}],
    [{"type": "used", "request_id": "req_" + "1" * 32}, {"type": "nonsense"}],
]


@pytest.mark.parametrize("events", NOISE)
def test_events_that_are_not_closed_words_leave_no_trace(office, events):
    before = office.hall.kinds()
    with pytest.raises(Malformed):
        asyncio.run(office.connectors.events(request("POST", {"events": events}), office.hall.owner.connector))
    assert office.hall.kinds() == before


@pytest.mark.parametrize("kind", ["used", "refused", "mismatch"])
def test_a_connector_reports_nothing_of_anothers_request(office, kind):
    hall = office.hall
    stranger = Person(hall, hall.org_id, "neighbour@example.com")

    async def reported():
        asked = await hall.held()
        before = hall.kinds()
        events = [{"type": kind, "request_id": asked.request_id}]
        answered = await office.connectors.events(request("POST", {"events": events}), stranger.connector)
        return refused(answered), hall.kinds() == before

    assert asyncio.run(reported()) == ((404, "unknown_request"), True)


def test_a_look_brings_the_verdict_with_its_proof_and_another_connector_learns_nothing(office):
    hall = office.hall

    async def looks():
        asked = await hall.approved()
        neighbour = Person(hall, hall.org_id, "neighbour@example.com")
        mine = await office.connectors.look(request("GET", query="wait=25"), hall.owner.connector, asked.request_id)
        return said(mine), await office.connectors.look(request("GET"), neighbour.connector, asked.request_id)

    mine, other = asyncio.run(looks())
    assert mine["state"] == "approved"
    assert mine["decided_by"] == {"device_id": hall.owner.device_id, "label": "Phone"}
    assert set(mine["verdict"]) == {"payload", "signature", "server_signature"}
    assert set(mine["proof"]) == {"row", "note", "inclusion", "consistency"}
    assert refused(other) == (404, "unknown_request")


@pytest.mark.parametrize("query", ["wait=-1", "wait=25&wait=1", "wait=", "wait=1e3", "weit=1", "wait=%31"])
def test_a_query_that_could_be_read_differently_is_malformed(office, query):
    with pytest.raises(Malformed):
        asyncio.run(office.connectors.look(request("GET", query=query), office.hall.owner.connector, "req_" + "1" * 32))


def test_this_computer_answers_only_in_mode_here_and_only_with_the_code(office):
    hall, owner = office.hall, office.hall.owner

    async def decides(asked, code):
        wish = request("POST", {"decision": "approve", "code": code})
        return await office.connectors.decide(wish, owner.connector, asked.request_id)

    async def answers():
        early = await decides(await hall.held(PUSH), owner.code())
        wish = {"session": "sess_" + "3" * 32, "mode": "here", "minutes": 60, "code": None}
        await office.connectors.modes(request("POST", wish), owner.connector)
        here = await hall.held(COMMIT, session="sess_" + "3" * 32)
        return early, [said(await decides(here, code))["outcome"] for code in ("", "000000", owner.code())]

    early, outcomes = asyncio.run(answers())
    assert refused(early) == (409, "not_here")
    assert outcomes == ["code_needed", "wrong_code", "approved"]


def test_no_answer_of_the_administrators_counter_holds_a_secret_twice(office):
    office.phone()
    for ask in (office.admin.devices, office.admin.connectors, office.admin.status):
        assert not re.search(rb"[A-Z2-7]{32}", asyncio.run(ask(request("GET"))).body)
    assert devices.masked(NUMBER) == "+1•••0123"
