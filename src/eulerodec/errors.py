"""Typed errors: everything that a user can cause is an :class:`EuleroDecError`.

The message is one line that names the thing and, where there is one, the way out, so that the
command line can print it as it is.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "AudioWarning",
    "BitstreamError",
    "ConfigError",
    "EuleroDecError",
    "PacketError",
    "TrainingError",
    "WeightsError",
]


class _Recoverable(Exception):
    """
    Attributes:
        recoverable: ``recover=True`` reads what is sound of the input.
    """

    def __init__(self, message: str = "", *, recoverable: bool = False) -> None:
        super().__init__(message)
        self.recoverable = recoverable
        if recoverable:
            self.add_note("recover=True reads what is sound")  # shown below a traceback


class EuleroDecError(_Recoverable):
    """Base of all errors that this package raises on purpose."""


class AudioError(EuleroDecError, ValueError):
    """Audio that cannot be read, written or coded."""


class AudioWarning(_Recoverable, UserWarning):
    """Audio that was read or written all the same, but is clipped or not as its header says."""


class BitstreamError(EuleroDecError):
    """A compressed file that is not one, is damaged, or cannot be written."""


class PacketError(BitstreamError):
    """A network packet that is malformed or belongs to another stream."""


class WeightsError(EuleroDecError):
    """Weights that are missing, damaged, or not the ones that are needed."""


class ConfigError(EuleroDecError, ValueError):
    """A setting, recipe or argument with a wrong name or value."""


class TrainingError(EuleroDecError):
    """Training that cannot start or go on."""
