"""The configuration graph: artefacts, the automatons that run them, and the hosts that these run on.

    documents  -- build.build -->  Graph  -- saved.write -->  graph.json  -- saved.open -->  answers

What a graph holds is in `model`; every question about one is a module of its own.
"""
