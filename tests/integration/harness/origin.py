"""An origin of a few lines of Python, for answers that no sane server gives."""
from . import http1
from .server import Server


def echo(request):
    """Says what it was asked, as JSON would: one line a field."""
    lines = [request.start, *(f"{n}: {v}" for n, v in request.headers)]
    return http1.response("\n".join(lines).encode("latin-1"))


class Origin(Server):
    """Answers each request with respond(request) -> bytes; None closes.  Records all of them."""

    def __init__(self, respond=echo, tls=None, serve=None, path=None):
        self.respond = respond
        self.requests = []
        super().__init__(serve, tls, path)

    def serve(self, connection):
        while True:
            request = self.take(connection)
            answer = self.respond(request)
            if answer is None:
                return
            connection.send(answer)

    def take(self, connection):
        """Reads a request and records it."""
        request = connection.read_request()
        request.connection = connection.number
        with self.condition:
            self.requests.append(request)
            self.condition.notify_all()
        return request

    def wait_requests(self, n):
        self.wait(lambda: len(self.requests) >= n, f"{n} requests at the origin")
        return self.requests
