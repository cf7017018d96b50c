"""The API's messages with floats as their 32 bits.

Python knows no float32: a signalling NaN on its way through a double comes
back quiet. On the wire `float` and `fixed32` are the same four bytes, so the
twin of a message that says fixed32 moves them untouched.
"""

import functools

import numpy


@functools.lru_cache(maxsize=None)
def _twins():
    from google.protobuf import descriptor_pb2, descriptor_pool
    from google.protobuf import message_factory
    from google.rpc import status_pb2
    from quire.v1 import admin_pb2, embedding_pb2, table_pb2
    from google.protobuf import any_pb2
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, status_pb2, table_pb2, embedding_pb2, admin_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            for field in message.field:
                if message.name == "Tensor" and field.name == "values":
                    field.type = field.TYPE_FIXED32
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(
        pool.FindMessageTypeByName("quire.v1." + name))


class Messages:
    """Writes and reads rows given as uint32."""

    def __init__(self, connection):
        self._connection = connection

    def write(self, table, rows):
        """Every row of the table."""
        request = _twins()("WriteRowsRequest")()
        request.table.name = table.name
        request.ids.ids.extend(range(len(rows)))
        request.values.shape.dims.extend(rows.shape)
        request.values.values.extend(rows.ravel().tolist())
        self._call("TableService/WriteRows", request, "WriteRowsResponse")

    def read(self, table):
        """Every row of the table, as stored."""
        request = _twins()("ReadRowsRequest")()
        request.table.name = table.name
        request.ids.ids.extend(range(table.row_count))
        return _array(self._call("TableService/ReadRows", request,
                                 "ReadRowsResponse").values)

    def lookup(self, table, ids):
        """Rows by id."""
        request = _twins()("LookupRequest")()
        entry = request.tables.add()
        entry.table.name = table.name
        entry.ids.ids.extend(ids.tolist())
        return _array(self._call("EmbeddingService/Lookup", request,
                                 "LookupResponse").tables[0].embeddings)

    def _call(self, method, request, reply):
        call = self._connection.channel.unary_unary(
            "/quire.v1." + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_twins()(reply).FromString)
        return self._connection.call(call, request)


def _array(tensor):
    return numpy.array(tensor.values, numpy.uint32).reshape(
        list(tensor.shape.dims))
