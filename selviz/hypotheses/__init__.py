"""Claims that can fail: registered before they are tested, with a verdict that could have gone the other way.

    from selviz.hypotheses.registry import register, run_test

    key = register(store, "selective", {"run": run, "k": 5})["hypothesis"]
    run_test(store, key)["verdict"]  # supported, refuted or inconclusive

templates: the kinds of claim, a file each; settings: from what is asked to what is registered; judging: the rules and
statistics of a verdict; power: how likely a test is to support a true claim; records: the ledger; report: a page for a
reader.
"""
