"""What every room stands on: errors, files, seeds, progress, keys, evidence.

Imports the standard library, rich and platformdirs only.
"""
