"""cXML as SignalWire and Twilio speak it: documents out, signed forms in. Pure.

Sources: SignalWire Compatibility API (cXML voice, webhook security), Twilio "Security: validating requests"; both sign
base64(HMAC-SHA1(key, full URL + each POST parameter's name and value, sorted by name)).

MUST compare in constant time, MUST refuse when no key is configured, MUST refuse a form that gives a deciding field twice.
MUST build the signed URL from the configured public address, never from a Host header.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl
from xml.etree import ElementTree  # writes only # nosec B405

from ony_core.channels.voice import Document, Gather
from ony_core.errors import Malformed

CONTENT_TYPE = "application/xml"
MAX_FIELDS = 100
SINGLE = ("CallSid", "AccountSid", "To", "From", "Digits", "CallStatus", "SequenceNumber")
_SIGNATURE = {"signalwire": ("x-signalwire-signature", "x-twilio-signature"), "twilio": ("x-twilio-signature",)}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed webhook body: all pairs, in their order, for the signature; the fields that decide something exist once."""

    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The first value, or ""."""
        return next((value for key, value in self.pairs if key == name), "")

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)


def form(body: bytes) -> Form:
    """application/x-www-form-urlencoded, blank values kept. Malformed says which rule was broken, never a value."""
    if _BAD_ESCAPE.search(body):
        raise Malformed("form has a broken percent escape")
    try:
        pairs = tuple(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Malformed("form is not plain urlencoded UTF-8") from None
    names = [name for name, _ in pairs]
    for name in SINGLE:
        if names.count(name) > 1:
            raise Malformed(f"form repeats {name}")
    return Form(pairs)


def signature(key: str, url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """What the provider puts into its signature header. Names sort by code point; repeated names keep their order."""
    text = url + "".join(name + value for name, value in sorted(pairs, key=lambda pair: pair[0]))
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha1")).decode("ascii")


def signed(keys: Sequence[str], url: str, pairs: Sequence[tuple[str, str]], given: str) -> bool:
    """Whether one of the keys (two during a rotation) made `given`. No key, or no signature: no."""
    good = False
    for key in keys:
        good |= bool(key) and hmac.compare_digest(signature(key, url, pairs).encode(), given.encode("utf-8", "replace"))
    return good


def signature_headers(provider: str) -> tuple[str, ...]:
    """Header names, lower case, in which this provider's signature may stand."""
    return _SIGNATURE[provider]


def render(document: Document, call_url: str) -> bytes:
    """The document as cXML. call_url: absolute address of this call's webhooks, without a trailing slash."""
    root = ElementTree.Element("Response")
    if document.pause_s:
        ElementTree.SubElement(root, "Pause", length=str(document.pause_s))
    _say(root, document.says)
    if document.gather is not None:
        _gather(root, document.gather, call_url)
    ElementTree.SubElement(root, "Hangup")
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


def _gather(root: ElementTree.Element, gather: Gather, call_url: str) -> None:
    """An empty finishOnKey lets # and * arrive as keys; for a code # ends it. Silence comes back to us too (actionOnEmptyResult)."""
    verb = ElementTree.SubElement(
        root, "Gather", input="dtmf", numDigits=str(gather.digits), timeout=str(gather.seconds),
        finishOnKey="#" if gather.digits > 1 else "", actionOnEmptyResult="true", method="POST",
        action=f"{call_url}/{gather.step}?n={gather.number}",
    )  # fmt: skip
    _say(verb, gather.says)


def _say(parent: ElementTree.Element, says: Iterable[str]) -> None:
    for text in says:
        ElementTree.SubElement(parent, "Say").text = text
