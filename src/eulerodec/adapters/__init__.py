"""The codec as other libraries for audio take it; each module says how to use it.

Nothing is imported here: a module needs its library (``webdataset`` none).
"""
