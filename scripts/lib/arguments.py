"""Arguments that several commands take."""

import argparse


def positive(text):
    """A whole number from 1 on; every other is wrong use."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on")
    return int(text)
