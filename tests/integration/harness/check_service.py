"""A check service that answers, denies, stalls, dies or babbles as told, and remembers."""
import json
import threading

from . import http1, waiting
from .server import Server

ALLOW = {"action": "allow"}


def deny(**more):
    return {"action": "deny", **more}


class CheckService(Server):
    """answer(question) gives the reply: a dict, raw bytes of a whole response, or what one of the
    methods below makes."""

    def __init__(self, answer=None, tls=None, path=None):
        self.answer = answer or (lambda question: ALLOW)
        self.questions = []
        self.released = threading.Event()
        self.path = path
        super().__init__(None, tls, path)

    @property
    def url(self):
        if self.path is not None:
            return f"unix:{self.path}:/check"
        if self.tls is not None:
            return f"https://check.site.test:{self.port}/check"
        return f"http://127.0.0.1:{self.port}/check"

    def config(self, rules=(), **more):
        """A configuration that asks this check last, named policy; its deadline is the tests'."""
        deadline = {"timeout": f"{waiting.DEADLINE:.0f}s"}
        return {"checks": [{"name": "policy", "url": self.url, **deadline, **more}],
                "rules": [*rules, {"when": "any", "do": ["check policy"]}]}

    def serve(self, connection):
        while True:
            request = connection.read_request()
            question = json.loads(request.body)
            question["_http"] = request
            with self.condition:
                self.questions.append(question)
                self.condition.notify_all()
            answer = self.answer(question)
            if callable(answer):
                answer(connection)
                continue
            if isinstance(answer, dict):
                answer = http1.response(json.dumps(answer).encode(),
                                        headers=[("Content-Type", "application/json")])
            connection.send(answer)

    def wait_questions(self, n):
        self.wait(lambda: len(self.questions) >= n, f"{n} questions at the check")
        return self.questions

    def release(self):
        """Ends every stall."""
        self.released.set()

    def stall(self, reply=None):
        """Answers nothing until release(), then `reply`."""
        def act(connection):
            while not self.released.wait(0.05):
                if self.closing.is_set():
                    raise ConnectionError
            connection.send(http1.response(json.dumps(reply or ALLOW).encode()))
        return act

    @staticmethod
    def die(connection):
        raise ConnectionError

    @staticmethod
    def reset(connection):
        connection.reset()
        raise ConnectionError

    @staticmethod
    def trickle(reply=None):
        """The answer, byte by byte, each in a segment of its own."""
        def act(connection):
            for byte in http1.response(json.dumps(reply or ALLOW).encode()):
                connection.send(bytes([byte]))
        return act

    def close(self):
        self.release()
        super().close()
