"""LitServe around ONNX Runtime, with one worker."""

import os
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Policy(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL_FOLDER"] + "/policy.onnx", options)

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array([request["observation"]], dtype=np.float32)

    def predict(self, x: Any) -> Any:
        return self._session.run(["action"], {"observation": x})[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"action": int(output[0])}


if __name__ == "__main__":
    server = litserve.LitServer(Policy(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(os.environ["PORT"]), num_api_servers=1, generate_client_file=False, access_log=False
    )
