# DuckDB over one Parquet file: a question (a JSON string) a line in, an answer a line out, with CPU by getrusage.
import json, resource, sys, time
import duckdb

parquet = sys.argv[1].replace("'", "''")
con = duckdb.connect(config={"threads": 2})
con.execute("SET TimeZone = 'UTC'")
con.execute(f"CREATE VIEW logs AS SELECT * FROM read_parquet('{parquet}')")


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


for line in sys.stdin:
    before, begun = cpu(), time.perf_counter()
    answer = con.execute(json.loads(line))
    rows = answer.fetchall()
    wall, used = time.perf_counter() - begun, cpu() - before
    names = [column[0] for column in answer.description]
    print(json.dumps({"cpu_ms": used * 1e3, "wall_ms": wall * 1e3, "names": names, "rows": rows}, default=str), flush=True)
