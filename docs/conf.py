"""Settings of the documentation site, which `make docs` builds with Sphinx."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
# What notebooks find: the command of this environment, the recordings, a wide terminal.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["ULTRASLOW_DATA"] = str(DOCS.parent / "data")
os.environ["COLUMNS"] = "96"
os.environ["OMP_NUM_THREADS"] = "1"

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
nb_execution_timeout = 1200
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
highlight_language = "text"
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
LIGHT = {
    "color-foreground-primary": "#1d2126",
    "color-foreground-secondary": "#59616b",
    "color-foreground-muted": "#59616b",
    "color-background-primary": "#fdfdfb",
    "color-background-secondary": "#f5f5f1",
    "color-background-hover": "#e9e9e3",
    "color-background-border": "#dcdcd5",
    "color-brand-primary": "#1d4f91",
    "color-brand-content": "#1d4f91",
    "color-link": "#1d4f91",
    "color-link--visited": "#1d4f91",
    "color-inline-code-background": "#f0f0ea",
    "color-code-background": "#f5f5f1",
    "color-against": "#a8390f",
    "color-for": "#0b6e57",
}
DARK = {
    "color-foreground-primary": "#e7e9ec",
    "color-foreground-secondary": "#a3abb5",
    "color-foreground-muted": "#a3abb5",
    "color-background-primary": "#15181c",
    "color-background-secondary": "#1d2126",
    "color-background-hover": "#272c33",
    "color-background-border": "#343a42",
    "color-brand-primary": "#9cc1ff",
    "color-brand-content": "#9cc1ff",
    "color-link": "#9cc1ff",
    "color-link--visited": "#9cc1ff",
    "color-inline-code-background": "#20252b",
    "color-code-background": "#1d2126",
    "color-against": "#ff9f73",
    "color-for": "#5fd0b0",
}
html_theme_options = {"light_css_variables": LIGHT, "dark_css_variables": DARK}
smartquotes = False


# The parameters of a long signature, one a line.
SIGNATURE = re.compile(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", re.DOTALL)


def _usable(app, pagename, templatename, context, doctree):
    """What axe asks of a page and the theme leaves out.

    Captions of the contents are headings of some level; code and tables that may be wider than the
    window are scrolled by the keyboard as well; the lines of a signature are no definitions.
    """
    heading = 'role="heading"'
    contents = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = contents.replace(heading, f'{heading} aria-level="2"')
    body = context.get("body", "").replace("<pre>", '<pre tabindex="0">')
    body = body.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    context["body"] = SIGNATURE.sub(_lines, body)


def _lines(found):
    lines = found[1].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'<div class="signature">{lines}</div>'


def setup(app):
    """Connect what pages take from the code."""
    app.connect("source-read", generated.fill)
    app.connect("autodoc-process-docstring", docstrings.as_rst, priority=100)
    app.connect("autodoc-process-signature", docstrings.as_written)
    app.connect("html-page-context", _usable, priority=900)  # after the theme's own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
