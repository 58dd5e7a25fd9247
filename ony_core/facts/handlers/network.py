"""Programs that talk to the network: curl, wget, netcat and their kin. Method, body and destination decide."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ony_core.facts import commands, files
from ony_core.facts.argv import Line, read
from ony_core.facts.secrets import token_shaped
from ony_core.facts.targets import target
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.model import Target
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call
    from ony_core.facts.shell import Shell

_LOCAL = re.compile(r"^(?:localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|0\.0\.0\.0|host\.docker\.internal|[\w-]+\.localhost)$")
_METADATA = re.compile(
    r"^(?:169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|metadata\.goog|metadata|instance-data(?:\.ec2\.internal)?|169\.254\.169\.254\.[\w.]+|169\.254\.170\.23|192\.0\.0\.192|100\.100\.100\.200|\[?fd00:ec2::254\]?)$"
)
_BODY = (
    "-d",
    "--data",
    "--data-raw",
    "--data-binary",
    "--data-urlencode",
    "--data-ascii",
    "--json",
    "-F",
    "--form",
    "--form-string",
    "--url-query",
)
_LOGS_IN = re.compile(r"^\w+://[^/?#]*@")
_DESTROYS = re.compile(r"(?i)[/_.-](?:delete|destroy|drop|purge|truncate|flush|terminate|shutdown|_close|wipe|reset)|_cluster/settings")
_ACTS = re.compile(
    r"(?i)[?&](?:action|command|cmd|op)=(?:delete|unload|drop|truncate|flush|deletealias|deletereplica|deleteshard|stop|shutdown)|stream\.body="
)
_QUESTIONS = re.compile(
    r"/(?:_m?search(?:/template|/scroll)?|_async_search|_count|_mget|_validate/query|_analyze|_field_caps|_explain(?:/[^/]+)?|_termvectors"
    r"|_rank_eval|_render/template|_sql(?:/translate)?|_find|_all_docs|points/(?:search|query|scroll|count|recommend|discover)(?:/\w+)?"
    r"|indexes/[^/]+/(?:search|documents/fetch)|multi-search|multi_search|api/v1/(?:query|query_range|series|labels)|select)/?(?:\?[^?]*)?$"
)
_QUESTION_BODY = re.compile(r"\s*$|\s*[{\[]|(?:query|q|match\[\]|start|end|step|time|limit)=")
_METHODS = {"GET": "reads", "HEAD": "reads", "OPTIONS": "reads", "DELETE": "deletes", "PUT": "sends", "POST": "sends", "PATCH": "sends"}


def url_traits(text: str) -> set[str]:
    """localhost, metadata, credentials in the address, an address that only the run will know."""
    try:
        parts = urlsplit(text if "//" in text else "//" + text)
        host = _plain_host((parts.hostname or "").lower())
        port = parts.port
        found = {"address_password"} if parts.password else set()
    except ValueError:
        return {"address_unknown"}
    if parts.scheme == "file":
        return {"local_file"}
    if _LOCAL.match(host):
        return found | {"localhost"} | ({"local_store"} if port in tables().words["numbers"]["store_ports"] else set())
    if _METADATA.match(host):
        return found | {"metadata"}
    if HOLE in host or not host:
        found |= {"address_unknown"}
    if HOLE in text:
        found |= {"address_filled"}
    if any(host == m or host.endswith("." + m) for m in tables().words["names"]["drop_hosts"]):
        found |= {"drop_host"}
    return found


def carries(url: str) -> bool:
    """Whether an address carries data out: a token, a password, or a long random text in the query or in a name of the host.

    Identifiers of documents, commits and pages stand in paths, and are random as well.
    """
    if token_shaped(url):
        return True
    try:
        parts = urlsplit(url if "//" in url else "//" + url)
        labels, query, password = (parts.hostname or "").split("."), parts.query, parts.password
    except ValueError:
        return True
    values = [value for _, _, value in (pair.partition("=") for pair in query.split("&"))]
    long = [value for value in values if len(value) >= 40 and _random(value)] + [x for x in labels if len(x) >= 40 and "-" not in x]
    return password is not None or bool(long)


def _random(text: str) -> bool:
    """Letters and digits without a break, longer than a digest of a commit or a page's identifier in hexadecimal."""
    run = max(re.findall(r"[A-Za-z0-9+/=_%-]+", text), key=len, default="")
    return len(run) >= 40 and not re.fullmatch(r"[0-9a-fA-F-]+", run) and re.search(r"\d", run) is not None and run.count("-") < 3


def _plain_host(host: str) -> str:
    """An address written as one number, in hexadecimal or octal, or within IPv6, in the usual four numbers."""
    try:
        if re.fullmatch(r"0x[0-9a-f]+|\d{8,10}", host):
            return str(IPv4Address(int(host, 0)))
        if re.fullmatch(r"(?:0x[0-9a-f]+|0?\d+)(?:\.(?:0x[0-9a-f]+|0?\d+)){3}", host):
            return ".".join(str(int(p, 16 if p.startswith("0x") else 8 if p.startswith("0") and p != "0" else 10)) for p in host.split("."))
        mapped = IPv6Address(host.strip("[]")).ipv4_mapped if ":" in host else None
        return str(mapped) if mapped else host
    except ValueError:
        return host


def host_of(call: "Call", text: str) -> tuple[Target, ...]:
    try:
        host = urlsplit(text if "//" in text else "//" + text).hostname or ""
    except ValueError:
        return ()
    return (target(call, "host", host),)


def curl(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    if "help" in line.traits:
        shell.call.add("command", program.name, traits=("help",))
        return Flow(None)
    urls = line.operands + line.all("--url")
    traits: set[str] = set()
    for url in urls:
        traits |= url_traits(url.text)
        if "local_file" in url_traits(url.text):
            files.read_file(shell, url.part(url.text.removeprefix("file://")))
    if len(urls) > 1 and any("localhost" not in url_traits(u.text) for u in urls):
        traits.discard("localhost")
    body, taints = _body(shell, line, stdin)
    method = (line.value("-X", "--request", "--method") or Word("")).text.upper()
    upload = line.value("--upload-file", "--post-file", "--body-file", *(["-T"] if program.name == "curl" else []))
    if upload is not None:
        taints |= stdin.taints if upload.text in ("-", ".") else files.read_file(shell, upload) | _copied(shell, upload)
    reads_body = "-G" in line.flags or "--get" in line.flags
    verb = _METHODS.get(method, "sends") if method else "sends" if (body and not reads_body) or upload is not None else "reads"
    if verb == "reads" and (body or upload is not None) and not reads_body:
        verb = "sends"
    if verb == "reads" and method in ("GET", "HEAD", "OPTIONS") and body and upload is None:
        verb = "reads" if not taints & {"secret"} else "sends"
    for word in (*urls, *line.all("-H", "--header", "-u", "--user", "-b", "--cookie", "-A", "--user-agent", "-e", "--referer")):
        taints |= word.taints & {"secret"}
    if "localhost" not in traits and any("secret_variable" in url.taints and not _LOGS_IN.search(url.text) for url in urls):
        taints |= {"secret"}  # a token in a header belongs to the service; one in an address is what it says
    if taints & {"secret"} and "localhost" not in traits:
        verb = "sends"
    if any(HOLE in url.text and "decoded" in url.taints for url in urls) and "localhost" not in traits:
        verb = "sends"  # an address with something in it that was encoded on the way
    if verb == "sends" and any(_DESTROYS.search(u.text) for u in urls):
        verb = "deletes"
    if verb == "reads" and any(_ACTS.search(u.text) for u in urls):
        verb = "deletes"  # servers that are told what to do by a GET: Solr, Hadoop
    if verb == "sends" and method in ("", "POST", "GET") and _asks(urls, line, taints):
        verb = "reads"
    for name in ("-K", "--config"):
        if line.value(name) is not None:
            verb = "sends"
            traits.add("address_unknown")
    traits |= taints & {"secret"}
    if taints & {"secret"} or upload is not None or any(_names_file(v) for f, v in line.values if f in _BODY):
        traits.add("from_file")
    if line.value("-o", "--output", "-O", "--output-document") is not None:
        traits.add("saves")
    shell.call.add("network", program.name, (verb,), (), len(urls), _hosts(shell, urls), traits)
    return _saved(shell, line, urls)


def _asks(urls: list[Word], line: Line, taints: frozenset[str]) -> bool:
    """A question that search servers take as a body: plain text to an address whose path only searches."""
    bodies = [v for f, v in line.values if f in _BODY]
    plain = all(v.known and not _names_file(v) and _QUESTION_BODY.match(v.text) for v in bodies)
    return bool(urls) and plain and not taints and not line.value("-T", "--upload-file") and all(_QUESTIONS.search(u.text) for u in urls)


def _hosts(shell: "Shell", urls: list[Word]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys(t for u in urls[:4] for t in host_of(shell.call, u.text)))


def _names_file(value: Word) -> bool:
    return value.text.startswith("@") or "=@" in value.text or "=<" in value.text


def _body(shell: "Shell", line: Line, stdin: Flow) -> tuple[bool, frozenset[str]]:
    """Whether a body is sent, and what it brings along: `@file`, `name=@file`, `@-`."""
    taints: frozenset[str] = frozenset()
    found = False
    for flag, value in line.values:
        if flag not in _BODY and flag not in ("--post-data", "--body-data"):
            continue
        found = True
        taints |= value.taints
        text = value.text.partition("=")[2] if "=@" in value.text or "=<" in value.text else value.text
        if text[:1] in "@<" and flag not in ("--data-raw", "--form-string"):
            name = text[1:].partition(";")[0]
            taints |= (
                stdin.taints
                if name in ("-", "/dev/stdin")
                else files.read_file(shell, value.part(name)) | _copied(shell, value.part(name))
            )
    return found, taints


def _copied(shell: "Shell", word: Word) -> frozenset[str]:
    made = files.made_at(shell, word)
    return made.taints if made else frozenset()


def _saved(shell: "Shell", line: Line, urls: list[Word]) -> Flow:
    """Where the answer goes: a file of that name, or standard output."""
    flow = Flow(None, frozenset({"network"}))
    out = line.value("-o", "--output", "--output-document", "-O") if line.program.name != "curl" else line.value("-o", "--output")
    if out is not None and out.text != "-":
        files.write_file(shell, out, flow)
        return EMPTY if line.program.name == "curl" else flow
    if (line.program.name == "wget" and out is None) or (line.flags & {"-O", "--remote-name", "-J"} and line.program.name == "curl"):
        folder = line.value("-P", "--directory-prefix", "--output-dir")
        for url in urls:
            name = url.text.split("?")[0].rstrip("/").rpartition("/")[2] or "index.html"
            files.write_file(shell, Word((folder.text.rstrip("/") + "/" if folder else "") + name, taints=url.taints), flow)
        return EMPTY
    if line.program.name == "http" and out is None:
        return flow
    return flow


def httpie(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """http, https, xh: `[METHOD] URL [item…]`; an item with `=` or `:=` is a body."""
    line, _ = read(program, words)
    operands = list(line.operands)
    method = operands.pop(0).text if operands and operands[0].text.isupper() else ""
    urls = operands[:1]
    items = operands[1:]
    sends = any(re.search(r"(?<![=:])(?::=|=(?!=)|@)", i.text) for i in items) or stdin.taints or stdin.text
    verb = _METHODS.get(method, "sends") if method else "sends" if sends else "reads"
    traits = url_traits(urls[0].text if urls else "")
    taints = stdin.taints.union(*(i.taints for i in items))
    for item in items:
        name = item.text.partition("@")[2]
        if name:
            taints |= files.read_file(shell, item.part(name))
    verb = "deletes" if verb == "sends" and any(_DESTROYS.search(u.text) for u in urls) else verb
    shell.call.add("network", program.name, (verb,), (), len(urls), _hosts(shell, urls), traits | (taints & {"secret"}))
    return Flow(None, frozenset({"network"}))


def netcat(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """nc, ncat, socat, telnet: a raw connection; -e and EXEC: hand a shell to the other side."""
    line, _ = read(program, words)
    text = " ".join(w.text for w in words)
    traits = set(line.traits) - {"unknown_word"}
    if (line.values and any(f in ("-e", "-c", "--exec", "--sh-exec", "--lua-exec") for f, _ in line.values)) or re.search(
        r"(?i)\b(exec|system|shell)\b", text
    ):
        traits.add("hands_over_shell")
    if "-z" in line.flags:
        traits.add("probe")
    if line.flags & {"-l", "--listen"} or re.search(r"(?i)-listen:", text):
        traits.add("listens")
    taints = stdin.taints
    for found in re.findall(r"(?i)(?:open|file|gopen):([^,\s]+)", text):
        taints |= files.read_file(shell, Word(found))
    if stdin.taints & {"secret"} or taints & {"secret"}:
        traits.add("secret")
    if stdin is not EMPTY:
        traits.add("sends")
    asked = set((stdin.text or "").lower().split())
    if asked and asked <= set(tables().words["names"]["socket_questions"]) and "hands_over_shell" not in traits:
        traits.add("probe")  # `echo stats | nc cache 11211`, `echo ruok | nc zk 2181`
    if line.operands and "localhost" in url_traits(re.sub(r"(?i)^(?:tcp|udp|openssl)[46]?(?:-connect)?:", "", line.operands[0].text)):
        traits.add("localhost")
    shell.call.add("network", program.name, ("socket",), (), len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}))


def lookup(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """dig, host, nslookup, ping: reads, unless the name that is asked for carries data out."""
    line, _ = read(program, words)
    taints = stdin.taints.union(*(w.taints for w in line.operands))
    filled = any(HOLE in w.text and w.taints for w in line.operands)
    traits = set(line.traits) | (taints & {"secret"}) | ({"address_filled"} if filled else set())
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}) if program.name == "dig" else UNKNOWN.taints)


def rpc(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """grpcurl: `HOST list|describe` only asks; anything else calls a method."""
    line, _ = read(program, words)
    host = line.operands[0].text if line.operands else ""
    asks = any(word.text in ("list", "describe") for word in line.operands)
    sent = line.value("-d", "--data")
    traits = url_traits(host) | ((sent.taints if sent else frozenset()) & {"secret"})
    shell.call.add("network", program.name, ("reads" if asks else "sends",), (), len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}))


def openssl(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """openssl: `s_client` is a raw connection that carries away what it is given, but for a line or two that stand in the call."""
    line, _ = read(program, words)
    sends = line.verb[:1] == ("s_client",) and (stdin.text is None or "secret" in stdin.taints)
    flow = commands.finish(shell, line, stdin, frozenset({"sends"}) if sends else frozenset())
    return flow.also("network") if line.verb[:1] == ("s_client",) else flow


HANDLERS = {handler.__name__: handler for handler in (curl, httpie, netcat, lookup, rpc, openssl)}
