"""Codes and decoders from hours of audio in a quarter of an hour on one GPU; see README.md."""
