"""Measuring codecs: clips through systems, metrics into a table, the table into a report.

``eulerodec evaluate`` is built from the parts of this package: :mod:`.clips`, :mod:`.systems`,
:mod:`.align`, :mod:`.runner`, :mod:`.summary`, :mod:`.report` and :mod:`eulerodec.metrics`;
``eulerodec codebooks`` is :mod:`.codebooks`. Nothing is imported until one is used.
"""

DEFAULT_SYSTEMS = "reference,eulerodec:6,eulerodec:12,opus:6,opus:12"
