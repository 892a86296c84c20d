"""Every exception that fieldfit raises on purpose.

    FieldfitError
    |-- InputError             what the user gave cannot be used (command line: exit code 2)
    |   |-- ParameterError       a parameter, its bounds, a tie or a pattern
    |   |-- ConstraintError      a constraint, or several that cannot hold together
    |   |-- FileFormatError      a file that is missing, truncated or not what it claims to be
    |   |-- SettingsError        a settings file or option: unknown key, wrong type, wrong value
    |   |-- MoleculeError        a molecule that cannot be what the data say it is
    |   `-- ForceFieldError      a force field that lacks, repeats or cannot express something
    `-- EvaluationError        the objective cannot be evaluated where it has to be

Each message says what was given, why it cannot be, and what to do.
"""


class FieldfitError(Exception):
    """Base of everything fieldfit raises on purpose."""


class InputError(FieldfitError, ValueError):
    """What the user gave cannot be used."""


class ParameterError(InputError):
    """A parameter, its bounds, a tie or a pattern is wrong."""


class ConstraintError(InputError):
    """A constraint is wrong, or several cannot hold together."""


class FileFormatError(InputError):
    """A file is missing, truncated or not what it claims to be."""


class SettingsError(InputError):
    """A settings file or an option has an unknown key, a wrong type or a wrong value."""


class MoleculeError(InputError):
    """A molecule cannot be what the data say it is."""


class ForceFieldError(InputError):
    """A force field lacks, repeats or cannot express something."""


class EvaluationError(FieldfitError):
    """The objective cannot be evaluated where it has to be."""
