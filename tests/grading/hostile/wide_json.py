# class: submission
# attack: hands in half a million cells that are none
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    path.write_bytes(b'{"nbformat": 4, "cells": [' + b'[],' * 500_000 + b'1]}')
    return path
