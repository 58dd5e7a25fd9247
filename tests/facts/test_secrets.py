"""What looks like a credential: shapes of tokens, assignments to secret-sounding names, long random runs. All of them are made up."""

import pytest

from ony_core.facts.secrets import looks_secret, masked, token_shaped

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


TOKENS = [
    "eyJhbGciOiJIUzI1NiJ9", "AKIAEXAMPLEEXAMPLE", "ASIAEXAMPLEEXAMPLE", "ghp_exampleexample", "github_pat_example", "glpat-exampleexample",
    "xoxb-example", "sk-exampleexample", "sk_live_example", "rk_test_example", "AIzaExampleExampleExample", "ya29.example",
    "npm_exampleexample",
    "pypi-exampleexample", "dop_v1_exampleexample", "hvs.example", "SG.example", "key-0123456789abcdef",
]  # fmt: skip
MASKED: dict[str, tuple[str, str]] = {
    "nothing": ("git push --force origin main", "git push --force origin main"),
    "a key of several lines": (
        "echo '-----BEGIN EXAMPLE KEY-----\nabc\ndef\n-----END EXAMPLE KEY-----' > x",
        "echo '[masked]' > x",
    ),
    "a key without its end": ("echo -----BEGIN EXAMPLE KEY-----\nabc\ndef", "echo [masked]"),
    "the rest of a token's word": ("use ghp_exampleexample.more now", "use [masked] now"),
    "a token in quotes": ("t='ghp_exampleexample' u", "t='[masked]' u"),
    "a token in double quotes": ('t="ghp_exampleexample" u', 't="[masked]" u'),
    "an assignment": ("PASSWORD=hunter2 make", "PASSWORD=[masked] make"),
    "a longer name": ("DB_PASSWORD_2=hunter2 make", "DB_PASSWORD_2=[masked] make"),
    "in JSON": ('{"api_key": "a b", "n": 1}', '{"api_key": [masked], "n": 1}'),
    "in YAML": ("client-secret: 'a b'\nn: 1", "client-secret: [masked]\nn: 1"),
    "a flag": ("x --password hunter2 -v", "x --password [masked] -v"),
    "a flag with its value": ("x --token=hunter2 -v", "x --token=[masked] -v"),
    "one dash": ("x -secret hunter2 -v", "x -secret [masked] -v"),
    "a header": ("curl -H 'Authorization: Bearer abc' x", "curl -H 'Authorization: Bearer [masked]' x"),
    "a header with a login": ("curl -H 'authorization: basic abc' x", "curl -H 'authorization: basic [masked]' x"),
    "the login of an address": ("psql postgres://dev:hunter2@db/shop", "psql postgres://dev:[masked]@db/shop"),
    "a field of a form": ("curl -d 'token=abc&n=1' x", "curl -d 'token=[masked]&n=1' x"),
    "a long random run": ("use 0a1b2c3d4e5f6g7h8i9j now", "use [masked] now"),
    "a long run of letters": ("use abcdefghijklmnopqrstuv now", "use abcdefghijklmnopqrstuv now"),
    "both": ("0a1b2c3d4e5f6g7h8i9j abcdefghijklmnopqrstuv", "[masked] abcdefghijklmnopqrstuv"),
}


@pytest.mark.parametrize(("text", "shown"), MASKED.values(), ids=MASKED.keys())
def test_what_looks_like_a_secret_is_put_out_of_sight(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("token", TOKENS)
def test_every_shape_of_a_token_is_known(token: str) -> None:
    assert token_shaped(token) and token_shaped(f"see {token}.")
    assert masked(f"see {token} here") == "see [masked] here"
