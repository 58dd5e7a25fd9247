"""Logging in and out: what gets a session, what a session survives, and what nobody learns on the way."""

import hashlib

import pyotp
import pytest

from ony_core.server import passwords, sessions, strength
from ony_core.server.sessions import HALF
from tests.server.town import PASSWORD, QUICK, Town, refused, said

NEW_PASSWORD = "quite another battery"


@pytest.fixture
def town(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "ITERATIONS", QUICK)  # its cost is measured in test_freeze
    made = Town(tmp_path)
    yield made
    made.hall.close()


def login(town, person, password: str = PASSWORD, browser=None, **changes: str):
    browser = browser or town.browser()
    return browser, browser.post("/v1/login", {"email": person.email, "password": password, **changes})


# ---------------------------------------------------------------- password and second factor


def test_a_member_without_a_second_factor_is_in_with_the_password(town):
    browser, answered = login(town, town.person("ann"))
    assert (answered.status, said(answered)) == (200, {"next": ""})
    me = browser.get("/v1/me")
    assert (me["email"], me["role"], me["fresh"]) == ("ann@example.com", "member", True)


def test_with_a_second_factor_the_password_alone_opens_nothing(town):
    ann = town.person("ann", second_factor=True)
    browser, answered = login(town, ann)
    assert said(answered) == {"next": "totp"}
    assert refused(browser.ask("GET", "/v1/me")) == (401, "second_factor")
    half = browser.token
    assert browser.post("/v1/login/totp", {"code": town.code(ann)}).status == 200
    assert browser.get("/v1/me")["second_factor"]
    assert browser.token != half
    assert refused(town.browser().ask("GET", "/v1/me", cookie=f"__Host-ony={half}")) == (401, "no_session")


@pytest.mark.parametrize("who", ["an administrator", "an approver"])
def test_who_must_have_a_second_factor_makes_one_at_the_first_login(town, who):
    ann = town.person("ann", "admin" if who == "an administrator" else "member")
    if who == "an approver":
        town.hall.write(lambda org: org.add_totp(ann.user_id, "approval", b"sealed"))
    browser, answered = login(town, ann)
    assert said(answered) == {"next": "enrol"}
    assert refused(browser.ask("GET", "/v1/me")) == (401, "second_factor")
    shown = said(browser.post("/v1/login/enrol"))
    assert pyotp.parse_uri(shown["otpauth_uri"]).secret == shown["totp_secret"]
    assert refused(browser.post("/v1/login/enrol/confirm", {"code": "000000"})) == (403, "wrong_code")
    assert refused(browser.ask("GET", "/v1/me")) == (401, "second_factor")
    ann.secret = shown["totp_secret"]
    made = said(browser.post("/v1/login/enrol/confirm", {"code": town.code(ann)}))
    assert len(set(made["recovery_codes"])) == 10
    assert browser.get("/v1/me")["recovery_codes_left"] == 10
    assert said(login(town, ann)[1]) == {"next": "totp"}


def test_a_second_factor_that_exists_is_not_made_anew_by_the_password(town):
    browser, _ = login(town, town.person("ann", "admin", second_factor=True))
    assert refused(browser.post("/v1/login/enrol")) == (409, "wrong_step")
    assert refused(browser.post("/v1/login/enrol/confirm", {"code": "123456"})) == (409, "wrong_step")


def test_the_approval_code_is_no_login_code_and_the_other_way_round(town):
    ann = town.person("ann", second_factor=True)
    approval = pyotp.random_base32()
    sealed = town.hall.keyring.seal(approval.encode(), "totp.approval", ann.org_id, ann.user_id, town.clock)
    town.hall.write(lambda org: org.add_totp(ann.user_id, "approval", sealed))
    browser, _ = login(town, ann)
    assert refused(browser.post("/v1/login/totp", {"code": pyotp.TOTP(approval).at(town.clock.now)})) == (403, "wrong_code")


def test_a_code_is_good_once_and_steps_never_go_back(town):
    ann = town.person("ann", second_factor=True)
    browser, _ = login(town, ann)
    assert browser.post("/v1/login/totp", {"code": town.code(ann)}).status == 200
    for steps in (0, -1):
        again, _ = login(town, ann)
        assert refused(again.post("/v1/login/totp", {"code": town.code(ann, steps)})) == (403, "wrong_code")


def test_five_wrong_codes_close_the_second_factor_for_a_quarter_of_an_hour(town):
    ann = town.person("ann", second_factor=True)
    browser, _ = login(town, ann)
    answers = [refused(browser.post("/v1/login/totp", {"code": "000000"}))[1] for _ in range(5)]
    assert answers == ["wrong_code"] * 4 + ["closed"]
    assert refused(browser.post("/v1/login/totp", {"code": town.code(ann)})) == (403, "closed")
    town.clock.pass_(15 * 60)
    browser, _ = login(town, ann)
    assert browser.post("/v1/login/totp", {"code": town.code(ann)}).status == 200


def test_a_half_login_ends_after_ten_minutes(town):
    ann = town.person("ann", second_factor=True)
    browser, _ = login(town, ann)
    town.clock.pass_(10 * 60)
    assert refused(browser.post("/v1/login/totp", {"code": town.code(ann)})) == (401, "no_session")


# ---------------------------------------------------------------- recovery codes


def with_recovery_codes(town):
    ann = town.person("ann", second_factor=True)
    return ann, said(town.session(ann).post("/v1/me/recovery-codes"))["recovery_codes"]


def test_a_recovery_code_stands_in_for_the_second_factor_once(town):
    ann, made = with_recovery_codes(town)
    browser, _ = login(town, ann)
    assert said(browser.post("/v1/login/recovery", {"code": made[3].upper().replace("-", " ")}))["recovery_codes_left"] == 9
    assert browser.get("/v1/me")["fresh"]
    again, _ = login(town, ann)
    assert refused(again.post("/v1/login/recovery", {"code": made[3]})) == (403, "wrong_code")
    assert again.post("/v1/login/recovery", {"code": made[4]}).status == 200


def test_new_recovery_codes_end_the_old_ones_and_none_is_kept_in_the_clear(town, tmp_path):
    ann, old = with_recovery_codes(town)
    new = said(town.session(ann).post("/v1/me/recovery-codes"))["recovery_codes"]
    browser, _ = login(town, ann)
    assert refused(browser.post("/v1/login/recovery", {"code": old[0]})) == (403, "wrong_code")
    assert browser.post("/v1/login/recovery", {"code": new[0]}).status == 200
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal"))
    assert not [code for code in new if code.encode() in kept or code.replace("-", "").upper().encode() in kept]


def test_guessing_recovery_codes_closes_that_way_and_no_other(town):
    ann, made = with_recovery_codes(town)
    browser, _ = login(town, ann)
    answers = [refused(browser.post("/v1/login/recovery", {"code": "aaaa-aaaa-aaaa-aaaa"}))[1] for _ in range(6)]
    assert answers == ["wrong_code"] * 4 + ["closed"] * 2
    assert refused(browser.post("/v1/login/recovery", {"code": made[0]})) == (403, "closed")
    assert browser.post("/v1/login/totp", {"code": town.code(ann)}).status == 200


def test_recovery_codes_do_not_skip_the_making_of_a_second_factor(town):
    ann = town.person("ann", "admin")
    town.hall.write(lambda org: org.set_recovery_codes(ann.user_id, [hashlib.sha256(b"A" * 16).digest()]))
    browser, _ = login(town, ann)
    assert refused(browser.post("/v1/login/recovery", {"code": "a" * 16})) == (409, "wrong_step")


# ---------------------------------------------------------------- what nobody learns


def test_unknown_people_wrong_passwords_and_the_disabled_hear_the_same_and_cost_the_same(town, monkeypatch):
    ann, gone = town.person("ann"), town.person("gone")
    town.hall.write(lambda org: org.change_user(gone.user_id, state="disabled"))
    hashes, commits = [], []
    monkeypatch.setattr(passwords, "holds", lambda stored, password: hashes.append(stored) or False)
    write = town.store.write

    async def counted(work):
        commits.append(1)
        return await write(work)

    monkeypatch.setattr(town.store, "write", counted)
    answers = []
    for email in (ann.email, gone.email, "nobody@example.com", "", "x" * 5000):
        before = (len(hashes), len(commits))
        answers.append(town.browser(peer=f"192.0.2.{len(answers) + 1}").post("/v1/login", {"email": email, "password": "wrong one here"}))
        assert (len(hashes) - before[0], len(commits) - before[1]) == (1, 1), email
    assert {refused(one) for one in answers} == {(403, "wrong_password")}
    assert len({(one.body, one.headers) for one in answers}) == 1
    assert [row["user_id"] for row in town.log("login")] == [ann.user_id, None, None, None, None]


def test_tries_are_put_off_and_say_when_to_come_back(town):
    ann = town.person("ann")
    for _ in range(5):
        login(town, ann, "wrong one here")
    _, answered = login(town, ann)
    assert refused(answered) == (429, "too_many_tries")
    assert dict(answered.headers)["Retry-After"] == "30"
    _, elsewhere = login(town, ann, browser=town.browser(peer="198.51.100.1"))
    assert elsewhere.status == 200, "another address is not locked out"


def test_capitals_in_an_address_neither_matter_nor_give_more_tries(town):
    ann = town.person("ann")
    for email in ("Ann@Example.com", "ANN@example.com", " ann@example.com", "aNN@example.com", "anN@example.com"):
        town.browser().post("/v1/login", {"email": email, "password": "wrong one here"})
    assert refused(login(town, ann)[1]) == (429, "too_many_tries")


def test_an_account_elsewhere_with_the_same_address_takes_nothing_from_the_first(town):
    other = town.hall.new_org()
    ann = town.person("ann")
    town.clock.pass_(1)
    twin = town.person("ann", org_id=other)
    browser, _ = login(town, ann)
    assert browser.get("/v1/me")["user_id"] == ann.user_id
    browser, _ = login(town, ann, org=other)
    assert browser.get("/v1/me")["user_id"] == twin.user_id


def test_no_token_and_no_password_is_kept(town, tmp_path):
    browser, _ = login(town, town.person("ann"))
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal"))
    assert browser.token.encode() not in kept and bytes.fromhex(browser.token) not in kept
    assert PASSWORD.encode() not in kept


def test_a_hash_of_fewer_rounds_is_renewed_at_the_next_login(town, monkeypatch):
    ann = town.person("ann")
    monkeypatch.setattr(passwords, "ITERATIONS", 2 * QUICK)
    login(town, ann)
    assert town.hall.read(ann.org_id, lambda org: org.password(ann.user_id)).startswith(f"pbkdf2-sha256${2 * QUICK}$")
    assert login(town, ann)[1].status == 200


# ---------------------------------------------------------------- the cookie


def test_the_cookie_is_as_strict_as_cookies_get(town):
    browser, _ = login(town, town.person("ann"))
    name, *attributes = browser.set_cookie.split("; ")
    assert name.startswith("__Host-ony=") and len(browser.token) == 64
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}


def test_over_plain_http_only_this_machine_may_log_in_with_a_cookie_of_another_name(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "ITERATIONS", QUICK)
    town = Town(tmp_path, public_url="", secure=False)
    ann, here = town.person("ann"), {"host": "localhost:8750", "origin": "http://localhost:8750"}
    far, near = town.browser(peer="192.0.2.7", **here), town.browser(peer="127.0.0.1", **here)
    assert refused(login(town, ann, browser=far)[1]) == (403, "not_private")
    assert login(town, ann, browser=near)[1].status == 200
    assert near.set_cookie.startswith("ony-local=") and "Secure" not in near.set_cookie
    assert near.get("/v1/me")["email"] == ann.email
    town.hall.close()


COOKIES = ["", "__Host-ony=", "__Host-ony=" + "0" * 64, "ony-local={}", "__Host-ony={}; __Host-ony={}", "__Host-ony={}0", "x__Host-ony={}"]


@pytest.mark.parametrize("cookie", COOKIES)
def test_cookies_that_prove_nothing(town, cookie):
    token = town.session(town.person("ann")).token
    assert refused(town.browser().ask("GET", "/v1/me", cookie=cookie.replace("{}", token))) == (401, "no_session")


def test_a_cookie_among_others_is_found(town):
    token = town.session(town.person("ann")).token
    assert town.browser().ask("GET", "/v1/me", cookie=f"theme=dark; __Host-ony={token}; x=1").status == 200


# ---------------------------------------------------------------- origins


FOREIGN = [
    {"origin": ""},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://ony.example.com"},
    {"origin": "https://ony.example.com:8443"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", ["/v1/login", "/v1/logout", "/v1/me/sessions/end-others", "/v1/invitations/accept", "/v1/login/totp"])
def test_a_page_of_another_origin_changes_nothing(town, headers, path):
    browser = town.session(town.person("ann"))
    assert refused(browser.post(path, {}, **headers)) == (403, "foreign_origin")
    assert browser.get("/v1/me")["email"] == "ann@example.com"


def test_a_browser_that_sends_no_fetch_metadata_is_judged_by_its_origin(town):
    assert town.session(town.person("ann")).post("/v1/logout", **{"sec-fetch-site": ""}).status == 204


# ---------------------------------------------------------------- how long a session lives


@pytest.mark.parametrize(("role", "minutes"), [("admin", 15), ("member", 30), ("viewer", 30)])
def test_silence_ends_a_session(town, role, minutes):
    browser = town.session(town.person("ann", role))
    town.clock.pass_(60 * minutes - 1)
    assert browser.ask("GET", "/v1/me").status == 200
    town.clock.pass_(60 * minutes - 1)
    assert browser.ask("GET", "/v1/me").status == 200, "a request ends the silence"
    town.clock.pass_(60 * minutes)
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")


def test_after_twelve_hours_a_session_ends_however_busy_it_was(town):
    ann = town.person("ann", second_factor=True)
    browser = town.session(ann)
    for look in range(25):
        town.clock.pass_(1700)
        assert browser.ask("GET", "/v1/me").status == 200, look
    assert browser.post("/v1/me/confirm", {"password": PASSWORD, "code": town.code(ann)}).status == 200, "another token is no new life"
    town.clock.pass_(12 * 3600 - 25 * 1700 - 1)
    assert browser.ask("GET", "/v1/me").status == 200
    town.clock.pass_(1)
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")


def test_a_clock_that_is_set_back_makes_nobody_younger(town):
    browser = town.session(town.person("ann"))
    town.clock.now -= 3600
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")


def test_a_look_writes_at_most_once_a_minute(town):
    browser = town.session(town.person("ann"))
    before = town.store.read(lambda tx: tx._db.execute("SELECT max(seen_at) FROM web_session").fetchone())
    town.clock.pass_(sessions.SEEN_S - 1)
    browser.get("/v1/me")
    assert town.store.read(lambda tx: tx._db.execute("SELECT max(seen_at) FROM web_session").fetchone()) == before


def test_sessions_that_ran_out_are_cleared_away_at_the_next_login(town):
    ann = town.person("ann")
    for _ in range(3):
        town.session(ann)
    town.clock.pass_(1800)
    login(town, ann)
    assert len(town.hall.read(ann.org_id, lambda org: org.sessions(ann.user_id))) == 1


# ---------------------------------------------------------------- one's own account


def test_logging_out_ends_the_session_and_takes_the_cookie_away(town):
    browser = town.session(town.person("ann"))
    token = browser.token
    assert browser.post("/v1/logout").status == 204
    assert "Max-Age=0" in browser.set_cookie and browser.token == ""
    assert refused(town.browser().ask("GET", "/v1/me", cookie=f"__Host-ony={token}")) == (401, "no_session")
    assert [row["reason"] for row in town.log("session_ended")] == ["logout"]


def test_a_new_password_ends_every_other_session_and_renews_this_one(town):
    ann = town.person("ann")
    other, browser = town.session(ann), town.session(ann)
    before = browser.token
    assert said(browser.post("/v1/me/password", {"old": PASSWORD, "new": NEW_PASSWORD})) == {"ended": 1}
    assert browser.token != before and browser.get("/v1/me")
    assert refused(other.ask("GET", "/v1/me")) == (401, "no_session")
    assert refused(login(town, ann)[1]) == (403, "wrong_password")
    assert login(town, ann, NEW_PASSWORD)[1].status == 200


def test_a_new_password_takes_the_old_one(town):
    browser = town.session(town.person("ann"))
    assert refused(browser.post("/v1/me/password", {"old": "wrong one here", "new": NEW_PASSWORD})) == (403, "wrong_password")
    assert town.log("confirmation")[-1]["result"] == "wrong_password"


WEAK = ["eleven char", "x" * 1025, "123456789012345", "aaaaaaaaaaaaaaaa", "1234567890qwertyuiop", "annexample12", "TestTestTest",
        "ony-ony-ony-ony"]  # fmt: skip


@pytest.mark.parametrize("password", WEAK)
def test_passwords_that_may_not_be_chosen(town, password):
    browser = town.session(town.person("ann"))
    assert refused(browser.post("/v1/me/password", {"old": PASSWORD, "new": password})) == (400, "weak_password")


@pytest.mark.parametrize(
    "password", ["correct horse battery", "x7$kQ9!mZ2@w", "пароль, который длинный", "just spaces and words", "acegikmoqsuwy" * 70]
)
def test_any_characters_will_do(password):
    assert strength.trouble(password, ("Test", "ann@example.com")) == ""


def test_a_new_second_factor_is_used_once_it_was_shown_and_ends_the_other_sessions(town):
    ann = town.person("ann", second_factor=True)
    other, browser, old = town.session(ann), town.session(ann), ann.secret
    new = said(browser.post("/v1/me/totp"))["totp_secret"]
    assert login(town, ann)[0].post("/v1/login/totp", {"code": town.code(ann)}).status == 200, "the old one is still in use"
    town.clock.pass_(30)
    assert refused(browser.post("/v1/me/totp/confirm", {"code": town.code(ann)})) == (403, "wrong_code")
    ann.secret = new
    assert len(said(browser.post("/v1/me/totp/confirm", {"code": town.code(ann)}))["recovery_codes"]) == 10
    assert refused(other.ask("GET", "/v1/me")) == (401, "no_session")
    again, _ = login(town, ann)
    assert refused(again.post("/v1/login/totp", {"code": town.code(ann)})) == (403, "wrong_code"), "its first code is used up"
    town.clock.pass_(30)
    assert again.post("/v1/login/totp", {"code": pyotp.TOTP(old).at(town.clock.now)}).status == 403
    assert again.post("/v1/login/totp", {"code": town.code(ann)}).status == 200


def test_what_is_sensitive_needs_both_factors_within_five_minutes(town):
    ann = town.person("ann", second_factor=True)
    browser = town.session(ann)
    town.clock.pass_(299)
    assert browser.post("/v1/me/recovery-codes").status == 201
    town.clock.pass_(1)
    assert refused(browser.post("/v1/me/recovery-codes")) == (403, "not_fresh")
    before = browser.token
    assert refused(browser.post("/v1/me/confirm", {"password": PASSWORD, "code": "000000"})) == (403, "wrong_code")
    assert refused(browser.post("/v1/me/confirm", {"password": "wrong one here", "code": town.code(ann)})) == (403, "wrong_password")
    assert refused(browser.post("/v1/me/confirm", {"password": PASSWORD, "code": ""})) == (403, "wrong_code")
    assert refused(browser.post("/v1/me/recovery-codes")) == (403, "not_fresh")
    assert browser.post("/v1/me/confirm", {"password": PASSWORD, "code": town.code(ann)}).status == 200
    assert browser.post("/v1/me/recovery-codes").status == 201
    assert refused(town.browser().ask("GET", "/v1/me", cookie=f"__Host-ony={before}")) == (401, "no_session"), "another token"


def test_people_see_their_sessions_and_end_them(town):
    ann, ben = town.person("ann"), town.person("ben")
    phone, browser, stranger = town.session(ann), town.session(ann), town.session(ben)
    listed = browser.get("/v1/me/sessions")["sessions"]
    assert [one["current"] for one in listed].count(True) == 1 and len(listed) == 2
    (other,) = (one["session_id"] for one in listed if not one["current"])
    assert refused(stranger.post(f"/v1/me/sessions/{other}/end")) == (404, "not_found")
    assert browser.post(f"/v1/me/sessions/{other}/end").status == 204
    assert refused(phone.ask("GET", "/v1/me")) == (401, "no_session")
    town.session(ann)
    assert said(browser.post("/v1/me/sessions/end-others")) == {"ended": 1}
    assert browser.get("/v1/me") and stranger.get("/v1/me")


PROFILES = [("Ann Ö.", "Europe/Berlin", 200), ("Ann", "Mars", 400), ("a\nb", "UTC", 400), ("<b>", "UTC", 400)]


@pytest.mark.parametrize(("name", "zone", "status"), PROFILES)
def test_a_profile_is_a_name_and_a_time_zone(town, name, zone, status):
    wish = {"name": name, "timezone": zone}
    browser = town.session(town.person("ann"))
    assert browser.post("/v1/me/profile", wish).status == status
    assert (browser.get("/v1/me")["name"] == wish["name"]) == (status == 200)


def test_every_way_in_and_out_leaves_a_row_without_a_name(town):
    ann = town.person("ann", second_factor=True)
    login(town, ann, "wrong one here")
    browser, _ = login(town, ann)
    browser.post("/v1/login/totp", {"code": "000000"})
    browser.post("/v1/login/totp", {"code": town.code(ann)})
    browser.post("/v1/logout")
    rows = town.hall.logged()
    assert [(row["kind"], row.get("result", row.get("reason"))) for row in rows[-5:]] == [
        ("login", "wrong_password"), ("login", "totp"), ("code", "wrong"), ("login", "in"), ("session_ended", "logout")]  # fmt: skip
    assert "ann@" not in str(rows) and "Firefox" not in str(rows)


def test_a_half_session_counts_as_a_stranger_on_the_listener(town):
    from ony_core.server.message import Request

    def trusted(browser):
        return town.router.trusted(Request("GET", "/", headers=(("cookie", f"__Host-ony={browser.token}"),)))

    ann = town.person("ann", second_factor=True)
    assert (trusted(town.session(ann)), trusted(town.session(ann, HALF)), trusted(town.browser())) == (True, False, False)
