"""UniBERT: compact multilingual encoders from masked language modelling, a language adversary and distillation.

`unibert.train.fit(config, corpus, out)` is the way in. This package has never heard of a benchmark.
"""
