"""The six-digit code: RFC 6238 vectors, the window, burning, and what is not a code."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = [  # RFC 6238 appendix B, SHA-1, the last six of the eight digits
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]
NOW, CODE = VECTORS[3]
STEP = NOW // 30


@pytest.mark.parametrize(("now", "code"), VECTORS)
def test_the_vectors_of_rfc_6238(now, code):
    assert totp.matching_step(SECRET, code, now, 0) == now // 30


@pytest.mark.parametrize(
    ("name", "now", "last", "expected"),
    [
        ("first second of its step", STEP * 30, 0, STEP),
        ("last second of its step", STEP * 30 + 29, 0, STEP),
        ("one step later", STEP * 30 + 59, 0, STEP),
        ("two steps later", STEP * 30 + 60, 0, None),
        ("one second early", STEP * 30 - 1, 0, None),
        ("one step early", STEP * 30 - 30, 0, None),
        ("already burnt", NOW, STEP, None),
        ("burnt by a later one", NOW, STEP + 1, None),
        ("the one before was burnt", NOW, STEP - 1, STEP),
        ("burnt, typed again a step later", STEP * 30 + 31, STEP, None),
    ],
)
def test_this_step_and_the_one_before_and_each_but_once(name, now, last, expected):
    assert totp.matching_step(SECRET, CODE, now, last) == expected


@pytest.mark.parametrize(
    "code",
    [
        "",
        "00592",
        "0059244",
        "5924",
        " 005924",
        "005924 ",
        "005924\n",
        "00592a",
        "-05924",
        "+05924",
        "\uff10\uff10\uff15\uff19\uff12\uff14",
        "٠٠٥٩٢٤",
        "005 924",
        "0x1724",
        "005925",
    ],
)
def test_anything_but_the_six_ascii_digits_is_no_code(code):
    assert totp.matching_step(SECRET, code, NOW, 0) is None


@given(st.integers(10**9, 2 * 10**9), st.integers(-120, 120))
def test_a_code_is_good_for_its_own_and_the_next_step_only(made_at, later):
    import pyotp

    code = pyotp.TOTP(SECRET).at(made_at)
    found = totp.matching_step(SECRET, code, made_at + later, 0)
    age = (made_at + later) // 30 - made_at // 30
    if age in (0, 1):
        assert found == made_at // 30 or pyotp.TOTP(SECRET).generate_otp(found) == code
    else:
        assert found is None or pyotp.TOTP(SECRET).generate_otp(found) == code


def test_a_secret_is_160_bits_and_nothing_else():
    assert totp.new_secret(b"12345678901234567890") == SECRET
    for wrong in (b"", b"1" * 19, b"1" * 21):
        with pytest.raises(ValueError):
            totp.new_secret(wrong)


def test_the_uri_is_what_authenticator_apps_read():
    uri = totp.provisioning_uri(SECRET, "ada@example.com")
    assert uri == f"otpauth://totp/Ony:ada%40example.com?secret={SECRET}&issuer=Ony"
