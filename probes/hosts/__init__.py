"""Hosts: other programs' training loops that call `attach` at the right moments.

Each module needs the library it is named after, which is imported with it.

Contents:
    lightning     a callback for the Trainer of Lightning
    transformers  a callback for the Trainer of Hugging Face
    accelerate    attaching to what Accelerate has prepared
    host          what they share
"""
