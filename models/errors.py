"""What can be wrong with a request for a network, one class per kind of mistake.

Every class is a `ValueError`: the person who asked can mend it. A message says rule, what was seen, what to do.
"""


class ModelsError(ValueError):
    """A network cannot be built from this description."""


class BranchingError(ModelsError):
    """A branching must be a tree: tasks that parted never meet again."""


class UnknownBackboneError(ModelsError):
    """No backbone of this name is in the table."""


class InputSizeError(ModelsError):
    """The images are too small for the strides of this backbone."""


class PretrainedWeightsError(ModelsError):
    """A weight file does not fit the backbone it was given for."""


class ForeignBackboneError(ModelsError):
    """A backbone of another package cannot be loaded, or is not what a backbone must be."""


class CutError(ModelsError):
    """A network cannot be cut into a stem and a chain of layers."""
