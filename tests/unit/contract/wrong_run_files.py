"""Run files that must be refused: the field that is wrong, the file, and a part of what is said about it."""

from contract.run import MAX_RUN_FILE_BYTES

ENV = "environment: {id: CartPole-v1}\n"

WRONG_RUN_FILES: list[tuple[str, str | bytes, str]] = [
    # the file itself
    ("the file", "", "a mapping"),
    ("the file", "- environment", "a mapping"),
    ("the file", "CartPole-v1", "a mapping"),
    ("the file", b"\xff\xfe environment", "UTF-8"),
    ("the file", "#" * (MAX_RUN_FILE_BYTES + 1), "bytes"),
    ("line 2", ENV + "timesteps: [1", "valid YAML"),
    ("line 1", "\tenvironment: {id: CartPole-v1}", "valid YAML"),
    ("line 2", ENV + "environment: {id: Acrobot-v1}", "stands twice"),
    ("line 2", "a: &a [x]\nb: *a", "aliases"),
    ("line 2", ENV + "<<: {timesteps: 5}", "merge keys"),
    ("line 2", ENV + "1: 2", "not text"),
    ("the file", "[" * 20_000, "valid YAML"),
    ("line 1", "environment: !!python/object/apply:os.system [id]", "valid YAML"),
    # keys
    ("environment", "timesteps: 1000", "required"),
    ("environment.id", "environment: {}", "required"),
    ("timestep", ENV + "timestep: 1000", "no such key; known here: environment, algorithm, timesteps"),
    ("validation.episode", ENV + "validation: {episode: 10}", "known here: episodes"),
    ("algorithm.hyperparameters.lr", ENV + "algorithm: {hyperparameters: {lr: 0.1}}", "learning_rate"),
    # the environment
    ("environment", "environment: CartPole-v1", "a mapping"),
    ("environment.id", "environment: {id: 5}", "text"),
    ("environment.id", "environment: {id: CartPole-v9}", "did you mean CartPole-v1"),
    ("environment.id", "environment: {id: 'mypackage:CartPole-v1'}", "cannot choose code to import"),
    ("algorithm.name", "environment: {id: Blackjack-v1}\nvalidation: {min_return: 0}", "Tuple observations"),
    ("environment.kwargs", "environment: {id: CartPole-v1, kwargs: [1]}", "a mapping"),
    ("environment.kwargs.gravity", "environment: {id: CartPole-v1, kwargs: {gravity: 1}}", "sutton_barto_reward"),
    # the algorithm
    ("algorithm.name", ENV + "algorithm: {name: alphazero}", "one of"),
    ("algorithm.name", ENV + "algorithm: {name: [ppo]}", "text"),
    ("algorithm", ENV + "algorithm: ppo", "a mapping"),
    ("algorithm.hyperparameters.gamma", ENV + "algorithm: {hyperparameters: {gamma: 1.5}}", "at most 1"),
    ("algorithm.hyperparameters.n_envs", ENV + "algorithm: {hyperparameters: {n_envs: 0}}", "at least 1"),
    ("algorithm.hyperparameters.n_steps", ENV + "algorithm: {hyperparameters: {n_steps: many}}", "a whole number"),
    ("algorithm.hyperparameters.activation", ENV + "algorithm: {hyperparameters: {activation: gelu}}", "'tanh'"),
    ("algorithm.hyperparameters.learning_rate", ENV + "algorithm: {hyperparameters: {learning_rate: fast}}", "lin_"),
    (
        "algorithm.hyperparameters.batch_size",
        ENV + "algorithm: {hyperparameters: {n_envs: 2, n_steps: 8, batch_size: 64}}",
        "at most n_envs * n_steps, the 16 steps",
    ),
    # numbers
    ("timesteps", ENV + "timesteps: 0", "at least 1"),
    ("timesteps", ENV + "timesteps: '100000'", "a whole number"),
    ("timesteps", ENV + "timesteps: 1.5", "a whole number"),
    ("timesteps", ENV + "timesteps: true", "a whole number"),
    ("timesteps", ENV + "timesteps: 1.0e+300", "at most"),
    ("seeds", ENV + "seeds: 0", "1 to 32, or a list"),
    ("seeds", ENV + "seeds: 1000", "1 to 32, or a list"),
    ("seeds", ENV + "seeds: []", "at least 1 of them"),
    ("seeds", ENV + "seeds: [3, 3]", "each seed once"),
    ("seeds.0", ENV + "seeds: [-1]", "at least 0"),
    ("validation.episodes", ENV + "validation: {episodes: 1}", "at least 2"),
    ("validation.confidence", ENV + "validation: {confidence: 95}", "less than 1"),
    ("validation.min_return", ENV + "validation: {min_return: .nan}", "a finite number"),
    ("validation.min_return", ENV + "validation: {min_return: 600}", "at most 500"),
    ("validation.min_return", "environment: {id: Pendulum-v1}", "no reward threshold"),
    # the rest
    ("checkpoint.every_seconds", ENV + "checkpoint: {every_seconds: 0}", "at least 1"),
    ("checkpoint.every_seconds", ENV + "checkpoint: {every_seconds: null}", "while compute.spot is true"),
    ("checkpoint.keep", ENV + "checkpoint: {keep: 0}", "at least 1"),
    ("compute.accelerator", ENV + "compute: {accelerator: tpu}", "'auto', 'cpu' or 'gpu'"),
    ("compute.spot", ENV + "compute: {spot: sometimes}", "true or false"),
    ("limits.max_hours", ENV + "limits: {max_hours: 0}", "more than 0"),
    ("limits.max_hours", ENV + "limits: {max_hours: 0.001}", "before the first checkpoint"),
    ("limits.max_cost_usd", ENV + "limits: {max_cost_usd: -5}", "more than 0"),
    ("deploy.target", ENV + "deploy: {target: ftp}", "'sagemaker'"),
    ("deploy.endpoint", ENV + "deploy: {endpoint: 'no spaces please'}", "text that matches"),
    ("deploy.endpoint", ENV + f"deploy: {{endpoint: {'x' * 64}}}", "text that matches"),
]
