"""Settings of the documentation site, which `make docs` builds with Sphinx."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import docstrings  # noqa: E402
import generated  # noqa: E402

import ultraslow  # noqa: E402

project = "ultraslow"
copyright = "the ultraslow authors, MIT licence"
version = release = ultraslow.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpick_ignore_regex = [("py:.*", ".*")]

# Pages are Markdown; blocks `{code-cell}` are run when the site is built, and a failure ends it.
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

# The reference comes from docstrings, whose form `docstrings` turns into what Sphinx reads.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_mock_imports = ["lightning", "pytorch_lightning", "transformers", "accelerate"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 70

html_theme = "furo"
html_title = "ultraslow"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
html_theme_options = {"sidebar_hide_name": False}
smartquotes = False


def setup(app):
    """Connect what pages take from the code."""
    app.connect("source-read", generated.fill)
    app.connect("autodoc-process-docstring", docstrings.as_rst, priority=100)
    app.connect("autodoc-process-signature", docstrings.as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
