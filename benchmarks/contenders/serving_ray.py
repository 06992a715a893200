"""Ray Serve around ONNX Runtime: one replica, one proxy."""

import os
import time
from typing import Any

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1})
class Policy:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL_FOLDER"] + "/policy.onnx", options)

    async def __call__(self, request: Request) -> dict[str, Any]:
        asked = np.array([(await request.json())["observation"]], dtype=np.float32)
        return {"action": int(self._session.run(["action"], {"observation": asked})[0][0])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Policy.bind(), route_prefix="/invocations")
    while True:
        time.sleep(60)
