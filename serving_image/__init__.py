"""The container that serves a policy: SageMaker's contract over ONNX Runtime. No torch, no pickle.

Starting   server, models, proof, model_folder, health
Speaking   connection (HTTP), application (what is answered to what), formats, refusals
Answering  questions, observations, policy
Telling    measuring, logs
"""
