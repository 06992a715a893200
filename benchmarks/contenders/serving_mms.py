"""SageMaker's inference toolkit with its multi-model server, which AWS's own containers run, around ONNX Runtime."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from sagemaker_inference import model_server
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.transformer import Transformer


class Policy(DefaultInferenceHandler):
    def default_model_fn(self, model_dir: str, context: Any = None) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(f"{model_dir}/policy.onnx", options)

    def default_input_fn(self, input_data: Any, content_type: str, context: Any = None) -> Any:
        return np.array([json.loads(input_data)["observation"]], dtype=np.float32)

    def default_predict_fn(self, data: Any, model: Any, context: Any = None) -> Any:
        return model.run(["action"], {"observation": data})[0]

    def default_output_fn(self, prediction: Any, accept: str, context: Any = None) -> Any:
        return json.dumps({"action": int(prediction[0])})


_service = DefaultHandlerService(Transformer(default_inference_handler=Policy()))


def handle(data: Any, context: Any) -> Any:
    if data is None:  # the server's first call
        return _service.initialize(context)
    return _service.handle(data, context)


if __name__ == "__main__":
    model_server.MMS_CONFIG_FILE = os.environ["SAGEMAKER_BASE_DIR"] + "/mms.properties"
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    model_server.start_model_server(handler_service=f"{Path(__file__).stem}:handle")
