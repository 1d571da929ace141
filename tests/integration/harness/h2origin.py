"""An origin that speaks HTTP/2, and HTTP/1.1 with the same scripts where ALPN says so."""
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame

from . import http1, waiting
from .origin import Origin
from .server import Connection

ONCE = 16384                    # what is sent in one piece, without waiting for windows


@dataclass
class Answer:
    """A response, whatever the version.  has_length False: no content-length."""
    body: bytes = b""
    status: int = 200
    headers: tuple = ()
    trailers: tuple = ()
    interim: tuple = ()         # of (status, headers)
    has_length: bool = True

    def fields(self):
        framed = self.has_length and not self.trailers and self.status not in (204, 304)
        return [*self.headers, *([("content-length", str(len(self.body)))] if framed else [])]


@dataclass(eq=False)
class Request:
    """As an http1.Message: what was asked, so far."""
    method: str
    target: str
    authority: str
    headers: list
    version: str
    connection: int
    stream: int = 0
    scheme: str = None
    protocol: str = None        # of an extended CONNECT
    body: bytearray = field(default_factory=bytearray)
    trailers: list = field(default_factory=list)
    is_ended: bool = False
    reset: int = None           # the code; -1: the connection ended

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    @property
    def start(self):
        return f"{self.method} {self.target} HTTP/{self.version}"


def echo(request):
    """Says what it was asked: one line a field; the body of a POST instead, if there is one."""
    if request.body:
        return Answer(bytes(request.body))
    lines = [request.start, *(f"{n}: {v}" for n, v in request.headers)]
    return Answer("\n".join(lines).encode("latin-1"))


class H2Origin(Origin):
    """Answers each request with respond(request) -> Answer, or runs scripts[path](exchange) in a
    thread of its own.  Requests are recorded when their heads are there.

    alpn: what it takes, best first; prior_knowledge: h2 without TLS; settings: of its connections.
    """

    def __init__(self, respond=echo, tls=None, scripts=None, alpn=("h2",), prior_knowledge=False,
                 settings=None):
        self.scripts = scripts or {}
        self.settings = settings or {}
        self.prior_knowledge = prior_knowledge
        self.sessions = []
        self.protocols = []     # of the connections, in order
        self.faults = []        # what python-h2 found wrong
        if tls is not None and alpn:
            tls.set_alpn_protocols(list(alpn))
        super().__init__(respond, tls)

    def serve(self, connection):
        protocol = "h2" if self.prior_knowledge else None
        if self.tls is not None:
            protocol = connection.sock.selected_alpn_protocol()
        with self.condition:
            self.protocols.append(protocol)
        if protocol == "h2":
            session = Session(self, connection)
            with self.condition:
                self.sessions.append(session)
            session.run()
        else:
            self._serve_http1(connection)

    def _serve_http1(self, connection):
        while True:
            message = http1.read_head(connection.reader)
            request = Request(message.method, message.target, message.get("host"),
                              message.headers, message.start[-3:], connection.number)
            self.record(request)
            exchange = Http1Exchange(connection, request, message)
            try:
                self._answer_http1(exchange)
            except (OSError, waiting.TimedOut):
                self.give_up(request)
            if not exchange.is_done or request.reset is not None:
                return

    def _answer_http1(self, exchange):
        script = self.script_of(exchange.request)
        if script is not None:
            script(exchange)
        else:
            exchange.read()
            exchange.answer(self.respond(exchange.request))

    def give_up(self, request):
        with self.condition:
            request.reset = -1
            self.condition.notify_all()

    def record(self, request):
        with self.condition:
            self.requests.append(request)
            self.condition.notify_all()

    def script_of(self, request):
        return self.scripts.get(request.target.partition("?")[0])

    def asked(self, target):
        """The requests for this target."""
        with self.condition:
            return [r for r in self.requests if r.target == target]

    def wait_asked(self, target, n=1):
        self.wait(lambda: len([r for r in self.requests if r.target == target]) >= n,
                  f"{n} requests for {target}")
        return self.asked(target)

    def wait_reset(self, target):
        """The request for this target was given up: by a reset, or the connection's end."""
        request = self.wait_asked(target)[0]
        self.wait(lambda: request.reset is not None, f"the end of {target}")
        return request


class Exchange:
    """A script's end of one stream.  Every call raises ConnectionError once the stream is gone."""

    def __init__(self, session, request):
        self.session, self.request, self.number = session, request, request.stream
        self.connection = session

    def wait(self, event, seconds=waiting.DEADLINE):
        """Until a test's Event is set, the origin closes, or the stream is gone."""
        waiting.until(lambda: event.is_set() or self.session.origin.closing.is_set() or
                      self.request.reset is not None, "a test's event", seconds)
        self._check()

    def _check(self):
        if self.request.reset is not None or self.session.origin.closing.is_set():
            raise ConnectionError("the stream is gone")

    def read(self, n=None):
        """The body: all of it, or the first n bytes."""
        request, origin = self.request, self.session.origin
        origin.wait(lambda: request.is_ended or request.reset is not None or
                    n is not None and len(request.body) >= n, f"the body of {request.target}")
        self._check()
        return bytes(request.body)

    def interim(self, status, headers=()):
        self._do(lambda h2: h2.send_headers(self.number, self._encoded(status, headers)))

    def head(self, status=200, headers=(), end=False):
        self._do(lambda h2: h2.send_headers(self.number, self._encoded(status, headers), end))

    @staticmethod
    def _encoded(status, headers):
        pairs = [(":status", str(status)), *headers]
        return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in pairs]

    def data(self, payload, end=False):
        view = memoryview(payload)
        while view:
            n = self._window(len(view))
            part, view = bytes(view[:n]), view[n:]
            self._do(lambda h2, p=part, last=not view: h2.send_data(self.number, p, end and last))
        if end and not payload:
            self._do(lambda h2: h2.send_data(self.number, b"", True))

    def end(self, trailers=()):
        if trailers:
            self._do(lambda h2: h2.send_headers(self.number, list(trailers), end_stream=True))
        else:
            self._do(lambda h2: h2.end_stream(self.number))

    def answer(self, answer):
        for status, headers in answer.interim:
            self.interim(status, headers)
        empty = self.request.method == "HEAD" or not answer.body
        self.head(answer.status, answer.fields(), end=empty and not answer.trailers)
        if not empty:
            self.data(answer.body, end=not answer.trailers)
        if answer.trailers:
            self.end(answer.trailers)

    def reset(self, code=2):
        self._do(lambda h2: h2.reset_stream(self.number, code))
        self.request.reset = code

    def cut(self):
        """The connection ends, in mid-response."""
        self.session.finish()

    def _window(self, most):
        """Waits for a window; how much may be sent."""
        origin, h2 = self.session.origin, self.session.h2
        with origin.condition:
            origin.wait(lambda: self.request.reset is not None or
                        h2.local_flow_control_window(self.number) > 0,
                        f"a window for {self.request.target}", 3 * waiting.DEADLINE)
            self._check()
            return min(most, ONCE, h2.local_flow_control_window(self.number),
                       h2.max_outbound_frame_size)

    def _do(self, act):
        with self.session.origin.condition:
            self._check()
            try:
                act(self.session.h2)
            except H2Error as e:
                raise ConnectionError(str(e)) from None
        self.session.wake()


class Http1Exchange:
    """The same over HTTP/1.1."""

    def __init__(self, connection, request, message):
        self.connection, self.request, self.message = connection, request, message
        self.is_chunked = False
        self.is_done = False

    def wait(self, event, seconds=waiting.DEADLINE):
        """As Exchange.wait; a client that leaves is heard of here."""
        sock = self.connection.sock

        def fact():
            if event.is_set():
                return True
            if select.select([sock], [], [], 0)[0] and not self.connection.reader.some():
                self.request.reset = -1
                raise ConnectionError("the client has left")
            return False

        waiting.until(fact, "a test's event", seconds)

    def read(self, n=None):
        request, reader = self.request, self.connection.reader
        length = self.message.get("content-length")
        if n is not None and length is not None:
            request.body += reader.exactly(max(min(n, int(length)) - len(request.body), 0))
            request.is_ended = len(request.body) == int(length)
        elif not request.is_ended:
            http1.read_body(reader, self.message)
            request.body[:] = self.message.body
            request.trailers = self.message.trailers
            request.is_ended = True
        return bytes(request.body)

    def _send_head(self, status, headers):
        lines = [f"HTTP/1.1 {status} X", *(f"{n}: {v}" for n, v in headers)]
        self.connection.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def interim(self, status, headers=()):
        self._send_head(status, headers)

    def head(self, status=200, headers=(), end=False):
        framed = any(n.lower() == "content-length" for n, _ in headers)
        self.is_chunked = not framed and not end and status not in (204, 304)
        more = [("transfer-encoding", "chunked")] if self.is_chunked else []
        if end and not framed and status not in (204, 304) and self.request.method != "HEAD":
            more = [("content-length", "0")]
        self._send_head(status, [*headers, *more])
        self.is_done = end

    def data(self, payload, end=False):
        if self.is_chunked and payload:
            payload = b"%x\r\n%b\r\n" % (len(payload), payload)
        self.connection.send(payload)
        if end:
            self.end()

    def end(self, trailers=()):
        if self.is_chunked:
            lines = "".join(f"{n}: {v}\r\n" for n, v in trailers)
            self.connection.send(f"0\r\n{lines}\r\n".encode("latin-1"))
        self.is_done = True

    answer = Exchange.answer

    def reset(self, code=2):
        self.connection.reset()
        raise ConnectionError

    def cut(self):
        self.connection.close()
        raise ConnectionError


class Session:
    """One connection of HTTP/2.  Its thread alone touches the socket; all else is under the
    origin's condition."""

    def __init__(self, origin, connection: Connection):
        self.origin, self.connection, self.number = origin, connection, connection.number
        self.sock = connection.sock
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self.requests = {}
        self.limit = 100            # of streams
        self.is_settled = False     # the proxy knows our SETTINGS
        self.last_taken = None      # streams above are not ours any more: GOAWAY said so
        self.is_finishing = False
        self.is_open = True
        self.held = set()           # streams whose DATA is not acknowledged
        self.pongs = []
        self.out = bytearray()
        self.is_mute = False
        self.unsaid = bytearray()   # what python-h2 would have said since it is mute
        self.waker, self.alarm = socket.socketpair()
        self.waker.setblocking(False)

    # -- for scripts and tests --

    def goaway(self, last, code=0):
        """The streams above `last` are not looked at; python-h2 would end the others too."""
        self.last_taken = last
        self.say(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())

    def ping(self):
        with self.origin.condition:
            self.h2.ping(b"origin12")
        self.wake()

    def hold(self, exchange):
        """Gives a stream no further window: its body is not read."""
        with self.origin.condition:
            self.held.add(exchange.number)

    def say(self, frames):
        """Bytes that python-h2 would not send."""
        with self.origin.condition:
            self._collect()
            self.out += frames
        self.wake()

    def mute(self):
        """From here on it reads, and says nothing of itself: no answer, no acknowledgement."""
        with self.origin.condition:
            self._collect()
            self.is_mute = True

    def update_settings(self, pairs):
        """Back when they are acknowledged.  python-h2 takes the next ACK for theirs, whatever it is
        for, and opens no window again for what came before it."""
        self.origin.wait(lambda: self.is_settled, "the ACK of its first SETTINGS")
        with self.origin.condition:
            self.is_settled = False
            self.h2.update_settings(pairs)
        self.wake()
        self.origin.wait(lambda: self.is_settled, "the ACK of its SETTINGS")

    def finish(self):
        """Ends the connection once all that was said is sent."""
        with self.origin.condition:
            self.is_finishing = True
        self.wake()

    def wake(self):
        try:
            self.waker.send(b"x")
        except OSError:
            pass

    # -- its thread --

    def run(self):
        with self.origin.condition:
            self.h2.initiate_connection()
            self._announce()
        self.sock.setblocking(False)
        try:
            while self._turn():
                pass
        finally:
            self._over()

    def _announce(self):
        """Our own SETTINGS in place of python-h2's, which would end the connection for a stream
        that was opened before they were known."""
        self.h2.clear_outbound_data_buffer()
        pairs = {**self.h2.local_settings, **self.origin.settings}
        self.out += SettingsFrame(0, pairs).serialize()
        self.limit = self.origin.settings.get(SettingCodes.MAX_CONCURRENT_STREAMS, self.limit)

    def _over(self):
        with self.origin.condition:
            self.is_open = False
            for request in self.requests.values():
                if request.reset is None:
                    request.reset = -1
            self.origin.condition.notify_all()
        self.waker.close()
        self.alarm.close()

    def _collect(self):
        said = self.unsaid if self.is_mute else self.out
        said += self.h2.data_to_send()
        self.origin.condition.notify_all()

    def _turn(self):
        with self.origin.condition:
            self._collect()
            is_last = self.is_finishing
        self._write()
        if is_last and not self.out:
            return False
        writing = [self.sock] if self.out else []
        readable, _, _ = select.select([self.sock, self.alarm], writing, [])
        if self.alarm in readable:
            self.alarm.recv(65536)
        return self.sock not in readable or self._read()

    def _write(self):
        while part := self._next_part():
            try:
                n = self.sock.send(part)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                return
            with self.origin.condition:
                del self.out[:n]

    def _next_part(self):
        with self.origin.condition:
            return bytes(self.out[:65536])

    def _read(self):
        while True:
            try:
                received = self.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return True
            if not received:
                return False
            with self.origin.condition:
                try:
                    happened = self.h2.receive_data(received)
                except H2Error as e:
                    self.origin.faults.append(f"{type(e).__name__}: {e}")
                    self.is_finishing = True
                    return True
                for event in happened:
                    self._take(event)
                self.origin.condition.notify_all()

    def _take(self, event):
        act = self._ACTIONS.get(type(event))
        request = self.requests.get(getattr(event, "stream_id", None))
        if act is not None:
            act(self, event, request)

    def _on_request(self, event, _):
        if self.last_taken is not None and event.stream_id > self.last_taken:
            return
        if self.h2.open_inbound_streams > self.limit:
            if self.is_settled:
                self.origin.faults.append(f"stream {event.stream_id} is over {self.limit}")
            self.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        pseudo = {n: v for n, v in event.headers if n.startswith(":")}
        request = Request(pseudo[":method"], pseudo.get(":path"), pseudo.get(":authority"),
                          [(n, v) for n, v in event.headers if not n.startswith(":")], "2",
                          self.number, event.stream_id, pseudo.get(":scheme"),
                          pseudo.get(":protocol"))
        self.requests[event.stream_id] = request
        self.origin.record(request)
        script = self.origin.script_of(request)
        if script is not None:
            self._start(script, Exchange(self, request))

    def _on_data(self, event, request):
        if event.stream_id in self.held:
            self.h2.increment_flow_control_window(event.flow_controlled_length)
        else:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if request is not None:
            request.body += event.data

    def _on_trailers(self, event, request):
        if request is not None:
            request.trailers = [tuple(pair) for pair in event.headers]

    def _on_ended(self, event, request):
        if request is None:
            return
        request.is_ended = True
        if self.origin.script_of(request) is None:
            self._respond(Exchange(self, request))

    def _respond(self, exchange):
        """At once, where windows need not be waited for."""
        answer = self.origin.respond(exchange.request)
        if len(answer.body) <= self.h2.local_flow_control_window(exchange.number):
            exchange.answer(answer)
        else:
            self._start(lambda e: e.answer(answer), exchange)

    def _on_reset(self, event, request):
        if request is not None and request.reset is None:
            request.reset = event.error_code

    def _on_settled(self, event, _):
        self.is_settled = True

    def _on_pong(self, event, _):
        self.pongs.append(event.ping_data)

    @staticmethod
    def _start(script, exchange):
        def run():
            try:
                script(exchange)
            except (ConnectionError, waiting.TimedOut):
                pass
        threading.Thread(target=run, daemon=True).start()

    _ACTIONS = {events.RequestReceived: _on_request, events.DataReceived: _on_data,
                events.TrailersReceived: _on_trailers, events.StreamEnded: _on_ended,
                events.StreamReset: _on_reset, events.PingAckReceived: _on_pong,
                events.SettingsAcknowledged: _on_settled}
