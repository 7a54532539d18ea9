"""What strangers may send, one module a surface, and `watch`, which sees what a process does with it.

Everything is made from a `random.Random`, so that a number names an input.
"""
