"""The research questions as experiments anyone can run again: small networks that differ in one
thing, trained alike, scored alike, and pages made from their logs.

    python -m eulerodec.research run --data FOLDER --clips FOLDER --out DIR
    python -m eulerodec.research collect DIR docs/research/data
    python -m eulerodec.research pages docs/research
"""
