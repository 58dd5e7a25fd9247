"""Sessions of people: the cookie, whose page may use it, how long it lives, and what one does with one's own account."""


import pyotp
import pytest

from ony_core.server import passwords, sessions, strength
from ony_core.server.sessions import HALF
from tests.server.test_login import NEW_PASSWORD, login
from tests.server.test_login import town as town  # a fixture
from tests.server.town import PASSWORD, QUICK, Town, refused, said

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
        known = town.router.trusted(Request("GET", "/", headers=(("cookie", f"__Host-ony={browser.token}"),)))
        return known and tuple(known)

    ann = town.person("ann", second_factor=True)
    assert (trusted(town.session(ann)), trusted(town.session(ann, HALF)), trusted(town.browser())) == ((ann.user_id, True), None, None)
