"""The table at the end."""


def table(rows):
    """Rows of cells, aligned; numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell)
              for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for row, raw in zip(cells, rows):
        padded = [text.rjust(width) if isinstance(value, int)
                  else text.ljust(width)
                  for text, width, value in zip(row, widths, raw)]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def of_groups(results):
    """group | cases | numbers | bit-exact | within tolerance | demanded."""
    rows = [["group", "cases", "numbers", "bit-exact", "within 1e-6",
             "demanded", ""]]
    for group, tally, failed in results:
        rows.append([group.name, tally.cases, tally.numbers, tally.bit_exact,
                     tally.within, group.rule, "FAILED" if failed else "ok"])
    total = [sum(getattr(tally, name) for _, tally, _ in results)
             for name in ("cases", "numbers", "bit_exact", "within")]
    rows.append(["in all", *total, "", ""])
    return table(rows)
