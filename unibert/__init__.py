"""UniBERT: compact multilingual encoders from masked language modelling, a language adversary and distillation.

`unibert.pretrain.pretrain(request, …)` is the way in, with a Request from `unibert.request`. This package has never
heard of a benchmark.
"""
