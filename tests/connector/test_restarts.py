"""A server that stops tells waiting connectors to come again: the hold goes on, and its decision is not lost."""

import threading

from tests.connector.holding import held


def test_a_hold_outlives_a_server_that_is_restarted(gate, server, project):
    server.decides, server.faults["wait"] = "nothing", "503"

    def back_and_decided():
        (request_id,) = server.until_asked()
        while "wait" not in server.heard:
            threading.Event().wait(0.01)
        server.faults.clear()
        server.decide(request_id, "approve")

    person = threading.Thread(target=back_and_decided)
    person.start()
    decision = held(gate, project)
    person.join()
    assert decision.outcome == "allow", decision.reason
    assert server.heard.count("wait") >= 2


def test_a_server_that_has_too_much_to_do_is_asked_again_before_the_call_is_denied(gate, server, project):
    server.faults["handoffs"] = "503"
    decision = held(gate, project)
    assert decision.outcome == "deny" and "Nothing was approved" in decision.reason
    assert server.heard.count("handoffs") == 3
