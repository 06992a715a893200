"""The trainer: what train_rl.py and validate_rl.py are made of.

Training      plan, hyperparameters, algorithms (reinforce, q_learning), environments (native, environment_check),
              images, optimiser, fast, training, side_by_side, summary, imports
Surviving     segments, state, replay, checkpoints, storage, stopping, supervisor, watchdog
Telling       metrics, evaluations, reporting (bar), command, errors
Judging       model, graph (heads), export, served, evaluation, judging, validation
Packing       archive, report (page, curves, advice), rendering, spaces
"""

import os

# The official builds of ONNX Runtime tell Microsoft what they run, and keep an id of the machine, unless this is set
# before they are imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
