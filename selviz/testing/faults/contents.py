"""What a store holds, and whether it is sound: `content(data)`, `unsound(data, expected)`, `readings(store, run)`."""

import hashlib
import json
from pathlib import Path

TIMES = {"seconds", "created", "train_seconds", "written", "registered", "tested", "threads"}


def names(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def content(data: Path) -> dict[str, str]:
    """Return a digest of each table, file of weights, summary and hypothesis of the store, without times."""
    from selviz.store import Store, read_json

    store, digests = Store(data), {}
    for run in store.names():
        folder = store.run_path(run)
        summary = {key: value for key, value in (read_json(folder / "summary.json") or {}).items() if key not in TIMES}
        digests[f"{run} summary"] = json.dumps(summary, sort_keys=True)
        for file in sorted(folder.rglob("*.safetensors")):
            digests[f"{run} {file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("*.duckdb")):
            digests |= {f"{run} {file.stem}.{table}": digest for table, digest in tables(file).items()}
    for row in store.hypotheses().to_dict("records"):
        digests[f"hypothesis {row['statement']}"] = str({key: row[key] for key in row if key not in TIMES})
    return digests


def tables(file: Path) -> dict[str, str]:
    import duckdb
    import pandas as pd

    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file}' AS f (READ_ONLY)")
        listed, digests = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'f'", {}
        for (name,) in connection.execute(listed).fetchall():
            table = connection.execute(f'SELECT * FROM f."{name}"').df()
            table = table.drop(columns=[column for column in table if column in TIMES])
            rows = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
            digests[name] = hashlib.sha256(rows + str(list(table)).encode()).hexdigest()
        return digests


def unsound(data: Path, expected: dict[str, str]) -> list[str]:
    """Return what a store must not show: a finished run or a stage that is not whole, or that is not what it
    should become.
    """
    from selviz.errors import SelvizError
    from selviz.store import Store, read_chain, stage_is_whole
    from selviz.store.integrity import check_run

    store, troubles = Store(data), []
    try:
        rows = store.runs().to_dict("records")
        store.sql("SELECT count(*) FROM runs")
        troubles += [f"the chain of hypotheses: {problem}" for problem in read_chain(data).problems]
    except SelvizError as error:
        return [f"the store does not open: {error}"]
    for row in rows:
        folder = store.run_path(row["run"])
        full = row["state"] == "failed" and str(row["reason"]).startswith("Cannot write")
        if row["state"] not in ("finished", "unfinished", "running") and not full:
            troubles.append(f"{row['run']} is {row['state']}: {row['reason']}")
        if row["state"] == "finished":
            troubles += [problem.told for problem in check_run(store, row["run"]) if not problem.note]
            for name in ("units", "class_means", "images", "epochs"):
                getattr(store, name)(row["run"])
        for file in folder.glob("*.duckdb"):
            if not stage_is_whole(folder, file.stem):
                troubles.append(f"{file.name} is there and not whole")
                continue
            for table, digest in tables(file).items():
                if digest != expected.get(f"{row['run']} {file.stem}.{table}"):
                    troubles.append(f"{file.name} shows other rows of {table}")
    return troubles


def readings(store, run: str) -> dict:
    """Return what each kind of page asks of a run: a digest, or "refused" where it is told that a file is damaged."""
    import pandas as pd

    from selviz.errors import SelvizError
    from selviz.runs.load import load_network
    from selviz.store import read_chain

    def weights():
        network, _ = load_network(store, run)
        return pd.DataFrame({"w": [float(value.double().sum()) for value in network.root.state_dict().values()]})

    def hypotheses():
        if problems := read_chain(store.path).problems:  # which every list and page says beside them
            raise SelvizError(problems[0])
        return store.hypotheses()

    calls = {name: (lambda name=name: getattr(store, name)(run)) for name in
             ("layers", "units", "class_means", "images", "epochs", "epoch_layers", "atlas", "robustness")}  # fmt: skip
    calls |= {
        "run": lambda: pd.DataFrame({"run": [json.dumps(store.run(run), sort_keys=True)]}),
        "runs": lambda: store.runs().drop(columns=["reason", "resume"]),
        "matrix": lambda: pd.DataFrame(store.matrix(run, "relu3")),
        "thumbnails": lambda: pd.DataFrame({"png": [str(png) for png in store.thumbnails(run, range(60)).values()]}),
        "weights": weights,
        "hypotheses": hypotheses,
    }
    digests = {}
    for name, call in calls.items():
        try:
            table = call()
            rows = pd.util.hash_pandas_object(table.astype(str), index=False).to_numpy()
            digests[name] = hashlib.sha256(rows).hexdigest()
        except SelvizError as error:
            digests[name] = f"refused: {error}"
    return digests
