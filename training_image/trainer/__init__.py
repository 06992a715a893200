"""The trainer: what train_rl.py and validate_rl.py are made of.

Training      plan, hyperparameters, algorithms, environments (native), optimiser, fast, training, summary
Surviving     segments, state, checkpoints, storage, stopping, supervisor
Telling       metrics, reporting (bar), command, errors
Judging       model, graph, export, served, evaluation, judging, validation
Packing       archive, report, charts, spaces
"""
