"""A class that a sentence adds to a model: which rule recognises it?"""
