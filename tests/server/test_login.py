"""Logging in and out: what gets a session, what a session survives, and what nobody learns on the way."""

import hashlib

import pyotp
import pytest

from ony_core.server import passwords
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
    assert [refused(browser.post("/v1/login/totp", {"code": "000000"}))[1] for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]
    town.clock.pass_(15 * 60)  # never longer: whoever knows the password must not keep its owner out for hours
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


def put_off(town) -> list[tuple[str, str | None, int]]:
    town.store.write_now(lambda tx: None)  # after what nobody waits for
    return [(row["kind"], row["user_id"], row["tries"]) for row in town.hall.logged() if row.get("result") == "put_off"]


def test_tries_that_were_put_off_stand_in_the_log_once_a_quarter_of_an_hour_with_their_number(town):
    ann = town.person("ann")
    for _ in range(5 + 20):
        login(town, ann, "wrong one here")
    assert put_off(town) == [("login", ann.user_id, 1)]
    town.clock.pass_(15 * 60)
    login(town, ann, "wrong one here")  # let in again, and wrong
    login(town, ann, "wrong one here")
    assert put_off(town) == [("login", ann.user_id, 1), ("login", ann.user_id, 20)]


def test_a_flood_of_names_that_nobody_has_is_one_row(town):
    for n in range(passwords.PER_ADDRESS + 20):
        town.browser().post("/v1/login", {"email": f"nobody{n}@example.com", "password": "wrong one here"})
    assert put_off(town) == [("login", None, 1)]


def test_who_guesses_at_a_confirmation_or_at_the_brake_is_in_the_log_too(town):
    ann = town.person("ann")
    browser = town.session(ann)
    for _ in range(7):
        browser.post("/v1/me/confirm", {"password": "wrong one here", "code": ""})
        town.browser().post("/v1/freeze", {"email": ann.email, "password": "wrong one here"})
    assert put_off(town) == [("confirmation", ann.user_id, 1), ("freeze", ann.user_id, 1)]


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


def test_where_the_organisation_asks_it_of_everybody_a_member_needs_a_second_factor_too(town):
    ann, boss = town.person("ann"), town.person("boss", "admin", second_factor=True)
    open_one, _ = login(town, ann)
    assert open_one.get("/v1/me")["role"] == "member"
    assert refused(town.session(ann).post("/v1/second-factor", {"of": "everybody"})) == (403, "role")
    assert refused(town.session(boss).post("/v1/second-factor", {"of": "nobody"})) == (400, "bad_setting")
    assert said(town.session(boss).post("/v1/second-factor", {"of": "everybody"})) == {"of": "everybody", "ended": 2}
    assert refused(open_one.ask("GET", "/v1/me")) == (401, "no_session"), "what was open is over"
    browser, answered = login(town, ann)
    assert said(answered) == {"next": "enrol"} and refused(browser.ask("GET", "/v1/me")) == (401, "second_factor")
    assert [(row["whom"], row["by"]) for row in town.log("second_factor_asked")] == [("everybody", boss.user_id)]
    elsewhere = town.person("ann2", org_id=town.hall.new_org())
    assert said(login(town, elsewhere)[1]) == {"next": ""}, "another organisation has its own setting"
    town.session(boss).post("/v1/second-factor", {"of": "approvers"})
    assert said(login(town, ann)[1]) == {"next": ""}


def test_at_the_socket_an_approvers_code_is_asked_for_it(town):
    path = f"/admin/orgs/{town.org_id}/second-factor"
    assert refused(town.at_socket("POST", path, {"of": "approvers"})) == (403, "code_needed")
    code = town.hall.owner.code()
    assert said(town.at_socket("POST", path, {"of": "everybody", "code": code}))["of"] == "everybody"
    assert refused(town.at_socket("POST", f"/admin/orgs/org_{'0' * 32}/second-factor", {"of": "everybody"})) == (404, "unknown_org")


def test_settings_that_cannot_be_read_ask_it_of_everybody(town):
    town.hall.write(lambda org: org.set_policy("[]"))
    assert said(login(town, town.person("ann"))[1]) == {"next": "enrol"}
