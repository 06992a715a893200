"""MLServer with a runtime of one's own around ONNX Runtime, in the server's process: its fastest arrangement."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Policy(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL_FOLDER"] + "/policy.onnx", options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        observation = NumpyCodec.decode_input(payload.inputs[0])
        action = self._session.run(["action"], {"observation": observation})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("action", action)])
