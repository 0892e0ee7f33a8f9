"""Arrow's tables, batches, arrays and schemas: each in Arrow's own stream format, in one buffer.

The buffer goes by shared memory if it is big, and what arrives lies in it without a copy. Within a process they
go by reference, as Arrow lets nobody change them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa

from actors.transport.errors import Undecodable, Unsendable
from actors.transport.types.adapters import Adapter, by_reference

__all__ = ["ADAPTERS", "read_schema", "read_table"]


def _stream(value: object, schema: Any, batches: Iterable[Any]) -> tuple[Any, ...]:
    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    except (pa.ArrowException, TypeError) as error:
        raise Unsendable("", value, f"Arrow cannot write it: {error}") from error
    return (memoryview(sink.getvalue()),)


def read_schema(data: Any) -> Any:
    """The schema of the table in these bytes of Arrow's stream format."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.schema


def read_table(data: Any) -> Any:
    """The table in these bytes of Arrow's stream format, without a copy."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        table = reader.read_all()
    # Offsets of a broken peer must never lead out of the buffer.
    table.validate(full=True)
    return table


def _batch(data: Any) -> Any:
    table = read_table(data)
    batches = table.to_batches()
    if len(batches) > 1:
        raise Undecodable(f"expected one batch of Arrow, got {len(batches)}")
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _column(data: Any) -> Any:
    table = read_table(data)
    if table.num_columns != 1:
        raise Undecodable(f"expected one column of Arrow, got {table.num_columns}")
    return table.column(0)


def _array(cls: type) -> Callable[[Any], Any]:
    def put_together(data: Any) -> Any:
        batch = _batch(data)
        made = batch.column(0) if batch.num_columns == 1 else None
        if type(made) is not cls:
            raise Undecodable(f"expected a {cls.__name__} of Arrow, got {type(made).__name__}")
        return made

    return put_together


def _of_array(value: Any) -> tuple[Any, ...]:
    batch = pa.RecordBatch.from_arrays([value], names=[""])
    return _stream(value, batch.schema, [batch])


def _of_column(value: Any) -> tuple[Any, ...]:
    table = pa.Table.from_arrays([value], names=[""])
    return _stream(value, table.schema, table.to_batches())


_ARRAYS: Final = [
    cls for cls in vars(pa).values() if isinstance(cls, type) and issubclass(cls, pa.Array)
]

ADAPTERS: Final[dict[type, Adapter]] = {
    **{cls: Adapter(_of_array, _array(cls), copy=by_reference) for cls in _ARRAYS},
    pa.ChunkedArray: Adapter(_of_column, _column, copy=by_reference),
    pa.RecordBatch: Adapter(
        lambda value: _stream(value, value.schema, [value]), _batch, copy=by_reference
    ),
    pa.Table: Adapter(
        lambda value: _stream(value, value.schema, value.to_batches()),
        read_table,
        copy=by_reference,
    ),
    pa.Schema: Adapter(
        lambda value: (value.serialize().to_pybytes(),),
        lambda data: pa.ipc.read_schema(pa.py_buffer(data)),
        copy=by_reference,
    ),
}
