"""What looks like a credential: shapes of tokens, assignments to secret-sounding names, long random runs. All of them are made up."""

import pytest

from ony_core.facts.secrets import looks_secret, token_shaped

ROWS: dict[str, tuple[str, bool]] = {
    "the shape of a token, letters alone": ("AKIAEXAMPLEEXAMPLE", True),
    "a prefix of a token inside a word": ("BAKIAEXAMPLEEXAMPLE", False),
    "an assignment": ("password=hunter", True),
    "a name that only sounds like it": ("password-reset", False),
    "an address with a password": ("postgres://u:p@db/shop", True),
    "twenty different characters": ("0a1b2c3d4e5f6g7h8i9j", True),
    "nineteen": ("0a1b2c3d4e5f6g7h8i9", False),
    "letters alone": ("abcdefghijklmnopqrstuv", False),
    "digits and marks alone": ("0123456789+/_=-01234", False),
    "a long run that repeats itself": ("aaaaaaaaaaaaaaaaaaa1", False),
    "three bits and a half to the letter": ("aaaabbbbccccddddeeffgghhiijj1122", False),
    "one of several words": ("feature 0a1b2c3d4e5f6g7h8i9j x", True),
    "a branch": ("feature/checkout-2", False),
}


@pytest.mark.parametrize(("text", "secret"), ROWS.values(), ids=ROWS.keys())
def test_what_looks_like_a_secret(text: str, secret: bool) -> None:
    assert looks_secret(text) is secret


def test_a_random_run_has_no_shape_of_a_token() -> None:
    assert not token_shaped("0a1b2c3d4e5f6g7h8i9j")
    assert token_shaped("AKIAEXAMPLEEXAMPLE")
