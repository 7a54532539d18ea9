"""Claims that can fail: registered before they are tested, with a verdict that could have gone the other way.

    from selviz.hypotheses.records import register, run_test

    key = register(store, "selective", {"run": run, "k": 5})["hypothesis"]
    run_test(store, key)["verdict"]  # supported, refuted or inconclusive

templates: the kinds of claim, in words; settings: from what is asked to what is registered; samples: what is measured;
verdicts: what the sample says; power: how likely it is to say so; own: a claim as a YAML file; records: the ledger;
report: a page for a reader.
"""
