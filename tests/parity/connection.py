"""A real server, asked with stock stubs, and its tables as numpy arrays."""

import dataclasses
import itertools
import pathlib
import sys
import time

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import quire_process  # noqa: E402

CALL_SECONDS = 30


class Refusal(Exception):
    """The server said no: its code, reason, field and sentence."""

    def __init__(self, code, reason, field, sentence):
        super().__init__(f"{code} {reason} at {field!r}: {sentence}")
        self.code = code
        self.reason = reason
        self.field = field
        self.sentence = sentence


def refusal_of(error):
    """What a grpc.RpcError says, with the details that it carries."""
    from google.rpc import error_details_pb2, status_pb2
    reason = field = ""
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            request = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(request) and request.field_violations:
                field = request.field_violations[0].field
    return Refusal(error.code().name, reason, field, error.details())


@dataclasses.dataclass
class Pushed:
    """What a push did to one table."""
    rows_changed: int
    padding_dropped: int
    rows_skipped: int
    step: int
    weight_gradients: numpy.ndarray


@dataclasses.dataclass
class Bags:
    """How ids fall into bags; the names of the API."""
    pooling: str
    offsets: object = None
    weights: object = None
    winners: object = None
    return_winners: bool = False


class Table:
    """One table on the server."""

    def __init__(self, connection, spec, row_count):
        self.connection = connection
        self.spec = spec
        self.name = spec.name
        self.dim = spec.embedding_dim
        self.row_count = row_count

    def lookup(self, ids, bags=None):
        """The rows of `ids`, in their shape; with bags, [bags, dim]."""
        return self.lookups([ids], bags)[0]

    def lookups(self, batches, bags=None):
        """Several lookups in one request."""
        return [numbers for numbers, _ in self._ask(batches, bags)]

    def lookup_with_winners(self, ids, bags):
        """(rows, winners): those of MAX bags."""
        return self._ask([ids], bags)[0]

    def _ask(self, batches, bags):
        api = self.connection.api
        entries = [
            api.TableLookup(table=self._ref(), ids=_ids(api, ids),
                            bags=_bags(api, bags)) for ids in batches]
        reply = self.connection.call(
            self.connection.rows.Lookup,
            api.LookupRequest(tables=entries, max_response_bytes=64 << 20))
        return [(_array(entry.embeddings),
                 numpy.array(entry.winners, numpy.uint32).view(numpy.int32))
                for entry in reply.tables]

    def gradient(self, ids, gradient, learning_rate=None, scale=None,
                 bags=None, return_weight_gradients=False):
        """One entry of a push."""
        api = self.connection.api
        return api.TableGradient(
            table=self._ref(), ids=_ids(api, ids),
            gradient=_tensor(api, gradient), learning_rate=learning_rate,
            gradient_scale=scale, bags=_bags(api, bags),
            return_weight_gradients=return_weight_gradients)

    def push(self, ids, gradient, **options):
        """One step; the result of this table."""
        return self.connection.push([self.gradient(ids, gradient, **options)])[
            0]

    def read(self):
        """(values, state) of every row, as stored."""
        api = self.connection.api
        reply = self.connection.call(
            self.connection.tables.ReadRows,
            api.ReadRowsRequest(
                table=self._ref(),
                ids=_ids(api, numpy.arange(self.row_count))))
        values = _array(reply.values)
        if not reply.state.shape.dims:
            return values, numpy.zeros((self.row_count, 0), numpy.float32)
        return values, _array(reply.state)

    def write(self, ids, values, state=None):
        """Sets stored rows."""
        api = self.connection.api
        self.connection.call(
            self.connection.tables.WriteRows,
            api.WriteRowsRequest(
                table=self._ref(), ids=_ids(api, ids),
                values=_tensor(api, values),
                state=None if state is None else _tensor(api, state)))

    def describe(self):
        """The table as the server describes it."""
        api = self.connection.api
        return self.connection.call(
            self.connection.tables.GetTable,
            api.GetTableRequest(table=self._ref())).table

    def alter(self, **changes):
        """Changes what may change."""
        api = self.connection.api
        self.connection.call(self.connection.tables.AlterTable,
                             api.AlterTableRequest(table=self._ref(),
                                                   **changes))

    def drop(self):
        """Ends the table."""
        api = self.connection.api
        self.connection.call(self.connection.tables.DropTable,
                             api.DropTableRequest(table=self._ref()))

    def _ref(self):
        return self.connection.api.TableRef(name=self.name)


class Connection:
    """A channel to one server."""

    def __init__(self, address):
        import grpc
        from quire.v1 import admin_pb2, admin_pb2_grpc, embedding_pb2
        from quire.v1 import embedding_pb2_grpc, table_pb2
        self.channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 65 << 20)])
        self.tables = admin_pb2_grpc.TableServiceStub(self.channel)
        self.rows = embedding_pb2_grpc.EmbeddingServiceStub(self.channel)
        self.server = admin_pb2_grpc.ServerServiceStub(self.channel)
        self.api = _Api(table_pb2, embedding_pb2, admin_pb2)
        self._names = (f"t{i}" for i in itertools.count())
        self._error = grpc.RpcError

    def close(self):
        """Ends the channel, so that the server need not wait to drain."""
        self.channel.close()

    def call(self, method, request):
        """One call; a refusal is raised as one."""
        try:
            return method(request, timeout=CALL_SECONDS)
        except self._error as error:
            raise refusal_of(error) from None

    def info(self):
        """What the server is."""
        return self.call(self.server.GetServerInfo,
                         self.api.GetServerInfoRequest())

    def spec(self, **fields):
        """A specification with a name of its own."""
        return self.api.TableSpec(name=next(self._names), **fields)

    def create(self, spec):
        """A table with the rows of its initialiser, once it serves."""
        self.call(self.tables.CreateTable,
                  self.api.CreateTableRequest(spec=spec))
        table = Table(self, spec, spec.num_embeddings)
        for _ in range(2000):
            if table.describe().state == self.api.TABLE_STATE_READY:
                return table
            time.sleep(0.001)
        raise TimeoutError(f"table {spec.name} is not filled after 2 s")

    def bring(self, spec, rows):
        """A table that holds `rows`: an import, nn.Embedding's _weight."""
        header = self.api.ImportTableRequest.Header(spec=spec)
        requests = [self.api.ImportTableRequest(header=header)]
        if len(rows):
            requests.append(self.api.ImportTableRequest(
                chunk=self.api.ImportTableRequest.Chunk(
                    values=_tensor(self.api, rows))))
        self.call(self.tables.ImportTable, iter(requests))
        return Table(self, spec, len(rows))

    def push(self, entries):
        """One step of the tables that the entries name."""
        reply = self.call(self.rows.ApplyGradient,
                          self.api.ApplyGradientRequest(tables=entries))
        return [
            Pushed(entry.rows_changed, entry.padding_dropped,
                   entry.rows_skipped, entry.step,
                   numpy.array(entry.weight_gradients, numpy.float32))
            for entry in reply.tables]


class _Api:
    """The names of package quire.v1 under one roof."""

    def __init__(self, *modules):
        for module in modules:
            for name in dir(module):
                if not name.startswith("_"):
                    setattr(self, name, getattr(module, name))


def _ids(api, ids):
    ids = numpy.asarray(ids, numpy.int64)
    return api.IdBatch(shape=api.Shape(dims=ids.shape),
                       ids=ids.ravel().tolist())


def _tensor(api, values):
    values = numpy.asarray(values, numpy.float32)
    return api.Tensor(shape=api.Shape(dims=values.shape),
                      values=values.ravel().tolist())


def _array(tensor):
    # A bound that float's range does not bind: NaN and infinity pass quietly.
    with numpy.errstate(all="ignore"):
        return numpy.array(tensor.values, numpy.float32).reshape(
            list(tensor.shape.dims))


def _bags(api, bags):
    if bags is None:
        return None
    message = api.Bags(
        pooling=api.Bags.Pooling.Value("POOLING_" + bags.pooling.upper()),
        return_winners=bags.return_winners)
    if bags.offsets is not None:
        message.offsets.extend(numpy.asarray(bags.offsets).tolist())
    if bags.weights is not None:
        message.weights.extend(numpy.asarray(bags.weights).ravel().tolist())
    if bags.winners is not None:
        message.winners.extend(numpy.asarray(bags.winners).ravel().tolist())
    return message
