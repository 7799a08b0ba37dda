"""The seal of a file: a checksum of its content, appended after the content's own end.

NetCDF-4 checks its headers but not all values, so a flipped bit can read as another number. A seal
shows every damage before a reader looks at the content. Readers of NetCDF ignore what follows the
content, and a program that edits the file in place cuts the seal off with it; a file without a
seal is therefore no fault, it is only not protected.
"""

import hashlib

MARK = b"\nultraslow sha256 "
LENGTH = len(MARK) + hashlib.sha256().digest_size


def seal(content: bytes) -> bytes:
    """What to append to the content: a mark and its SHA-256.

    Arguments:
        content: all bytes of the file.

    Returns:
        `LENGTH` bytes.

    >>> len(seal(b"")) == LENGTH
    True
    """
    return MARK + hashlib.sha256(content).digest()


def is_broken(content: bytes) -> bool:
    """Whether a sealed file holds other bytes than it was written with.

    Arguments:
        content: all bytes of the file, its seal included.

    Returns:
        False as well for a file that was never sealed.

    >>> whole = b"content" + seal(b"content")
    >>> is_broken(whole), is_broken(b"contend" + whole[7:]), is_broken(b"content")
    (False, True, False)
    """
    body = content[:-LENGTH]
    return content[len(body) :].startswith(MARK) and content[len(body) :] != seal(body)
