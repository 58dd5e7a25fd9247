"""Runs where the `signalwire` package is installed: BASE_URL PROJECT TOKEN FROM TO ANSWER_URL STATUS_URL -> JSON on stdout."""

import json
import sys
import time

from signalwire.request_validator import RequestValidator
from signalwire.rest import Client
from twilio.base.exceptions import TwilioRestException

base_url, project, token, caller, to, answer_url, status_url = sys.argv[1:]


def client(secret):
    made = Client(project, secret, signalwire_space_url="example.signalwire.com")
    made._api.base_url = base_url.removesuffix("/2010-04-01")  # the constructor forces https
    return made


def refusal(call):
    try:
        call()
    except TwilioRestException as refused:
        return [refused.status, refused.code]
    return None


calls = client(token).calls
events = ["initiated", "ringing", "answered", "completed"]
call = calls.create(to=to, from_=caller, url=answer_url, status_callback=status_url, status_callback_event=events, timeout=25)
seen = [call.status]
give_up = time.monotonic() + 20
while seen[-1] != "completed" and time.monotonic() < give_up:
    time.sleep(0.1)
    status = calls(call.sid).fetch().status
    if status != seen[-1]:
        seen.append(status)
listed = [one.sid for one in calls.list(to=to)]
refusals = {
    "credentials": refusal(lambda: client("wrong").calls.create(to=to, from_=caller, url=answer_url)),
    "foreign caller": refusal(lambda: calls.create(to=to, from_="+15550100999", url=answer_url)),
    "bad number": refusal(lambda: calls.create(to="+0123", from_=caller, url=answer_url)),
    "update when over": refusal(lambda: calls(call.sid).update(status="completed")),
    "absent": refusal(lambda: calls("3f1f0b48-0000-4000-8000-000000000000").fetch()),
}
webhook = json.loads(sys.stdin.readline() or "null")
valid = RequestValidator(webhook["key"]).validate(webhook["url"], dict(webhook["pairs"]), webhook["signature"]) if webhook else None
print(json.dumps({"sid": call.sid, "seen": seen, "listed": listed, "refusals": refusals, "signature_holds": valid}))
