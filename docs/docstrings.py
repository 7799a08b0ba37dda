"""From the docstrings of this project to what Sphinx's autodoc reads.

They are plain text of Google's form: a block that is indented below a paragraph is a formula or a
table, bars are those of norms, and names stand in single backticks.
"""

import ast
import inspect
import re
import textwrap

SECTIONS = {
    "Arguments:",
    "Attributes:",
    "Raises:",
    "References:",
    "Returns:",
    "Yields:",
}
# What stays as it is, names and emphasis, and what outside of them would begin other markup.
MARKUP = re.compile(
    r"(`[^`]*`|(?<!\S)\*\w(?:[^*]*\w)?\*(?=[\s.,;:)]|$))|([|*\\]|(?<=\w)_(?=\W|$))"
)


def as_rst(app, what, name, obj, options, lines):
    """Rewrite the lines of a docstring in place."""
    lines[:] = rewritten(lines)
    if what == "property":  # what stands before a colon of the first line is no type
        lines[:0] = ["..", ""]


def rewritten(lines):
    """Lines with indented blocks as literal ones and markup that is none escaped.

    >>> rewritten(["The norm |x|.", "", "    d = a*b", "", "Arguments:", "    x: any."])
    ['The norm \\\\|x\\\\|.', '', '::', '', '    d = a*b', '', 'Arguments:', '    x: any.']
    """
    found, block, section, example = [], False, None, False
    for line in lines:
        bare = line.strip()
        inner = len(line) - len(line.lstrip())
        if bare and not inner:
            section, block = (bare if bare in SECTIONS else None), False
            example = False
        if bare.startswith(">>>"):
            example = True
        elif not bare:
            example = False
        if bare and inner >= 4 and not (block or section):
            if not follows_text(found):
                found += ["::", ""]
                block = True
            elif found[-1].endswith(":"):
                found[-1] += ":"
                found.append("")
                block = True
        if block or example:
            found.append(line)
        else:
            found.append(MARKUP.sub(lambda part: part[1] or "\\" + part[2], line))
    return found


def follows_text(lines):
    """Whether the line before is text, to which an indented one belongs."""
    return bool(lines and lines[-1].strip())


def as_written(app, what, name, obj, options, signature, returned):
    """The signature as it stands in the source, with the names of its types."""
    target = obj.__init__ if inspect.isclass(obj) else obj
    try:
        text = textwrap.dedent(inspect.getsource(inspect.unwrap(target)))
        made = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(made, ast.FunctionDef):
        return None
    given = made.args
    if what in ("class", "method"):
        named = given.posonlyargs or given.args
        if named and named[0].arg in ("self", "cls"):
            named.pop(0)
    result = ast.unparse(made.returns) if made.returns is not None and what != "class" else None
    return f"({ast.unparse(given)})", result
