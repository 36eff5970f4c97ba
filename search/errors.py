"""What can go wrong in a run that the person who asked can mend, one class per kind of mistake.

Every class is a `ValueError`; the command line prints the sentence and exits with code 2.
The message is a sentence: rule, what was seen, what to do.
"""


class SearchError(ValueError):
    """The run cannot start or go on."""


class UnknownNameError(SearchError):
    """No dataset or task of this name is known."""


class TaskSetError(SearchError):
    """A multi-task search needs at least two distinct tasks."""


class BudgetError(SearchError):
    """The budget is malformed or lies below the fully shared network."""


class InputSizeError(SearchError):
    """The input size is malformed or does not fit the dataset or the backbone."""


class SettingError(SearchError):
    """A setting of the job is out of range or has no effect."""


class DatasetError(SearchError):
    """The dataset cannot be loaded."""


class SampleError(DatasetError):
    """A file of a sample is missing, broken, hostile or does not fit."""


class WeightsError(SearchError):
    """The file of pretrained weights is missing, unreadable or of another network."""


class OutputFolderError(SearchError):
    """The output folder cannot take this run."""


class ResumeError(SearchError):
    """The folder holds a run of another job."""


class StateFileError(SearchError):
    """A state file is corrupt."""


class ArchitectureFileError(SearchError):
    """An architecture file is corrupt or belongs to another job."""


class DeviceError(SearchError):
    """The device asked for is not there."""


class ExportError(SearchError):
    """The exported network does not give the outputs of the trained one, or cannot be written."""


class DivergedError(SearchError):
    """The training left all bounds: a loss or a metric is no finite number. Lower the learning rate."""


class CrewLostError(SearchError):
    """One of the processes that train a network together is gone; its state is saved and `--resume` continues it."""


class UnschedulableError(SearchError):
    """No machine has the resources that a trial asks for."""


class RunCancelledError(Exception):
    """The run was asked to stop; its state is saved and `--resume` continues it."""

    def __init__(self, message: str = "The run was stopped; its state is saved.") -> None:
        super().__init__(message)
