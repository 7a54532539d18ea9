"""For a training loop of one's own: units' activations for the penalty, and their selectivity after each epoch.

    from selviz.callbacks import SelectivityRecorder, UnitActivations
    from selviz.selectivity import penalty

`docs/training-loops.md` has a whole loop in plain PyTorch, with accelerate and with Lightning.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from selviz.api import DATA, Run
from selviz.errors import SelvizError
from selviz.store import Store
from selviz.training.unit_hooks import UnitActivations

if TYPE_CHECKING:
    from torch import nn

    from selviz.runs.epoch_recording import Epoch

__all__ = ["MetricLogger", "SelectivityRecorder", "UnitActivations", "lightning_callback"]


class MetricLogger(Protocol):
    """What a logger of lightning_fabric has: those of TensorBoard, Weights & Biases, MLflow, CSV files, ..."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take numbers by name."""


class SelectivityRecorder:
    """Records the selectivity of every unit after each epoch, on the same evaluation images.

        recorder = SelectivityRecorder((images, labels), name="mine")
        for epoch in range(1, 11):
            ...                               # train
            recorder(model, epoch, loss=loss)
        run = recorder.finish(model)          # a run like that of `selviz.capture`, with its epochs

    `data` and `classes`, `layers`, `mean`, `std`, `outputs`, `max_images` are those of `selviz.capture`. With `name` it
    goes to the store; with `logger` (what lightning_fabric takes, or several) each epoch's mean SI, overall and by
    layer, goes there; with both, to both. A training that is cut off keeps its epochs: the same loop again goes on.
    Raises SelvizError for images that do not fit, a name that a run has, and where neither is given.
    """

    def __init__(
        self,
        data: object,
        name: str | None = None,
        classes: Sequence[str] | None = None,
        layers: Sequence[str] = (),
        *,
        store: Store | str | Path = DATA,
        logger: MetricLogger | Sequence[MetricLogger] = (),
        outputs: Sequence[int] = (),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        max_images: int = 0,
    ):
        from selviz.runs.epoch_recording import EpochRecording

        self.loggers: list[MetricLogger] = list(logger) if isinstance(logger, Sequence) else [logger]
        if name is None and not self.loggers:
            raise SelvizError('Say where the selectivity is to go: name="mine" for the store, or logger=...')
        place = None if name is None else store if isinstance(store, Store) else Store(store)
        self._recording = EpochRecording(
            data, name or "recorded", classes, layers,
            store=place, outputs=outputs, mean=mean, std=std, max_images=max_images,
        )  # fmt: skip

    def __call__(self, model: "nn.Module", epoch: int, **given: float) -> "Epoch":
        """Record the network after `epoch` (1 is the first, 0 the untrained network); it is left as it is.

        `given` are a loop's own numbers for the store: loss, penalty, train_accuracy, learning_rate. Returns the
        tables of the epoch.
        """
        found = self._recording.record(model, epoch, {name: float(value) for name, value in given.items()})
        for logger in self.loggers:
            logger.log_metrics(found.metrics(), step=epoch)
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return what this process recorded, one row per epoch and layer."""
        epochs = self._recording.epochs
        tables = [epochs[number].layers.assign(epoch=number) for number in sorted(epochs)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def finish(self, model: "nn.Module") -> Run:
        """Capture the trained network with all that was recorded, and return the run."""
        self._recording.finish(model)
        assert self._recording.store is not None
        return Run(self._recording.name, self._recording.store)

    @property
    def stores(self) -> bool:
        """Whether the epochs go to a store."""
        return self._recording.store is not None


def lightning_callback(recorder: SelectivityRecorder, network: str = "", loss: str = "train_loss") -> Any:
    """Return a callback for Lightning's Trainer that records after each training epoch and finishes at the end.

        trainer = Trainer(callbacks=[lightning_callback(SelectivityRecorder(data, name="mine"))])

    `network` names the attribute of the LightningModule that is the classifier (default: the module itself); `loss` is
    the metric that is stored as the epoch's loss, where the module logs one of that name. The Trainer's own loggers get
    the selectivity too. Works with `lightning` and with `pytorch_lightning`, whichever is imported.
    """
    from selviz.training.lightning_package import callback_class

    class RecordSelectivity(callback_class()):  # type: ignore[misc]  # of the package that is in use
        def on_fit_start(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                self._loggers = [logger for logger in trainer.loggers if logger not in recorder.loggers]

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                given = trainer.callback_metrics.get(loss)
                numbers = {} if given is None else {"loss": float(given)}
                found = recorder(_network(module, network), trainer.current_epoch + 1, **numbers)
                for logger in self._loggers:
                    logger.log_metrics(found.metrics(), step=trainer.global_step)

        def on_fit_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero and recorder.stores:
                recorder.finish(_network(module, network))

    return RecordSelectivity()


def _network(module: Any, name: str) -> Any:
    return getattr(module, name) if name else module
