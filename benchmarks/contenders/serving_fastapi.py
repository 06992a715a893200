"""What most people write: Stable-Baselines3's own `predict` behind FastAPI, with uvicorn's fast parts."""

import os
from typing import Annotated, Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from stable_baselines3 import PPO

torch.set_num_threads(1)
model = PPO.load(os.environ["MODEL_FOLDER"] + "/policy.zip", device="cpu")
app = FastAPI()


class Question(BaseModel):
    observation: Annotated[list[float], Field(min_length=4, max_length=4)]


@app.post("/invocations")
async def invocations(question: Question) -> dict[str, Any]:
    action, _ = model.predict(np.array(question.observation, dtype=np.float32), deterministic=True)
    return {"action": int(action)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False)
