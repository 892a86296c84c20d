"""Sphinx configuration.

The pages are MyST notebooks that are executed at every build, so an example that fails breaks the build. Links to the
documentation of Python, NumPy, SciPy and JAX need the network; ask for them with `sphinx-build -t online`.
"""

import os

from fieldfit import __version__

# The examples are small; a graphics processor would only add its start-up messages to the pages.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "fieldfit"
author = "The fieldfit developers"
copyright = "The fieldfit developers"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"fieldfit {release}"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_render_markdown_format = "myst"

napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88

_inventories = {
    "python": ("https://docs.python.org/3/", None),
    "numpy": ("https://numpy.org/doc/stable/", None),
    "scipy": ("https://docs.scipy.org/doc/scipy/", None),
    "jax": ("https://docs.jax.dev/en/latest/", None),
}
intersphinx_mapping = _inventories if tags.has("online") else {}  # noqa: F821, Sphinx defines tags


def keep_first_line(app, what, name, obj, options, lines):
    """Keep napoleon from reading the words before a colon in the first line on a property as its type."""
    if what == "property":
        lines[:0] = ["..", ""]


def setup(app):
    app.connect("autodoc-process-docstring", keep_first_line, priority=400)
