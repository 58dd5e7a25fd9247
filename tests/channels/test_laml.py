"""cXML out, signed forms in."""

from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.channels import laml
from ony_core.channels.voice import Document, Gather
from ony_core.errors import Malformed
from tests.sim.call import sign

SHOP = "https://mycompany.com/myapp.php?foo=1&bar=2"
CAPTURED = "PSK_V3bF8oyeRNpJWGoRWHNYQMUU"
CALLER = [
    ("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675309"), ("Digits", "1234"), ("From", "+14158675309"), ("To", "+18005551212"),
]  # fmt: skip
SIP = [
    ("AccountSid", "6bfbbe86-a901-4197-8759-2a0de1fa319d"), ("ApiVersion", "2010-04-01"), ("CallbackSource", "call-progress-events"),
    ("Direction", "outbound-api"), ("From", "sip:+17063958228@sip.swire.io"), ("To", "sip:jpsantos@joaosantos-2a0de1fa319d.sip.swire.io"),
]  # fmt: skip
VECTORS = {
    # Published by Twilio and used by SignalWire's own test suite.
    "documented": ("12345", SHOP, CALLER, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    "another caller": ("12345", SHOP, [(k, v.replace("5309", "5310")) for k, v in CALLER], "GvWf1cFY/Q7PnoempGyD5oXAezc="),
    # Captured from SignalWire; the first also holds the sort trap CallSid < CallbackSource.
    "captured busy": (
        CAPTURED, "http://0aac-189-71-169-171.ngrok-free.app/voice",
        [*SIP, ("CallSid", "0703574f-b151-465d-aedb-28972eb513c7"), ("CallStatus", "busy"), ("HangupDirection", "inbound"),
         ("HangupBy", "sip:jpsantos@joaosantos-2a0de1fa319d.sip.swire.io"), ("Timestamp", "Thu, 09 Nov 2023 17:05:04 +0000"),
         ("SipResultCode", "486")],
        "lf3nWPmUr2y6jSeeoMW4mg58vgI="),
    "captured no-answer": (
        CAPTURED, "https://675d-189-71-169-171.ngrok-free.app/voice",
        [*[pair for pair in SIP if pair[0] != "CallbackSource"], ("CallSid", "a97d4e8a-6047-4e2b-be48-fb96b33b5642"),
         ("CallbackSource", "call-progress-events"),
         ("Timestamp", "Thu, 09 Nov 2023 14:40:55 +0000"), ("CallStatus", "no-answer"), ("HangupDirection", "outbound"),
         ("HangupBy", "sip:+17063958228@sip.swire.io"), ("SipResultCode", "487")],
        "muUMpldcBHlzuXGZ5gbw1ETZCYA="),
    # A JSON body rides in the URL as bodySHA256; the form is empty.
    "body digest in the url": (
        "PSKtest1234567890abcdef",
        "https://example.ngrok.io/webhook?bodySHA256=69f3cbfc18e386ef8236cb7008cd5a54b7fed637a8cb3373b5a1591d7f0fd5f4", [],
        "dfO9ek8mxyFtn2nMz24plPmPfIY="),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_and_captured_signatures_hold(name: str) -> None:
    key, url, pairs, expected = VECTORS[name]
    assert laml.signature(key, url, pairs) == expected
    assert sign(key, url, pairs) == expected
    assert laml.signed([key], url, laml.form(urlencode(pairs).encode()).pairs, expected)


def test_the_json_scheme_of_swml_is_not_accepted() -> None:
    """SWML signs URL + raw body in hex; Ony takes forms only, so that signature must never pass here."""
    url, body = "https://example.ngrok.io/webhook", b'{"event":"call.state","params":{"call_id":"abc-123","state":"answered"}}'
    given_signature = "c3c08c1fefaf9ee198a100d5906765a6f394bf0f"
    assert not laml.signed(["PSKtest1234567890abcdef"], url, laml.form(body).pairs, given_signature)


KEY, URL, PAIRS = "PSK_new", "https://ony.example.com/v1/voice/abc/gate?n=1", [("CallSid", "x"), ("Digits", "5")]
GOOD = laml.signature(KEY, URL, PAIRS)


@pytest.mark.parametrize(
    ("keys", "url", "pairs", "given", "holds"),
    [
        ([KEY], URL, PAIRS, GOOD, True),
        (["PSK_old", KEY], URL, PAIRS, GOOD, True),
        ([KEY, "PSK_old"], URL, PAIRS, GOOD, True),
        (["PSK_old"], URL, PAIRS, GOOD, False),
        ([], URL, PAIRS, GOOD, False),
        ([""], URL, PAIRS, laml.signature("", URL, PAIRS), False),
        ([KEY], URL, PAIRS, "", False),
        ([KEY], URL, PAIRS, GOOD + "=", False),
        ([KEY], URL, PAIRS, "é" * 28, False),
        ([KEY], URL, PAIRS, "\udcff", False),
        ([KEY], URL.replace("n=1", "n=2"), PAIRS, GOOD, False),
        ([KEY], URL.replace("https", "http"), PAIRS, GOOD, False),
        ([KEY], URL, [("CallSid", "x"), ("Digits", "1")], GOOD, False),
        ([KEY], URL, [*PAIRS, ("To", "")], GOOD, False),
    ],
)
def test_a_signature_holds_for_its_own_key_address_and_fields_only(keys, url, pairs, given, holds) -> None:
    assert laml.signed(keys, url, pairs, given) is holds


def test_repeated_names_keep_the_order_they_came_in() -> None:
    there, back = [("a", "2"), ("a", "1"), ("B", "0")], [("a", "1"), ("a", "2"), ("B", "0")]
    assert laml.signature(KEY, URL, there) == sign(KEY, URL, there) != laml.signature(KEY, URL, back)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=8)), max_size=12, unique_by=lambda pair: pair[0]))
def test_what_a_provider_signs_is_what_we_check(pairs: list[tuple[str, str]]) -> None:
    parsed = laml.form(urlencode(pairs).encode()).pairs
    assert list(parsed) == pairs and laml.signed([KEY], URL, parsed, sign(KEY, URL, pairs))


@pytest.mark.parametrize(
    "body",
    [
        b"Digits=5&Digits=1", b"CallSid=a&To=b&CallSid=a", b"To=%2B1&To=%2B2", b"AccountSid=a&AccountSid=b", b"From=1&From=1",
        b"SequenceNumber=1&SequenceNumber=2", b"CallStatus=busy&CallStatus=completed",
        b"Digits=%ff", b"Digits=%zz", b"Digits=%5", "Digits=ü".encode(), "&".join(f"x{i}=1" for i in range(101)).encode(), b"=%C3",
    ],
)  # fmt: skip
def test_an_odd_form_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        laml.form(body)


def test_blank_values_count_and_missing_ones_differ() -> None:
    form = laml.form(b"Digits=&To=%2B15550100123")
    assert form.has("Digits") and form.get("Digits") == "" and not form.has("From") and form.get("To") == "+15550100123"


def test_a_document_is_written_as_the_providers_document_it() -> None:
    document = Document(("Hello.",), Gather("gate", 1, 1, 6, ("Press 5.",)), pause_s=1)
    assert laml.render(document, "https://ony.example.com/v1/voice/ab").decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Pause length="1" /><Say>Hello.</Say>'
        '<Gather input="dtmf" numDigits="1" timeout="6" finishOnKey="" actionOnEmptyResult="true" method="POST" '
        'action="https://ony.example.com/v1/voice/ab/gate?n=1"><Say>Press 5.</Say></Gather><Hangup /></Response>'
    )


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=80))
def test_no_text_can_become_a_verb(text: str) -> None:
    root = ElementTree.fromstring(laml.render(Document((text,)), "https://h"))
    assert [child.tag for child in root] == ["Say", "Hangup"] and (root[0].text or "") == text
