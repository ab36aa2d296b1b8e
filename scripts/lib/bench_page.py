"""Turns the JSON of `assent bench` and log_bench into the figures of docs/performance.md, and into a script for gnuplot.

Usage: bench_page.py RESULTS DOCS, called by scripts/bench. RESULTS holds bench.json and log.json; charts.gnuplot and its
data are written there, the figures into DOCS/performance.md between the two marks.
"""

import datetime
import json
import pathlib
import sys

BEGIN = "<!-- figures: written by scripts/bench, not by hand -->"
END = "<!-- end of figures -->"


def short(value):
    """Three digits or so."""
    if value is None:
        return "–"
    if abs(value) < 0.0005:
        return "0"
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def name(product):
    """"MariaDB" of "MariaDB 10.11.19": the versions stand above the tables."""
    return product.split()[0]


def who(result):
    return " + ".join(name(each) for each in result["databases"])


def stacked(result):
    """Under a bar there is room for one name beside another only below it."""
    return "\\n".join([result["workload"], *map(name, result["databases"])])


def quantile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def middle_half(ratios):
    return quantile(ratios, 0.25), quantile(ratios, 0.75)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def conditions(bench):
    lines = [f"{datetime.date.today().isoformat()}. {bench['machine']}; decision log and databases on {bench['log_volume']}."]
    for database in bench["settings"]:
        lines.append(f"- {database[0]}: " + ", ".join(f"`{each}`" for each in database[1:]))
    return "\n".join(lines[:1]) + "\n\n" + "\n".join(lines[1:])


def ratio_text(result):
    low, high = middle_half(result["ratios"])
    return f"**{result['ratio']:.2f}** ({low:.2f}–{high:.2f})"


def latency(side):
    return " / ".join(short(side[key]) for key in ("p50_ms", "p99_ms", "p999_ms"))


def transfers(results):
    rows = [
        [
            each["workload"],
            who(each),
            str(each["clients"]),
            ratio_text(each),
            f"{short(each['floor']['per_s'])} / {short(each['assent']['per_s'])}",
            latency(each["floor"]),
            latency(each["assent"]),
            f"{short(each['floor']['cpu_us'])} / {short(each['assent']['cpu_us'])}",
        ]
        for each in results
    ]
    head = ["workload", "databases", "clients", "Assent ÷ by hand (middle half)", "tx/s, by hand / Assent",
            "by hand, ms: p50 / p99 / p999", "Assent, ms: p50 / p99 / p999", "CPU µs, by hand / Assent"]
    return table(head, rows)


def costs(results):
    rows = []
    for each in results:
        for side, cost in (("by hand", each["floor_cost"]), ("Assent", each["assent_cost"])):
            cells = ["; ".join(f"{name(product)} {short(one[key])}" for product, one in zip(each["databases"], cost["databases"])
                               if one[key] is not None) or "–" for key in ("syncs", "round_trips", "statements")]
            rows.append([each["workload"], str(each["clients"]), side, cells[0], short(cost["log_syncs"]), cells[1], cells[2]])
    return table(["workload", "clients", "", "forced writes of the servers", "of the log", "round trips", "statements"], rows)


def is_alone(result):
    return result["databases"] == ["two null resources"]


def alone(results):
    rows = []
    for each in results:
        floor = each["floor"]
        rows.append([
            each["workload"],
            str(each["clients"]),
            ratio_text(each) if floor else "–",
            f"{short(floor['per_s']) if floor else '–'} / {short(each['assent']['per_s'])}",
            latency(each["assent"]),
            short(each["assent"]["cpu_us"]),
            short(each["decisions_a_sync"]),
        ])
    return table(["workload", "clients", "Assent ÷ raw disk (middle half)", "per second, raw disk / Assent",
                  "Assent, ms: p50 / p99 / p999", "CPU µs", "decisions a sync"], rows)


def recoveries(bench):
    rows = []
    for each in bench["recoveries"]:
        count = each["transactions"]
        per = [", ".join(f"{name(product)} {short(one[key] / count)}" for product, one in zip(each["databases"], each["costs"])
                         if one[key] is not None) or "–" for key in ("syncs", "round_trips", "statements")]
        rows.append([f"{count:,}", f"{each['decided']:,}", short(each["seconds"]), str(each["passes"]), *per])
    return table(["in doubt", "of them decided", "seconds", "passes", "forced writes a transaction", "round trips", "statements"],
                 rows)


def time_text(value, unit):
    """Google Benchmark's own units, in one that needs few digits."""
    ns = value * {"ns": 1, "us": 1e3, "ms": 1e6}[unit]
    for name_of_unit, size in (("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{short(ns / size)} {name_of_unit}"
    return f"{short(ns)} ns"


def log_steps(log):
    rows = []
    for each in log["benchmarks"]:
        rate = each.get("items_per_second")
        rows.append([each["name"].replace("/real_time", "").replace("/threads:", ", threads: ").replace("/", ": "), time_text(each["real_time"], each["time_unit"]),
                     short(rate) if rate else "–", short(each.get("decisions a sync"))])
    return table(["step", "time", "per second", "decisions a sync"], rows)


def figures(bench, log):
    real = [each for each in bench["results"] if not is_alone(each)]
    parts = ["## Where this was measured", conditions(bench),
             "## Transfers between real databases", "![Assent's throughput as a share of the floor's](performance-ratio.svg)",
             transfers(real),
             "## What a transaction costs, counted",
             "![Forced writes and round trips of a transaction, by hand and through Assent](performance-counts.svg)", costs(real),
             "## Assent alone", alone([each for each in bench["results"] if is_alone(each)]),
             "## Recovery", recoveries(bench)]
    parts += [f"A log of {each['decisions']:,} decisions since its last checkpoint ({each['bytes'] // 10**6:,} MB of files) is "
              f"opened in {short(each['seconds'])} s." for each in bench["openings"]]
    parts += ["## Steps of the log", log_steps(log)]
    return "\n\n".join(parts)


def charts(results, folder):
    real = [each for each in results if not is_alone(each)]
    with open(folder / "ratio.dat", "w", encoding="utf-8") as out:
        for index, each in enumerate(real):
            low, high = middle_half(each["ratios"])
            clients = "1 client" if each["clients"] == 1 else f"{each['clients']} clients"
            out.write(f"{index}\t{each['ratio']:.4f}\t{low:.4f}\t{high:.4f}\t\"{stacked(each)}\\n{clients}\"\n")
    one_client = [each for each in real if each["clients"] == 1]
    with open(folder / "counts.dat", "w", encoding="utf-8") as out:
        for each in one_client:
            numbers = []
            for key in ("syncs", "round_trips"):
                for side in ("floor_cost", "assent_cost"):
                    total = sum(one[key] or 0 for one in each[side]["databases"])
                    numbers.append(total + (each[side]["log_syncs"] if key == "syncs" else 0))
            out.write(f"\"{stacked(each)}\"\t" + "\t".join(f"{number:.3f}" for number in numbers) + "\n")
    (folder / "charts.gnuplot").write_text(f"""
set terminal svg size {120 + 96 * len(real)},460 font 'sans-serif,11' background 'white'
set style fill solid 0.9 noborder
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
set encoding utf8
set bmargin 6

set output 'performance-ratio.svg'
set title "Throughput through Assent, by hand = 1 (median of paired rounds; whiskers: middle half)"
set yrange [0:*]
set offsets 0,0,0.1,0
set xrange [-0.6:{len(real) - 0.4}]
set boxwidth 0.6
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lc rgb '#888888' dt 2
plot 'ratio.dat' using 1:2:xtic(5) with boxes lc rgb '#4477aa' notitle, \\
     '' using 1:2:3:4 with yerrorbars lc rgb '#222222' pt 0 notitle, \\
     '' using 1:4:(sprintf('%.2f', $2)) with labels offset 0,0.8 notitle

set terminal svg size {280 + 140 * len(one_client)},460 font 'sans-serif,11' background 'white'
set output 'performance-counts.svg'
unset arrow 1
set title "A transaction of one client, counted"
set style data histogram
set style histogram clustered gap 1
set boxwidth 0.9
set xrange [*:*]
set key outside right top
plot 'counts.dat' using 2:xtic(1) title 'forced writes, by hand' lc rgb '#aaccee', \\
     '' using 3 title 'forced writes, Assent' lc rgb '#4477aa', \\
     '' using 4 title 'round trips, by hand' lc rgb '#eeccaa', \\
     '' using 5 title 'round trips, Assent' lc rgb '#cc7733'
""", encoding="utf-8")


def main():
    results, docs = (pathlib.Path(each) for each in sys.argv[1:3])
    bench = json.loads((results / "bench.json").read_text(encoding="utf-8"))
    log = json.loads((results / "log.json").read_text(encoding="utf-8"))
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{figures(bench, log)}\n\n{END}{after}", encoding="utf-8")
    charts(bench["results"], results)


if __name__ == "__main__":
    main()
