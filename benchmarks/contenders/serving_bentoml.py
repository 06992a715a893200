"""BentoML's service around ONNX Runtime, with one worker, as `bentoml serve` starts it."""

import os
import sys
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 30}, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Policy:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL_FOLDER"] + "/policy.onnx", options)

    @bentoml.api(route="/invocations")
    def invocations(self, observation: list[float]) -> dict[str, Any]:
        asked = np.array([observation], dtype=np.float32)
        return {"action": int(self._session.run(["action"], {"observation": asked})[0][0])}


if __name__ == "__main__":
    from bentoml_cli.cli import cli

    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    place = ["--host", "127.0.0.1", "--port", os.environ["PORT"]]
    sys.argv = ["bentoml", "serve", "serving_bentoml:Policy", "--working-dir", os.environ["PYTHONPATH"], *place]
    cli()
