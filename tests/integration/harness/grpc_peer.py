"""gRPC with bytes for messages, as a program: its threads and forks are none of pytest's affair.

    grpc_peer.py serve [CERTIFICATE KEY]    prints its port, serves until stdin ends
    grpc_peer.py call PROXY TARGET [CA]     makes every kind of call, prints what came of it as JSON
"""
import json
import queue
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "site.test.Echo"
BIG = b"x" * (1 << 20)


def unary(request, context):
    context.send_initial_metadata([("x-first", "1")])
    context.set_trailing_metadata([("x-last", "2"), ("x-bytes-bin", b"\0\xff")])
    return b"echo " + request


def client_stream(requests, _context):
    return b"+".join(requests)


def server_stream(request, _context):
    for i in range(5):
        yield b"%b %d" % (request, i)


def bidirectional(requests, _context):
    for request in requests:
        yield b"echo " + request


left = threading.Event()


def endless(request, context):
    context.add_callback(left.set)
    while context.is_active():
        yield request
        left.wait(0.01)


def has_left(_request, _context):
    return b"yes" if left.wait(30) else b"no"


def failing(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no way: " + request.decode())


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Endless": grpc.unary_stream_rpc_method_handler(endless),
    "HasLeft": grpc.unary_unary_rpc_method_handler(has_left),
    "Failing": grpc.unary_unary_rpc_method_handler(failing),
    "Denied": grpc.unary_unary_rpc_method_handler(unary),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Bidirectional": grpc.stream_stream_rpc_method_handler(bidirectional),
}


def serve(*pair):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, HANDLERS)])
    if pair:
        certificate, key = (open(name, "rb").read() for name in pair)
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


def outcome(call):
    """The answer as text, or the status and its details."""
    try:
        answer = call()
    except grpc.RpcError as e:
        return [e.code().name, e.details()]
    return answer.decode() if isinstance(answer, bytes) else [part.decode() for part in answer]


def talk(channel):
    """A message is sent once the answer to the one before is there."""
    answered = queue.Queue()

    def requests():
        for i in range(5):
            yield b"%d" % i
            answered.get(timeout=30)

    got = []
    call = channel.stream_stream(f"/{SERVICE}/Bidirectional")
    for answer in call(requests(), timeout=30):
        got.append(answer)
        answered.put(answer)
    return got


def cancelled(channel):
    """One call is given up in the middle; what another, on the same connection, hears of it."""
    call = channel.unary_stream(f"/{SERVICE}/Endless")(b"x", timeout=30)
    next(call)
    call.cancel()
    return channel.unary_unary(f"/{SERVICE}/HasLeft")(b"", timeout=30).decode()


def unary_with_metadata(channel):
    method = channel.unary_unary(f"/{SERVICE}/Unary")
    answer, call = method.with_call(b"hello", timeout=30, metadata=[("x-mine-bin", b"\0\1")])
    trailing = dict(call.trailing_metadata())
    return [answer.decode(), dict(call.initial_metadata()).get("x-first"), trailing.get("x-last"),
            list(trailing.get("x-bytes-bin", b""))]


def call_all(proxy, target, *authority):
    options = [("grpc.http_proxy", f"http://127.0.0.1:{proxy}"),
               ("grpc.max_receive_message_length", -1)]
    if authority:
        trusted = grpc.ssl_channel_credentials(open(authority[0], "rb").read())
        channel = grpc.secure_channel(target, trusted, options)
    else:
        channel = grpc.insecure_channel(target, options)
    with channel:
        def simple(name, message=b"x"):
            method = channel.unary_unary(f"/{SERVICE}/{name}")
            return outcome(lambda: method(message, timeout=30))

        parts = channel.stream_unary(f"/{SERVICE}/ClientStream")
        events = channel.unary_stream(f"/{SERVICE}/ServerStream")
        print(json.dumps({
            "unary": unary_with_metadata(channel),
            "big": len(simple("Unary", BIG)),
            "client": outcome(lambda: parts(iter([b"a", b"b", b"c"]), timeout=30)),
            "server": outcome(lambda: list(events(b"n", timeout=30))),
            "both": outcome(lambda: talk(channel)),
            "cancelled": cancelled(channel),
            "failing": simple("Failing", b"because"),
            "denied": simple("Denied"),
            "unknown": simple("Unknown")[0],
        }))


if __name__ == "__main__":
    {"serve": serve, "call": call_all}[sys.argv[1]](*sys.argv[2:])
