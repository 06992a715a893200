"""The container that serves a policy: SageMaker's contract over ONNX Runtime. No torch, no pickle.

Starting   server, models, proof, model_folder, health
Speaking   connection (HTTP), application (what is answered to what), formats, refusals
Answering  questions, observations, policy
Telling    measuring, logs
"""

import os

# The official builds of ONNX Runtime tell Microsoft what they run, and keep an id of the machine, unless this is set
# before they are imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
