"""The seal of a file: a checksum of its content, appended after the content's own end.

NetCDF-4 checks its headers but not all values, so a flipped bit can read as another number. A seal
shows every damage before a reader looks at the content. Readers of NetCDF ignore what follows the
content, and a program that writes the file anew leaves the seal out; a file without a seal is
therefore no fault, it is only not protected.
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


def checksum(content: bytes) -> str | None:
    """SHA-256 of a whole file, its seal included; None when the seal does not fit the rest.

    Both come from one pass over the bytes. A file that was never sealed has a checksum.

    Arguments:
        content: all bytes of the file.

    Returns:
        Hexadecimal digits, as `sha256sum` prints them.

    >>> whole = b"content" + seal(b"content")
    >>> checksum(whole) == hashlib.sha256(whole).hexdigest()
    True
    >>> checksum(b"contend" + whole[7:]) is None
    True
    """
    body, end = memoryview(content)[:-LENGTH], content[-LENGTH:]
    digest = hashlib.sha256(body)
    if len(end) == LENGTH and end.startswith(MARK) and end != MARK + digest.digest():
        return None
    digest.update(end)
    return digest.hexdigest()
