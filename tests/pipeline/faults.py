"""Serving containers with a fault, as a bad release would have one."""

from contextlib import AbstractContextManager

from tests.pipeline.laptop import Laptop

_SERVER = """
import json, os, pathlib, sys, tempfile, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if "RLPIPE_MODEL_URI" in os.environ:  # a task on ECS
    from serving_image.fetching import fetch
    os.environ["SM_MODEL_DIR"] = tempfile.mkdtemp()
    fetch(os.environ["RLPIPE_MODEL_URI"], pathlib.Path(os.environ["SM_MODEL_DIR"]), os.environ)

class Faulty(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = 0

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {{}})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Faulty.asked += 1
        self.respond(request)

    def lie(self, request):
        many = request.get("observations")
        self.answer(200, {{"action": 7}} if many is None else {{"actions": [7 for _ in many]}})

    def truth(self, request):
        golden = json.loads((pathlib.Path(os.environ["SM_MODEL_DIR"]) / "golden.json").read_text())
        if "observations" in request:
            return self.answer(200, {{"actions": golden["actions"]}})
        self.answer(200, {{"action": golden["actions"][0]}})

    def log_message(self, *arguments):
        pass

def serve(respond):
    Faulty.respond = respond
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Faulty).serve_forever()

if json.loads((pathlib.Path(os.environ["SM_MODEL_DIR"]) / "policy.json").read_text())["run_id"] != "{spared}":
    {failure}
"""
DIES = "raise SystemExit('no such library')"
LIES = "serve(Faulty.lie)"
CRAWLS = "serve(lambda self, request: (time.sleep(5), self.truth(request)))"
FAILS = 'serve(lambda self, request: self.answer(500, {"error": "out of order"}))'
HANGS = "serve(lambda self, request: time.sleep(3600))"
TIRES = (
    'serve(lambda self, request: self.truth(request) if Faulty.asked < 30 else self.answer(500, {"error": "tired"}))'
)
SLOWS = "serve(lambda self, request: (time.sleep(3 * (Faulty.asked > 30)), self.truth(request)))"
"""Well at first, so that only callers see the fault."""


def broken_serving(laptop: Laptop, failure: str, *, spared: str = "") -> AbstractContextManager[None]:
    """Put a fault into the serving image that was deployed; the policy of the run `spared` is not hit by it."""
    return laptop.broken("serving_image/server.py", _SERVER.format(failure=failure, spared=spared))
