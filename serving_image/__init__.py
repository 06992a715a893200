"""The container that serves a policy: SageMaker's contract over ONNX Runtime. No torch, no pickle.

`server` starts it, `application` speaks HTTP, `observations` reads what callers send, `policy` answers,
`model_folder` reads what it was given.
"""
