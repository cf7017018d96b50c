"""quire bench: short loads, and what is reported of them."""

import json
import re
import signal
import subprocess

import cli_case

SMALL = ("--rows", 1000, "--dim", 8, "--batch", 16, "--warmup", 0.05,
         "--duration", 0.2)
PERCENTILES = ("p50_ns", "p90_ns", "p99_ns", "p99.9_ns", "max_ns")


class BenchTest(cli_case.CliCase):

    def bench(self, *arguments):
        """(standard output, standard error) of a bench that succeeds."""
        done = self.run_quire("bench", *arguments)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 0, said)
        return done.stdout.decode(), said

    def report(self, *arguments):
        return json.loads(self.bench(*arguments, "-o", "json")[0])

    def check_latencies(self, latencies):
        values = [latencies[name] for name in PERCENTILES]
        self.assertGreater(values[0], 0)
        self.assertEqual(values, sorted(values))
        self.assertGreater(latencies["mean_ns"], 0)
        self.assertLessEqual(latencies["mean_ns"], latencies["max_ns"])
        self.assertGreater(latencies["count"], 0)

    def tables(self):
        return json.loads(self.quire("table", "list", "-o", "json"))

    def looked_up(self):
        return sum(table["stats"]["lookups"] for table in self.tables())

    def test_a_closed_loop_takes_each_step_of_its_sweep(self):
        report = self.report(*SMALL, "--concurrency", "1:2:1")

        self.assertEqual([s["concurrency"] for s in report["steps"]], [1, 2])
        for step in report["steps"]:
            lookups = step["lookups"]
            self.check_latencies(lookups)
            self.assertEqual(step["errors"], 0)
            self.assertNotIn("pushes", step)
            rate = lookups["count"] / (step["elapsed_ns"] / 1e9)
            self.assertAlmostEqual(lookups["requests_per_second"] / rate, 1, 6)
            self.assertAlmostEqual(lookups["rows_per_second"] / rate / 16, 1, 6)

    def test_an_open_loop_counts_every_request_that_was_due(self):
        report = self.report(*SMALL, "--rate", 500)

        step, = report["steps"]
        self.assertEqual(step["rate"], 500)
        self.check_latencies(step["lookups"])
        # 500 a second for 0.2 s, sent or not.
        self.assertEqual(step["lookups"]["count"], 100)
        self.assertEqual(step["errors"], 0)

    def test_skewed_ids_and_pushes_are_mixed_as_asked(self):
        report = self.report(*SMALL, "--rate", 1000, "--zipf", 1.05,
                             "--push-share", 0.5, "--tables", 2, "--seed", 3)

        self.assertEqual(report["zipf"], 1.05)
        self.assertEqual(report["push_share"], 0.5)
        self.assertEqual((report["tables"], report["seed"]), (2, 3))
        step, = report["steps"]
        self.check_latencies(step["lookups"])
        self.check_latencies(step["pushes"])
        counts = step["lookups"]["count"], step["pushes"]["count"]
        self.assertEqual(sum(counts), 200)
        self.assertGreater(min(counts), 50)

    def test_numbers_travel_in_two_bytes_and_ids_once_if_asked(self):
        arguments = (*SMALL, "--push-share", 0.5, "--rate", 200)
        plain = self.report(*arguments)
        self.assertEqual((plain["wire"], plain["unique"]), ("FLOAT32", False))
        report = self.report(*arguments, "--wire", "bfloat16", "--unique")

        self.assertEqual((report["wire"], report["unique"]),
                         ("BFLOAT16", True))
        step, = report["steps"]
        self.assertEqual(step["errors"], 0)
        self.check_latencies(step["pushes"])
        _, said = self.bench(*arguments, "--wire", "float16", "--unique")
        self.assertIn("; as FLOAT16; each id once; ", said)

    def test_the_text_has_a_line_a_step_and_a_histogram(self):
        out, said = self.bench(*SMALL, "-c", "1:2", "--push-share", 0.5)

        self.assertEqual(
            said, "1 table of 1,000 rows × 8 floats; 16 ids, uniform, for each "
            "in a request, 50% pushes; 0.2 s after 0.05 s of warm-up\n")
        table, *histograms = out.split("\n\n")
        title, *steps = table.splitlines()
        self.assertEqual(title.split(), [
            "callers", "request", "requests/s", "rows/s", "bytes/s", "p50",
            "p90", "p99", "p99.9", "max"])
        self.assertEqual([step.split()[:2] for step in steps], [
            ["1", "lookup"], ["1", "push"], ["2", "lookup"], ["2", "push"]])
        for step in steps:
            self.assertRegex(step, r"B( +\d[\d.]* (ns|µs|ms|s)){5}$")
        self.assertEqual([h.splitlines()[0] for h in histograms], [
            "lookups of the last step", "pushes of the last step"])
        for histogram in histograms:
            bars = histogram.splitlines()[1:]
            self.assertEqual(len(bars), 12)
            shares = [float(re.fullmatch(
                r" *up to [\d.]+ (?:ns|µs|ms|s) +([\d.]+)%(?:  [█▏▎▍▌▋▊▉]+)?",
                bar)[1]) for bar in bars]
            # All but what is above the 99.9th percentile, and rounding.
            self.assertGreater(sum(shares), 98)
            self.assertLess(sum(shares), 101)
            self.assertIn("█" * 40, histogram)

    def test_its_tables_are_gone_afterwards(self):
        self.bench(*SMALL)

        self.assertFalse([table for table in self.tables()
                          if table["spec"]["name"].startswith("quire-bench")])

    def test_a_table_of_ones_own_is_looked_up_and_kept(self):
        self.quire("table", "create", "own", "--rows", 50, "--dim", 4)
        before = self.quire("lookup", "own", "0..49")

        report = self.report("--table", "own", "--batch", 8, "--warmup", 0,
                             "--duration", 0.1)

        self.assertEqual((report["rows"], report["dim"]), (50, 4))
        self.check_latencies(report["steps"][0]["lookups"])
        self.assertEqual(self.quire("lookup", "own", "0..49"), before)

    def test_an_interrupt_ends_a_long_bench_in_order(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            before = self.looked_up()
            bench = subprocess.Popen(
                [cli_case.QUIRE, "bench", "--rows", "100", "--dim", "4",
                 "--batch", "2", "--duration", "3600"],
                env=self.environment(), stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            try:
                cli_case.wait_until(lambda: self.looked_up() > before,
                                    "lookups of a bench")
                bench.send_signal(number)
                out, said = bench.communicate(timeout=cli_case.PATIENCE)
            finally:
                bench.kill()
                bench.wait()

            self.assertEqual((bench.returncode, out), (code, ""))
            self.assertTrue(said.endswith("\nquire: interrupted\n"), said)
            self.assertFalse([table for table in self.tables()
                              if "quire-bench" in table["spec"]["name"]])

    def test_a_load_that_makes_no_sense_is_refused(self):
        def refused(code, sentence, *arguments):
            self.refused(code, sentence, "bench", *arguments)

        refused(2, "--concurrency excludes --rate", "--rate", 5, "-c", 2)
        for sweep in ("0", "4:1", "1:2:0", "x", "1:2:3:4", "2000"):
            refused(2, f"'{sweep}' is no sweep; 4, 1:16 and 1:16:5 would be, "
                    "from 1 to 1024", "-c", sweep)
        refused(2, r"--rate: '-1' is no number in \[0.001, 1000000000\]\n",
                "--rate", -1)
        refused(2, r"--duration: '0' is no number in \[0.01, 3600\]\n",
                "--duration", 0)
        refused(2, r"--push-share: '2' is no number in \[0, 1\]\n",
                "--push-share", 2)
        refused(2, "--zipf: 'x' is no number", "--zipf", "x")
        refused(2, "--optimizer: 'lion' is none of sgd", "--optimizer", "lion")
        refused(2, "--table is only looked up", "--table", "t",
                "--push-share", 0.5)
        refused(1, "there is no table 'nothing'", "--table", "nothing")


if __name__ == "__main__":
    cli_case.main()
