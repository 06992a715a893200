"""How busy the GPU is, where there is one and NVML is installed."""

from types import ModuleType
from typing import Any

from contract.metrics import GPU_MEMORY, GPU_UTILIZATION, Metric


class Gpus:
    """The GPUs that this process sees; a container sees its own."""

    def __init__(self, nvml: ModuleType, handles: list[Any]) -> None:
        self._nvml = nvml
        self._handles = handles

    def look(self) -> dict[Metric, float]:
        """Mean use of all of them, of now; nothing when the driver does not say."""
        try:
            busy = [self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in self._handles]
            memories = [self._nvml.nvmlDeviceGetMemoryInfo(handle) for handle in self._handles]
        except self._nvml.NVMLError:
            return {}
        full = [100 * memory.used / memory.total for memory in memories]
        return {GPU_UTILIZATION: sum(busy) / len(busy), GPU_MEMORY: sum(full) / len(full)}


def find_gpus() -> Gpus | None:
    """The GPUs, or None where there are none or nobody to ask."""
    try:
        import pynvml
    except ImportError:  # only the image for GPUs has it
        return None
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return None
    return Gpus(pynvml, handles) if handles else None
