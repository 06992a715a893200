"""Local processes and containers that stand for the containers of jobs, functions and endpoints."""
