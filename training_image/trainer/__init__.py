"""The trainer: what train_rl.py and validate_rl.py are made of.

Each room uses only those below it, and what stands beside them.

verdict       validation, judging, judging_by_log, off_policy, baselines, champion
report        page, curves, advice, rendering
monitoring    metrics, evaluations, telemetry, health, reporting, tracking, supervisor, watchdog
fast          PPO, DQN, QR-DQN and TQC's loss in numpy
policies      model, graph, export, served, evaluation
learning      algorithms, hyperparameters, q_learning, reinforce, offline
recovery      segments, state, replay, checkpoints, stopping
envs          environments, native, spaces, observations, images, environment_check

Beside them, `training` puts a training together from its `plan`; `side_by_side` has several seeds; `parallel` settles
how many environments; `summary` says what came of it.
"""

import os

# The official builds of ONNX Runtime tell Microsoft what they run, and keep an id of the machine, unless this is set
# before they are imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
