"""What can go wrong in the shell that the person who asked can mend, one class per kind of mistake.

The method's own mistakes stand in `search.errors` and `models.errors`; `service.failures` turns all of them into one
sentence and an exit code.
"""


class ServiceError(ValueError):
    """The shell cannot do what was asked."""


class ArtifactNameError(ServiceError):
    """A name of an artifact must stay inside its folder."""


class FolderContentError(ServiceError):
    """The folder holds neither a candidate, nor a retrained network, nor a study."""


class TargetFileError(ServiceError):
    """The file to be written exists already, or its folder does not."""
