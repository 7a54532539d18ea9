"""Claims that can fail: registered before they are tested, with a verdict that could have gone the other way.

    from selviz.hypotheses.registry import register, run_test

    key = register(store, "selective", {"run": run, "k": 5})["hypothesis"]
    run_test(store, key)["verdict"]  # supported, an effect smaller than asked not excluded, refuted, or open

templates: the kinds of claim, a file each, of the parts in template; samples: what a test reads; decision: the rules
and statistics of a verdict; power: how likely a test is to support a true claim; registry: the ledger; claim_families:
which claims count together; run_identity: whether networks are what they were; report: a page for a reader.
"""
