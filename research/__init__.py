"""The research questions as experiments anyone can run again: small networks that differ in one
thing, trained alike, scored alike, and pages made from their logs. Run from the root of a checkout:

    python -m research run --data FOLDER --clips FOLDER --out DIR
    python -m research collect DIR docs/research/data
    python -m research pages docs/research
"""
