"""A stand-in for Anthropic's Messages API on loopback: it plays a scripted list of turns, so that the real Claude Code runs offline.

API: https://docs.anthropic.com/en/api/messages (streaming: .../messages-streaming), as far as Claude Code uses it.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Block = dict[str, Any]
Turn = list[Block] | Callable[[], list[Block]]


def tool(name: str, **given: Any) -> list[Block]:
    """One assistant turn with one tool call."""
    return [{"type": "tool_use", "name": name, "input": given}]


def text(words: str) -> list[Block]:
    """One assistant turn that ends the conversation."""
    return [{"type": "text", "text": words}]


@dataclass(frozen=True)
class Result:
    """What the model was shown about one of its tool calls."""

    tool_use_id: str
    is_error: bool
    text: str


@dataclass
class Model:
    """Use as a context manager. A repeated request (a retry) gets the same turn; requests without tools (titles, summaries) get "ok"."""

    script: list[Turn]
    requests: list[dict[str, Any]] = field(default_factory=list)
    _served: dict[str, list[Block]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Model":
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.model = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def results(self) -> list[Result]:
        """Every tool result the model was shown, in order, each once."""
        found: dict[str, Result] = {}
        for request in self.requests:
            for message in request["messages"]:
                for block in message["content"] if isinstance(message["content"], list) else ():
                    if block.get("type") == "tool_result":
                        found.setdefault(block["tool_use_id"], _result(block))
        return list(found.values())

    def turn(self, request: dict[str, Any]) -> list[Block]:
        """The scripted turn that answers this request."""
        if not request.get("tools"):
            return text("ok")
        key = json.dumps([len(request["messages"]), request["messages"][-1]], sort_keys=True)
        with self._lock:
            self.requests.append(request)
            if key not in self._served:
                position = len(self._served)
                turn = self.script[position] if position < len(self.script) else text("done")
                self._served[key] = [_identified(block, position) for block in (turn() if callable(turn) else turn)]
            return self._served[key]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    model: Model

    def handle_error(self, *_: object) -> None:
        """Claude Code drops idle connections; that is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("application/json", b"{}")

    do_GET = do_HEAD

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "count_tokens" in self.path:
            return self._answer("application/json", b'{"input_tokens":10}')
        if not self.path.startswith("/v1/messages"):
            return self._answer("application/json", b"{}")
        request = json.loads(body)
        blocks = self.server.model.turn(request)
        message = _message(request, blocks)
        if request.get("stream"):
            return self._answer("text/event-stream", _stream(message, blocks))
        return self._answer("application/json", json.dumps({**message, "content": blocks}).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _identified(block: Block, position: int) -> Block:
    return {**block, "id": f"toolu_{position:04d}"} if block["type"] == "tool_use" else block


def _message(request: dict[str, Any], blocks: list[Block]) -> dict[str, Any]:
    reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
    return {"id": "msg_stand_in", "type": "message", "role": "assistant", "model": request.get("model"), "content": [],
            "stop_reason": reason, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}}  # fmt: skip


def _stream(message: dict[str, Any], blocks: list[Block]) -> bytes:
    """Server-sent events of one message."""
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": {**message, "stop_reason": None}})]
    for index, block in enumerate(blocks):
        events += _streamed(index, block)
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append(("message_delta", {"delta": ending, "usage": message["usage"]}))
    events.append(("message_stop", {}))
    return "".join(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n" for kind, data in events).encode()


def _streamed(index: int, block: Block) -> list[tuple[str, dict[str, Any]]]:
    if block["type"] == "text":
        start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    return [
        ("content_block_start", {"index": index, "content_block": start}),
        ("content_block_delta", {"index": index, "delta": delta}),
        ("content_block_stop", {"index": index}),
    ]


def _result(block: Block) -> Result:
    content = block.get("content") or ""
    words = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return Result(block["tool_use_id"], bool(block.get("is_error")), words)
