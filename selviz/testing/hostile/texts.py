"""Texts that strangers write: `word(dice, place)`, `query(dice, place)`, `claim(dice, place)`, `address(dice, place)`.

`place` is a folder of canaries: what they try is to read its files, to write there, or to run code that does.
"""

import random
from pathlib import Path

from selviz.testing.dashboard import page_paths
from selviz.testing.hostile.watch import MARK

PARAMETERS = (
    "run layer unit image silence group rule mode factor class by sort filter query runs rows table side do hypothesis "
    "template job view x y color page method target seed draws drawn made step guess claim k metric count layers prefers "
    "budget compare baseline severity corruption attack epsilon show dead bands band size typed names of"
).split()
NUMBERS = (
    "-1 0 1e999 nan inf -inf 99999999999999999999 0x10 1_0 ٣ 1e-400 2147483648 -9223372036854775809 1.5.2 +1".split()
)


def word(dice: random.Random, place: Path) -> str:
    """Return one hostile word: a path that climbs, code in some language, markup, a number that is none, or nonsense."""
    secret, made = place / "secret.txt", place / f"made-{MARK}"
    kind = dice.randrange(7)
    if kind == 0:
        up = dice.choice(["../", "..\\", "....//", "%2e%2e/", "..%2f", "/./../", "..;/"]) * dice.randrange(1, 9)
        return dice.choice([f"{up}{place.name}/secret.txt", f"{up}etc/passwd", str(secret), f"file://{secret}", f"~/{secret.name}",
                            f"runs/{up}secret", f"{secret}\0.png", "/proc/self/environ", "//localhost/c$", "C:\\boot.ini"])  # fmt: skip
    if kind == 1:
        return dice.choice(
            [
                f"__import__('os').system('touch {made}')",
                f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}} {{0.__class__}} %(name)s ${{touch {made}}}",
                f"`touch {made}` $(touch {made}) ; touch {made} | touch {made} && touch {made}\ntouch {made}",
                f"'; DROP TABLE units; COPY (SELECT 1) TO '{made}'; --",
                f"' UNION SELECT content FROM read_text('{secret}') --",
                f"!!python/object/apply:os.system ['touch {made}']",
                f"import {MARK}_module",
                "--data=/etc",
                "-c",
            ]
        )
    if kind == 2:
        return dice.choice(
            [
                f"<img src=x onerror=alert('{MARK}')>",
                f"<script>alert('{MARK}')</script>",
                f"![{MARK}](http://{MARK}.invalid/x.png)",
                f"[{MARK}](javascript:alert(1))",
                f"`` `{MARK} <b>`` $${MARK}$$ :material/{MARK}: :red[{MARK}]",
                f"</code></pre><svg onload=alert('{MARK}')>",
                f"\" onmouseover=\"alert('{MARK}')",
            ]
        )
    if kind == 3:
        return dice.choice(NUMBERS)
    if kind == 4:
        return dice.choice(["", " ", "\0", "\n", "\ud800", "a" * 5000, "é" * 300, "\u202e\u200b", "[" * 3000, "😀", ";;;", ":::", ",,,", "relu1:0-9999999"])  # fmt: skip
    if kind == 5:
        return "".join(chr(dice.choice([dice.randrange(32, 127), dice.randrange(160, 0x2FFF)])) for _ in range(dice.randrange(1, 60)))  # fmt: skip
    return word(dice, place) + dice.choice([";", ":", ",", "/", " ", "\n"]) + word(dice, place)


def address(dice: random.Random, place: Path, known: dict[str, list[str]]) -> tuple[str, dict[str, str]]:
    """Return (page, parameters): some that a real link may have, from `known`, and hostile ones."""
    from app.state import navigation

    names = dice.sample(PARAMETERS, dice.randrange(1, 9))
    parameters = {name: dice.choice(known[name]) for name in known if dice.random() < 0.6}
    return dice.choice([*page_paths(), *navigation.MOVED]), parameters | {name: word(dice, place) for name in names}


READERS = "read_text read_csv read_csv_auto read_blob read_json read_json_auto read_parquet parquet_scan parquet_metadata sniff_csv read_ndjson glob".split()  # fmt: skip
TABLES = "units layers runs images activations class_means epochs hypotheses".split()


def query(dice: random.Random, place: Path) -> str:
    """Return SQL that reads or writes another file, changes settings, needs all memory or all time, or is nonsense."""
    secret, made, table = place / "secret.txt", place / f"made-{MARK}.csv", dice.choice(TABLES)
    path = dice.choice([str(secret), f"{place}/*", f"file://{secret}", f"../{place.name}/secret.txt", "/etc/passwd", "http://127.0.0.1:9/x.csv", "s3://x/y"])  # fmt: skip
    reader = dice.choice(READERS)
    big = dice.choice([10**6, 10**9, 10**12])
    texts = [
        f"select * from {reader}('{path}')",
        f"select * from '{path}'",
        f"with x as (from {reader}('{path}')) select * from x, {table} limit 5",
        f"select (select content from read_text('{path}')) as secret from {table}",
        f"explain analyze select * from {reader}('{path}')",
        f"explain copy (select 1) to '{made}'",
        f"explain (format json) attach '{path}' as a",
        f"copy (select * from {table}) to '{made}'",
        f"copy {table} to '{made}' (format parquet)",
        f"attach '{path}' as other",
        f"attach '{made}' as other",
        f"export database '{made}'",
        f"import database '{place}'",
        f"load '{path}'",
        f"install httpfs from '{path}'",
        f"{dice.choice(['set', 'set global', 'pragma', 'reset'])} {dice.choice(['enable_external_access', 'lock_configuration', 'allow_unsigned_extensions', 'home_directory', 'memory_limit', 'log_query_path', 'temp_directory', 'threads'])}{dice.choice(['=true', f'={chr(39)}{made}{chr(39)}', ''])}",
        f"select current_setting('{dice.choice(['home_directory', 'temp_directory', 'secret_directory'])}'), getenv('HOME')",
        f"create table t as select * from {table}",
        f"insert into {table} values (1)",
        f"drop view {table}",
        f"delete from {table}; select 1",
        f"select 1; copy (select 1) to '{made}'",
        f"select 1 /* */ ; -- \n attach '{made}'",
        f"prepare p as copy (select 1) to '{made}'",
        f"execute p('{path}')",
        f"call {dice.choice(['pragma_version()', f'query({chr(39)}copy (select 1) to x{chr(39)})', 'checkpoint()', 'force_checkpoint()'])}",
        f"from query('select * from {reader}(''{path}'')')",
        f"from query_table('{path}')",
        f"select * from duckdb_{dice.choice(['settings', 'secrets', 'databases', 'functions', 'extensions', 'logs', 'temporary_files'])}()",
        f"describe {table}",
        f"summarize '{path}'",
        f"select count(*) from range({big}) a, range({big}) b",
        "with recursive r as (select 1 as n union all select n + 1 from r) select sum(n) from r",
        f"select repeat('x', {big})",
        f"select list(i) from range({big}) t(i)",
        f"select string_agg(repeat('y', 1000), '') from range({big})",
        f"select array_agg(a.i) over () from range({big // 1000}) a(i)",
        f"select {'(' * 3000}1{')' * 3000}",
        f"select {' + '.join(['1'] * 5000)}",
        f"select * from {table} where {' or '.join(['1 = 1'] * 2000)}",
        "select regexp_matches(repeat('a', 10000), '(a*)*b')",
        f"select md5(repeat('a', {big})) from {table}",
        f"from {table} pivot (max(si) for unit in (1, 2))",
        f"select '{word(dice, place)}'",
        word(dice, place),
        f"select * from {table} order by all limit 3",
        "select file from duckdb_databases() d(file)",
        f"set variable x = (select content from read_text('{path}'))",
        "create secret (type s3, key_id 'x')",
        f"create macro m() as (select content from read_text('{path}'))",
        f"pragma {dice.choice(['database_list', 'show_tables', f'import_database({chr(39)}{place}{chr(39)})', 'enable_profiling', f'profiling_output={chr(39)}{made}{chr(39)}', 'enable_logging'])}",
    ]  # fmt: skip
    text = dice.choice(texts)
    for _ in range(dice.randrange(3)):
        text = dice.choice(
            [
                text.upper(),
                f"/* {word(dice, place)} */ {text}",
                f"({text})",
                text[: dice.randrange(len(text) + 1)],
                f"{text};",
                f"explain {text}",
                text.replace(" ", dice.choice(["\n", "\t", "/**/", "\u00a0"]), dice.randrange(1, 4)),
                f"select * from ({text}) where true",
                f"{text} union all {dice.choice(texts)}",
                f"{text}; {dice.choice(texts)}",
            ]
        )
    return text


CLAIM = """claim: In the last layer, units with a high SI are less active.
table: units
runs: [RUN]
where: {layer: relu4, dead: false}
measure: mean_activation
with: si
statistic: rank correlation
direction: negative
independent: unit
smallest: 0.2
"""


def claim(dice: random.Random, place: Path, run: str) -> str:
    """Return a claim in YAML whose lines were bent: tags that make objects, aliases, odd keys, depth, other types."""
    made = place / f"made-{MARK}"
    bad = [
        f"!!python/object/apply:os.system ['touch {made}']",
        "!!python/object/new:type {args: [x, [], {__reduce__: !!python/name:eval}]}",
        f"!!python/object/apply:builtins.exec [\"open('{made}', 'w')\"]",
        f"!!python/module:{MARK}_module",
        f"!<tag:yaml.org,2002:python/object/apply:subprocess.Popen> [[touch, {made}]]",
        "&a [*a]", "*a", "&a {x: 1, <<: *a}", "!!binary gASV", "!!set {a, b}", "!!timestamp 2026-13-99", "2026-01-01",
        "{[a]: b}", "{? {a: 1} : 2}", "[" * 2000, "{a: " * 500, "0o777", "1" * 5000, "1e400", ".nan", ".inf", "~", "true",
        "|\n  text", ">-\n  folded", "'\\", "\"\\x\"", "{above: [1]}", "{above: {above: 1}}", "[1, [2]]", "{si: {above: .nan}}",
        "{above: 1, below: 2}", "!!omap [a: 1]", "!!pairs [a: 1]", "\t", "190:20:30", "0b" + "1" * 4000, "{layer: [relu4]}",
        "-0", "{1: 2}", "{true: 1}", "{si: true}", "{null: null}", "!!str [a]", "!!int abc", "!!float x", "!!bool z",
    ]  # fmt: skip
    lines = CLAIM.replace("RUN", run).splitlines()
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(lines))
        name = lines[at].partition(":")[0]
        value = dice.choice([*bad, *bad, word(dice, place)])
        change = dice.randrange(6)
        if change < 3:
            lines[at] = f"{name}: {value}"
        elif change == 3:
            lines[at] = f"{value}: {name}"
        elif change == 4:
            lines.insert(at, f"{dice.choice(['group', 'control', 'where', 'with', 'runs', name])}: {value}")
        else:
            lines.pop(at)
            lines = lines or ["a: b"]
    text = "\n".join(lines)
    return text if dice.random() < 0.9 else dice.choice([text[: dice.randrange(len(text))], text * 40, "--- " + text + "\n--- x", "%YAML 9.9\n---\n" + text])  # fmt: skip
