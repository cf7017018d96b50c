"""Files of every format: theirs in us, ours in them, through a real server."""

import collections
import gzip
import json
import struct
import subprocess
import sys

import numpy
import torch

import cli_case

ROWS = numpy.array([[0.1, -2, 3e-7], [1 / 3, 5, -0.0], [7, 8, 1e30],
                    [1e-45, -3e38, 0.5]], numpy.float32)
WORDS = ["new york", "twin", "twin", ""]

# Runs a command and prints the most memory that it had, in KiB.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def read_safetensors(path):
    """An independent reader: the arrays, and the metadata."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    metadata = header.pop("__metadata__", {})
    types = {"F32": "<f4", "I64": "<i8", "U8": "u1"}
    arrays, end = {}, 0
    for name, entry in sorted(header.items(),
                              key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        assert begin == end, f"{name}: a hole or an overlap"
        end = stop
        arrays[name] = numpy.frombuffer(
            body[begin:stop], types[entry["dtype"]]).reshape(entry["shape"])
    assert end == len(body), "bytes behind the last tensor"
    return arrays, metadata


def write_safetensors(path, arrays):
    """An independent writer; arrays as (dtype, shape, bytes) by name."""
    header, body = {}, b""
    for name, (dtype, shape, data) in arrays.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class FilesCase(cli_case.CliCase):

    def export(self, table, file, *options):
        done = self.run_quire("export", table, file, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.dir / file

    def bytes_of(self, table):
        self.export(table, "bytes.npy", "-f", "npy")
        return numpy.load(self.dir / "bytes.npy").tobytes()

    def check(self, table, rows=ROWS):
        self.assertEqual(self.bytes_of(table), rows.tobytes(), table)

    def import_rows(self, *arguments, rows=ROWS):
        """Checks the rows bit for bit; the table goes again."""
        self.quire("import", *arguments, "--name", "passing")
        self.check("passing", rows)
        self.quire("table", "drop", "passing")


class TheirsInUsTest(FilesCase):

    def test_arrays_of_numpy(self):
        numpy.savez(self.dir / "one.npz", ROWS)
        numpy.savez_compressed(self.dir / "two.npz", ids=numpy.arange(3),
                               rows=numpy.asfortranarray(ROWS))

        self.import_rows("one.npz")
        self.import_rows("two.npz", "--tensor", "rows")
        self.refused(2, r"'two.npz' holds 2 tensors: choose one with --tensor "
                     r"NAME; it has ids \[3\] int64, rows \[4, 3\] float32",
                     "import", "two.npz")

    def test_state_dicts_of_torch(self):
        model = torch.nn.Sequential(
            collections.OrderedDict(emb=torch.nn.Embedding(4, 3),
                                    out=torch.nn.Linear(3, 2)))
        model.emb.weight.data.copy_(torch.from_numpy(ROWS))
        torch.save(model.state_dict(), self.dir / "model.pt")
        torch.save({"epoch": 3, "loss": 0.5, "model": model.state_dict(),
                    "best": None, "sizes": [1, (2, 3)]}, self.dir / "run.pth")
        torch.save(torch.nn.Embedding.from_pretrained(
            torch.from_numpy(ROWS)).state_dict(), self.dir / "emb.pt")

        self.import_rows("model.pt", "--tensor", "emb.weight")
        self.import_rows("run.pth", "--tensor", "model.emb.weight")
        self.import_rows("emb.pt")
        self.refused(2, r"it has emb.weight \[4, 3\] float32, out.weight "
                     r"\[2, 3\] float32, out.bias \[2\] float32",
                     "import", "model.pt")

    def test_tensors_of_torch_of_every_layout_and_type(self):
        whole = torch.arange(60.).reshape(6, 10)
        halves = torch.tensor([[1, -2.5], [0.1, 65504]])
        cases = {
            "transposed": torch.from_numpy(ROWS.T.copy()).t(),
            "columns": whole[1:5, 2:9:3],
            "rows": whole[::2],
            "parameter": torch.nn.Parameter(torch.from_numpy(ROWS)),
            "half": halves.half(),
            "bfloat16": halves.bfloat16(),
            "double": torch.from_numpy(ROWS).double(),
        }
        torch.save(cases, self.dir / "cases.pt")
        for protocol in (2, 3, 4, 5):
            torch.save(cases, self.dir / f"p{protocol}.pt",
                       pickle_protocol=protocol)
            self.import_rows(f"p{protocol}.pt", "--tensor", "half",
                             rows=cases["half"].float().numpy())

        for name, tensor in cases.items():
            rows = tensor.detach().float().contiguous().numpy()
            self.import_rows("cases.pt", "--tensor", name, rows=rows)

    def test_nothing_of_a_pickle_is_run(self):
        class Harmful:
            def __reduce__(self):
                return (open, (str(self.dir / "harmed"), "w"))
        Harmful.dir = self.dir
        torch.save({"weight": torch.zeros(2, 2), "x": Harmful()},
                   self.dir / "harm.pt")
        torch.save(torch.nn.Linear(2, 2), self.dir / "module.pt")
        torch.save(torch.zeros(2, 2), self.dir / "old.pt",
                   _use_new_zipfile_serialization=False)
        torch.save(torch.zeros(1, 2).expand(9, 2), self.dir / "expanded.pt")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)),
                       str(self.dir / "script.pt"))

        self.refused(2, r"'harm.pt: harm/data.pkl' at byte \d+ names "
                     r"'io.open', and Quire runs nothing of a file",
                     "import", "harm.pt")
        self.refused(2, "names 'torch.nn.modules.linear.Linear'",
                     "import", "module.pt")
        self.refused(2, "by a torch before 1.6", "import", "old.pt")
        self.refused(2, "save expanded ones as tensor.contiguous",
                     "import", "expanded.pt")
        self.refused(2, "is a program", "import", "script.pt")
        self.assertFalse((self.dir / "harmed").exists())

    def test_safetensors_of_others(self):
        halves = numpy.array([[1, -2.5], [0.1, 65504]], numpy.float16)
        write_safetensors(self.dir / "model.safetensors", {
            "emb": ("F32", [4, 3], ROWS.tobytes()),
            "half": ("F16", [2, 2], halves.tobytes()),
            "wide": ("F64", [4, 3], ROWS.astype("<f8").tobytes())})

        self.import_rows("model.safetensors", "--tensor", "emb")
        self.import_rows("model.safetensors", "--tensor", "wide")
        self.import_rows("model.safetensors", "--tensor", "half",
                         rows=halves.astype(numpy.float32))

    def test_word2vec_binary_and_fvecs(self):
        binary = b"4 3\n" + b"".join(
            b"w%d " % i + row.tobytes() + b"\n" for i, row in enumerate(ROWS))
        self.write("w2v.bin", binary)
        self.write("w2v.bin.gz", gzip.compress(binary))
        self.write("v.fvecs", b"".join(
            struct.pack("<i", 3) + row.tobytes() for row in ROWS))

        self.import_rows("w2v.bin")
        self.import_rows("w2v.bin.gz")
        self.import_rows("v.fvecs")
        self.quire("import", "w2v.bin", "--name", "words")
        self.assertEqual(self.quire("label", "get", "words", 2, "-o", "csv"),
                         "id,label\n2,w2\n")

    def test_the_content_wins_over_the_ending_and_the_option_over_both(self):
        numpy.savez(self.dir / "really.npz", ROWS)
        (self.dir / "really.npz").rename(self.dir / "really.txt")

        self.import_rows("really.txt")
        self.refused(2, "is a .zip file without torch's data.pkl",
                     "import", "really.txt", "-f", "torch")
        self.refused(2, "'really.txt' is no .npy file",
                     "import", "really.txt", "-f", "npy")

    def test_a_pipe_of_any_format(self):
        numpy.savez_compressed(self.dir / "piped.npz", ROWS)
        packed = (self.dir / "piped.npz").read_bytes()

        self.quire("import", "-", "--name", "piped", stdin=packed)
        self.quire("import", "-", "--name", "twice",
                   stdin=gzip.compress(packed))

        self.check("piped")
        self.check("twice")

    def test_what_unpacks_to_much_takes_little_memory(self):
        zeros = numpy.zeros((1 << 18, 64), numpy.float32)
        numpy.savez_compressed(self.dir / "zeros.npz", zeros)
        numpy.save(self.dir / "zeros.npy", zeros)
        self.write("zeros.npy.gz",
                   gzip.compress((self.dir / "zeros.npy").read_bytes()))

        for file in ("zeros.npz", "zeros.npy.gz"):
            # Measured by a process that has no torch: what a child takes
            # counts from before its exec.
            measured = subprocess.run(
                [sys.executable, "-c", MEASURE, cli_case.QUIRE, "import", file,
                 "--name", "zeros"], capture_output=True, check=True,
                cwd=self.dir, env=self.environment())
            # The rows alone would be 64 MiB.
            self.assertLess(int(measured.stdout), 60 << 10, file)
            self.quire("table", "drop", "zeros")

    def test_damaged_files_are_refused_and_nothing_is_made(self):
        numpy.savez(self.dir / "good.npz", ROWS)
        torch.save({"weight": torch.from_numpy(ROWS)}, self.dir / "good.pt")
        write_safetensors(self.dir / "good.safetensors",
                          {"weight": ("F32", [4, 3], ROWS.tobytes())})
        before = self.quire("table", "list", "-o", "json")

        for kind in ("npz", "pt", "safetensors"):
            good = (self.dir / f"good.{kind}").read_bytes()
            self.write(f"cut.{kind}", good[:-9])
            self.refused(2, f"'cut.{kind}' ", "import", f"cut.{kind}")
            self.write(f"stub.{kind}", good[:7])
            self.refused(2, f"'stub.{kind}' ", "import", f"stub.{kind}")
        damaged = bytearray((self.dir / "good.npz").read_bytes())
        damaged[damaged.find(ROWS.tobytes()) + 2] ^= 1
        self.write("bit.npz", bytes(damaged))
        self.refused(2, "'bit.npz: arr_0.npy' is damaged: it does not fit its "
                     "checksum", "import", "bit.npz")

        self.assertEqual(self.quire("table", "list", "-o", "json"), before)


class OursInThemTest(FilesCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls()
        numpy.save(cls.dir / "plain.npy", ROWS)
        case.quire("import", "plain.npy")
        case.quire("import", "plain.npy", "--name", "words")
        for id, word in enumerate(WORDS):
            if word:
                case.quire("label", "set", "words", f"{id}={word}")

    def test_safetensors_are_what_an_independent_reader_finds(self):
        arrays, metadata = read_safetensors(self.export("plain", "plain"))

        self.assertEqual(list(arrays), ["weight"])
        self.assertEqual(arrays["weight"].tobytes(), ROWS.tobytes())
        self.assertEqual(metadata["format"], "pt")
        self.assertEqual(metadata["quire.step"], "0")
        spec = json.loads(metadata["quire.spec"])
        self.assertEqual(spec["name"], "plain")
        self.assertEqual(spec["optimizer"]["learning_rate"], 0.01)

    def test_labels_travel_in_safetensors(self):
        arrays, _ = read_safetensors(self.export("words", "words.safetensors"))

        text, ends = arrays["labels.bytes"].tobytes(), arrays["labels.ends"]
        begins = [0, *ends[:-1]]
        self.assertEqual([text[b:e].decode() for b, e in zip(begins, ends)],
                         WORDS)
        self.quire("import", "words.safetensors", "--name", "again")
        self.check("again")
        self.assertEqual(self.quire("label", "get", "again", "0..3"),
                         self.quire("label", "get", "words", "0..3"))

    def test_torch_loads_a_state_dict(self):
        path = self.export("plain", "plain.pt")

        for arguments in ({}, {"weights_only": True}):
            state = torch.load(path, **arguments)
            self.assertEqual(list(state), ["weight"])
            self.assertEqual(state["weight"].numpy().tobytes(), ROWS.tobytes())
        embedding = torch.nn.Embedding(4, 3)
        embedding.load_state_dict(torch.load(path))
        # Torch may write where it has read: the storage is its own.
        embedding.weight.data += 1
        self.import_rows("plain.pt")

    def test_numpy_loads_npz(self):
        path = self.export("plain", "plain.npz")

        with numpy.load(path, allow_pickle=False) as arrays:
            self.assertEqual(arrays.files, ["weight"])
            self.assertEqual(arrays["weight"].tobytes(), ROWS.tobytes())
        self.import_rows("plain.npz")

    def test_word2vec_binary_and_fvecs_are_bytes(self):
        self.quire("label", "set", "words", "0=york")
        binary = self.export("words", "w.bin").read_bytes()
        fvecs = self.export("plain", "v.fvecs").read_bytes()
        self.quire("label", "set", "words", f"0={WORDS[0]}")

        self.assertEqual(binary, b"4 3\n" + b"".join(
            word + b" " + row.tobytes() + b"\n" for word, row in
            zip([b"york", b"twin", b"twin", b"3"], ROWS)))
        whole = numpy.frombuffer(fvecs, "<i4").reshape(-1, 4)
        self.assertEqual(whole[:, 0].tolist(), [3] * 4)
        self.assertEqual(whole[:, 1:].tobytes(), ROWS.tobytes())
        self.refused(2, "the label of row 0 holds a space",
                     "export", "words", "spaces.bin")

    def test_every_format_through_a_pipe_is_the_file(self):
        for format in ("safetensors", "npy", "npz", "torch", "fvecs",
                       "word2vec-binary"):
            with self.subTest(format):
                path = self.export("plain", "as.file", "-f", format)
                done = self.run_quire("export", "plain", "-", "-f", format)
                self.assertEqual(done.stdout, path.read_bytes())
        labelled = self.run_quire("export", "words", "-")
        self.assertEqual(labelled.stdout,
                         self.export("words", "as.file").read_bytes())

    def test_what_a_format_has_no_room_for_is_said(self):
        done = self.run_quire("export", "words", "words.npy")
        self.assertRegex(done.stderr.decode(),
                         "to words.npy; npy has no room for its labels\n$")

        self.refused(2, "fvecs has no room for optimizer state; export as "
                     "safetensors, npz or torch",
                     "export", "plain", "x.fvecs", "--state")
        self.refused(2, "table 'plain' has no optimizer state",
                     "export", "plain", "x.pt", "--state")
        self.refused(2, r"'x.txt.gz': an export is not packed; pipe it",
                     "export", "plain", "x.txt.gz")


class StateTest(FilesCase):

    def pushed(self, name, *options):
        """A table that two pushes have moved."""
        numpy.save(self.dir / "rows.npy", ROWS)
        numpy.save(self.dir / "ids.npy", numpy.array([0, 2]))
        numpy.save(self.dir / "g.npy", numpy.array([[1, 2, 3], [.5, 0, -1]],
                                                   numpy.float32))
        self.quire("import", "rows.npy", "--name", name, *options)
        self.push(name)
        self.push(name)

    def push(self, name):
        self.quire("apply", name, "ids.npy", "--gradient", "g.npy")

    def state_of(self, name):
        self.export(name, "state.npz", "--state")
        with numpy.load(self.dir / "state.npz") as arrays:
            return {key: arrays[key].tobytes() for key in arrays}

    def test_state_goes_on_where_it_was(self):
        """Every optimizer, in every format: the next pushes give the same
        bytes."""
        for optimizer, *more in (
                ("sgd", "--momentum", 0.5), ("adagrad",),
                ("adagrad", "--lr-decay", 0.5), ("rowwise_adagrad",),
                ("sparse_adam",), ("adam",), ("adam", "--amsgrad"),
                ("adam", "--scope", "all"), ("adamw", "--amsgrad"),
                ("rowwise_rmsprop",), ("partial_rowwise_adam",), ("lamb",),
                ("partial_rowwise_lamb",), ("lars_sgd",), ("ftrl",)):
            options = ["--optimizer", optimizer, "--lr", 0.5, *more]
            self.pushed("original", *options)
            for ending, said in (("safetensors", []), ("npz", options),
                                 ("pt", options)):
                with self.subTest(" ".join(map(str, options)) + ending):
                    self.export("original", "copy." + ending, "--state")
                    self.quire("import", "copy." + ending, "--state", *said)
                    self.assertEqual(self.state_of("copy"),
                                     self.state_of("original"))
                    self.push("copy")
                    self.push("original")
                    self.assertEqual(self.state_of("copy"),
                                     self.state_of("original"))
                    self.quire("table", "drop", "copy")
            self.quire("table", "drop", "original")

    def test_state_is_what_the_server_has(self):
        self.pushed("adam", "--optimizer", "adam")
        self.export("adam", "adam.pt", "--state")

        state = torch.load(self.dir / "adam.pt", weights_only=True)

        self.assertEqual(list(state), ["weight", "optimizer.exp_avg",
                                       "optimizer.exp_avg_sq",
                                       "optimizer.step"])
        self.assertEqual(state["optimizer.step"].tolist(), [2])
        self.assertEqual(state["optimizer.step"].dtype, torch.int64)
        row = json.loads(self.quire("row", "adam", 2, "-o", "json"))
        for part in row["state"]:
            self.assertEqual(
                state["optimizer." + part["name"]][2].tolist(),
                numpy.array(part["values"], numpy.float32).tolist())

    def test_the_file_says_how_it_was_trained_and_options_say_otherwise(self):
        self.pushed("rules", "--optimizer", "adagrad", "--lr", 0.25, "--eps",
                    0.125, "--padding-idx", 1, "--clip-row-norm", 2)
        self.export("rules", "rules.safetensors")

        self.quire("import", "rules.safetensors", "--name", "same")
        self.quire("import", "rules.safetensors", "--name", "faster", "--lr", 1)
        self.quire("import", "rules.safetensors", "--name", "other",
                   "--optimizer", "ftrl")

        specs = {name: json.loads(self.quire("table", "describe", name, "-o",
                                             "json"))["spec"]
                 for name in ("rules", "same", "faster", "other")}
        for field in ("optimizer", "padding_idx", "clip"):
            self.assertEqual(specs["same"][field], specs["rules"][field])
        self.assertEqual(specs["faster"]["optimizer"]["learning_rate"], 1)
        self.assertEqual(specs["faster"]["optimizer"]["adagrad"]["eps"], 0.125)
        self.assertIn("ftrl", specs["other"]["optimizer"])

    def test_a_file_that_does_not_count_may_be_told(self):
        self.pushed("counted", "--optimizer", "adam")
        self.export("counted", "counted.safetensors", "--state")
        arrays, _ = read_safetensors(self.dir / "counted.safetensors")
        numpy.savez(self.dir / "told.npz", **arrays)
        dry = json.loads(self.quire(
            "import", "told.npz", "--state", "--step", 2, "--optimizer",
            "adam", "--dry-run", "-o", "json"))
        self.assertEqual(dry["step"], 2)

        self.quire("import", "told.npz", "--state", "--step", 2,
                   "--optimizer", "adam")

        self.push("told")
        self.push("counted")
        self.assertEqual(self.state_of("told"), self.state_of("counted"))

    def test_state_comes_through_a_pipe(self):
        self.pushed("piped", "--optimizer", "adam")
        file = self.export("piped", "piped.safetensors", "--state")
        self.run_quire("import", "-", "--state", "--name", "out",
                       stdin=file.read_bytes())
        self.assertEqual(self.state_of("out"), self.state_of("piped"))

    def test_state_that_cannot_go_on_is_refused_and_nothing_is_made(self):
        self.pushed("momentum", "--optimizer", "adam")
        self.export("momentum", "momentum.safetensors", "--state")
        self.pushed("sums", "--optimizer", "adagrad")
        self.export("sums", "sums.npz", "--state")
        before = self.quire("table", "list", "-o", "json")

        arrays, _ = read_safetensors(self.dir / "momentum.safetensors")
        numpy.savez(self.dir / "uncounted.npz", **arrays)
        numpy.savez(self.dir / "miscounted.npz", **arrays,
                    **{"optimizer.step": numpy.array([1, 2])})
        self.refused(2, "the steps of adam depend on how many there were, and "
                     "'uncounted.npz' does not say: give --step N", "import",
                     "uncounted.npz", "--state", "--name", "n", "--optimizer",
                     "adam")
        self.refused(2, "tensor 'optimizer.step' is needed as one integer",
                     "import", "miscounted.npz", "--state", "--name", "n",
                     "--optimizer", "adam")
        self.refused(2, "--step", "import", "momentum.safetensors", "--name",
                     "n", "--step", 5)
        self.refused(2, "give --optimizer", "import", "sums.npz", "--state",
                     "--name", "n")
        self.refused(2, r"the file has the optimizer state sum \[3\]; the "
                     r"table's optimizer needs sum \[1\]", "import", "sums.npz",
                     "--state", "--name", "n", "--optimizer", "rowwise_adagrad")
        numpy.savez(self.dir / "bare.npz", rows=ROWS)
        self.refused(2, "holds no optimizer state: no tensor 'rows.optimizer",
                     "import", "bare.npz", "--state", "--name", "n",
                     "--optimizer", "ftrl")
        self.refused(2, "npy has no room for optimizer state",
                     "import", "rows.npy", "--state")

        self.assertEqual(self.quire("table", "list", "-o", "json"), before)


if __name__ == "__main__":
    cli_case.main()
