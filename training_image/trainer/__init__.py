"""The trainer: what train_rl.py and validate_rl.py are made of.

Training      plan, hyperparameters, algorithms, environments (native), optimiser, fast, training, summary, imports
Surviving     segments, state, checkpoints, storage, stopping, supervisor
Telling       metrics, evaluations, reporting (bar), command, errors
Judging       model, graph, export, served, evaluation, judging, validation
Packing       archive, report, charts, spaces
"""
