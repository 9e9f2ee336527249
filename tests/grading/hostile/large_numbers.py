# class: submission
# attack: hands in a number with a million digits
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    path.write_bytes(b'{"nbformat": 4, "cells": [], "x": ' + b'9' * 1_000_000 + b'}')
    return path
