"""A trained policy: its files, its graph, its ONNX, as it is served, and how it plays."""
