"""TorchServe around ONNX Runtime, with one worker: the handler, and as a program the server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ != "__main__":
    import numpy as np
    import onnxruntime
    from ts.torch_handler.base_handler import BaseHandler

    class Policy(BaseHandler):
        def initialize(self, context: Any) -> None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(os.environ["MODEL_FOLDER"] + "/policy.onnx", options)
            self.initialized = True

        def handle(self, data: Any, context: Any) -> Any:
            bodies = [row.get("body") for row in data]
            asked = [body if isinstance(body, dict) else json.loads(body) for body in bodies]
            observations = np.array([one["observation"] for one in asked], dtype=np.float32)
            actions = self._session.run(["action"], {"observation": observations})[0]
            return [{"action": int(action)} for action in actions]

else:
    folder, python = Path(os.environ["STORE"]), Path(sys.executable)
    port = os.environ["PORT"]
    (folder / "weights").touch()
    subprocess.run(
        [
            *(str(python.with_name("torch-model-archiver")), "--model-name", "policy", "--version", "1"),
            *("--handler", __file__, "--serialized-file", str(folder / "weights"), "--export-path", str(folder)),
        ],
        check=True,
    )
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{int(port) + 1}",
        "metrics_address": f"http://127.0.0.1:{int(port) + 2}",
        "default_workers_per_model": "1",
        "job_queue_size": "1000",
        "disable_token_authorization": "true",
        "enable_envvars_config": "true",
    }
    (folder / "config.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    os.environ["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    command = ["torchserve", "--start", "--foreground", "--ncs", "--model-store", str(folder)]
    more = ["--models", "policy=policy.mar", "--ts-config", str(folder / "config.properties")]
    os.execvp(command[0], [*command, *more])  # noqa: S606
