"""A live progress bar."""

from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from contract.events import Event
from training_image.trainer.monitoring.reporting import describe


class BarReporter:
    """Steps, steps a second, mean return and time left; everything else is printed above the bar."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("[bold]seed {task.fields[seed]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("[cyan]{task.fields[rate]} steps/s"),
            TextColumn("[green]mean return {task.fields[mean_return]}"),
            TextColumn("{task.fields[left]} left"),
            console=Console(file=stream),
            expand=True,
        )
        self._task: TaskID | None = None

    def report(self, event: Event) -> None:
        if event["event"] == "progress" and self._task is not None:
            mean = event.get("mean_return")
            self._progress.update(
                self._task,
                completed=min(event["timesteps"], event["total_timesteps"]),
                rate=f"{event['steps_per_second']:,.0f}",
                mean_return="-" if mean is None else f"{mean:.1f}",
                left=str(timedelta(seconds=round(event["seconds_left"]))),
            )
        elif text := describe(event):
            self.log(text)
        if event["event"] == "started":
            self._progress.start()
            self._task = self._progress.add_task(
                "",
                total=event["total_timesteps"],
                completed=event["timesteps"],
                seed=event["seed"],
                rate="-",
                mean_return="-",
                left="-",
            )

    def log(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()
