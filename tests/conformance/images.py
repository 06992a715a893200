"""Two tiny images as the CDK would stage them: a job that does as it is told, and a serving container."""

import hashlib
import json
from pathlib import Path

JOB = """
import json, os, signal, subprocess, sys, time

def said(*words):
    print(*words, flush=True)

what, *rest = sys.argv[1:]
if what == "say":
    said(*rest)
elif what == "exit":
    sys.exit(int(rest[0]))
elif what == "environment":
    said(json.dumps({name: os.environ.get(name) for name in rest}))
elif what == "whoami":
    import boto3
    said(boto3.client("sts").get_caller_identity()["Arn"])
elif what == "sleep":
    said("sleeping")
    time.sleep(float(rest[0]))
elif what == "graceful":
    signal.signal(signal.SIGTERM, lambda *_: (said("checkpointed"), sys.exit(75)))
    said("training")
    time.sleep(60)
elif what == "deaf":
    signal.signal(signal.SIGTERM, lambda *_: said("not now"))
    said("working")
    while True:
        time.sleep(1)
elif what == "parent":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    said("sleeping")
    time.sleep(60)
elif what == "slowly":
    for word in rest:
        said(word)
        time.sleep(0.4)
elif what == "second-time":
    sys.exit(0 if os.environ["AWS_BATCH_JOB_ATTEMPT"] == "2" else 75)
"""

SERVER = """
import http.server, os, pathlib, sys, time

model = pathlib.Path(os.environ["SM_MODEL_DIR"])
assert sys.argv[1] == "serve", sys.argv
if (model / "broken").exists():
    sys.exit("the model is broken")

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(503 if (model / "sick").exists() else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if (model / "failing").exists():
            return self.answer(500, b"failing")
        if (model / "slow").exists():
            time.sleep(float((model / "slow").read_text()))
        if body == b"die":
            os._exit(1)
        if body == b"wrong":
            return self.answer(400, b"expected something else")
        if body == b"attributes":
            return self.answer(200, self.headers["X-Amzn-SageMaker-Custom-Attributes"].encode())
        self.answer(200, (model / "answer").read_bytes() + body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept") or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

print("serving", flush=True)
address = (os.environ["RLPIPE_BIND_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""

DOCKERFILE = """
ARG BASE_IMAGE=python:3.11-slim
FROM $BASE_IMAGE AS build
ENV NOT_CARRIED_OVER=1
FROM python:3.11-slim
# a comment
WORKDIR /opt/here
COPY . .
ENV PYTHONPATH=/opt/here \\
    GREETING="hello there" \\
    PATH=/nowhere
LABEL said.by="the tests" {labels}
ENTRYPOINT {entrypoint}
"""


def stage(assembly: Path, name: str, files: dict[str, str], entrypoint: list[str], labels: str = "") -> str:
    """Stage an image asset as `cdk synth` does; the result is the image's URI."""
    files = {**files, "Dockerfile": DOCKERFILE.format(entrypoint=json.dumps(entrypoint), labels=labels)}
    tag = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    folder = assembly / f"asset.{tag}"
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).write_text(content)
    manifest = {"version": "44.0.0", "dockerImages": {tag: {"source": {"directory": folder.name}}}}
    (assembly / f"{name}.assets.json").write_text(json.dumps(manifest))
    return f"000000000000.dkr.ecr.us-east-1.amazonaws.com/cdk-hnb659fds-container-assets-000000000000-us-east-1:{tag}"


def job_image(assembly: Path) -> str:
    return stage(assembly, "job", {"job.py": JOB}, ["python", "job.py"])


def serving_image(assembly: Path) -> str:
    return stage(assembly, "serving", {"server.py": SERVER}, ["python", "server.py"])
