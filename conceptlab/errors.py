"""The error family: one clear sentence each, and the exit code that the command line gives it."""

#: How libraries say that memory is short.
NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


class ConceptlabError(Exception):
    """Anything that conceptlab says to its user; the message is one sentence with the remedy."""

    exit_code = 2


class InputError(ConceptlabError, ValueError):
    """The input is wrong: a path, a specification, an argument, a file's content."""


class DataError(InputError):
    """A probe data set is wrong: a missing, damaged or inconsistent file."""


class ModelError(InputError):
    """A model cannot be built, loaded or run as asked."""


class LayerError(ModelError):
    """A layer does not exist, is not reached, or runs more than once."""


class ActivationError(ModelError):
    """A layer's output cannot be cached: NaN, infinite, or of an unknown form."""


class SpaceError(InputError):
    """Vectors of unequal spaces were to be compared coordinate by coordinate."""


class UnfinishedError(ConceptlabError):
    """Work stopped early, nothing is lost, and the same command resumes it."""

    exit_code = 3


class CacheError(UnfinishedError):
    """The cache cannot be written or read: a full disk, a read-only folder, a damaged block."""


def first_line(error: object) -> str:
    """The first line of what an exception says, or what it is called if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
