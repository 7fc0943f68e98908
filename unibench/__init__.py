"""UniBench: does a compact multilingual encoder beat the baseline, in which languages, and how sure are we?"""

__version__ = "0.1.0"
