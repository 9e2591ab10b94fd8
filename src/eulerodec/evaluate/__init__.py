"""Measuring codecs: clips through systems, metrics into a table, the table into a report.

``eulerodec evaluate`` is built from the parts of this package: :mod:`.clips`, :mod:`.systems`,
:mod:`.align`, :mod:`.metrics`, :mod:`.runner`, :mod:`.summary` and :mod:`.report`;
``eulerodec codebooks`` from :mod:`.codebooks`, ``eulerodec entropy-tables`` from :mod:`.entropy`.
Nothing is imported until one is used.
"""

DEFAULT_SYSTEMS = "reference,eulerodec:6,eulerodec:12,opus:6,opus:12"
