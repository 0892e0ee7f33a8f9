/* The twin of codec/encoder.py and of msgpack's packer: values to bytes, the same ones. */

#include "_speedups.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#define EXT_HEADER 6 /* of an extension of more than 64 KiB; the longest there is */

#define MORE_FIELDS 64

/* ------------------------------------------------------------ a buffer that grows */

typedef struct {
    PyObject *bytes; /* which holds the data; NULL: `first` does */
    char *data;
    Py_ssize_t size;
    Py_ssize_t room;
    char first[1024];
} Buffer;

static void
start_buffer(Buffer *buffer)
{
    buffer->bytes = NULL;
    buffer->data = buffer->first;
    buffer->size = 0;
    buffer->room = sizeof(buffer->first);
}

static void
free_buffer(Buffer *buffer)
{
    Py_CLEAR(buffer->bytes);
}

/* What was written, as bytes, which are not copied if they are many. */
static PyObject *
take_bytes(Buffer *buffer)
{
    if (buffer->bytes == NULL) {
        return PyBytes_FromStringAndSize(buffer->data, buffer->size);
    }
    PyObject *taken = buffer->bytes;
    buffer->bytes = NULL;
    return _PyBytes_Resize(&taken, buffer->size) < 0 ? NULL : taken;
}

/* Room for some more bytes; 0: there is no memory. */
static int
grow(Buffer *buffer, Py_ssize_t more)
{
    if (more > PY_SSIZE_T_MAX / 2 - buffer->size) {
        return 0;
    }
    /* Half of what there was, and not of a big binary, which is written where it stays with what follows it. */
    Py_ssize_t room = buffer->size + more + buffer->size / 2 + MORE_FIELDS;
    if (buffer->bytes != NULL) {
        if (_PyBytes_Resize(&buffer->bytes, room) < 0) {
            return 0;
        }
    }
    else {
        buffer->bytes = PyBytes_FromStringAndSize(NULL, room);
        if (buffer->bytes == NULL) {
            return 0;
        }
        memcpy(PyBytes_AS_STRING(buffer->bytes), buffer->first, buffer->size);
    }
    buffer->data = PyBytes_AS_STRING(buffer->bytes);
    buffer->room = room;
    return 1;
}

static inline char *
reserve(Buffer *buffer, Py_ssize_t more)
{
    if (more > buffer->room - buffer->size && !grow(buffer, more)) {
        return NULL;
    }
    char *at = buffer->data + buffer->size;
    buffer->size += more;
    return at;
}

static inline void
store(char *at, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        at[i] = (char)(number & 0xff);
        number >>= 8;
    }
}

static inline int
put_number(Buffer *buffer, unsigned char first, uint64_t number, int bytes)
{
    char *at = reserve(buffer, 1 + bytes);
    if (at == NULL) {
        return 0;
    }
    at[0] = (char)first;
    store(at + 1, number, bytes);
    return 1;
}

static inline int
put_bytes(Buffer *buffer, const char *data, Py_ssize_t size)
{
    char *at = reserve(buffer, size);
    if (at == NULL) {
        return 0;
    }
    memcpy(at, data, size);
    return 1;
}

/* ------------------------------------------------------------ msgpack */

static int
put_unsigned(Buffer *buffer, uint64_t number)
{
    if (number < 0x80) {
        return put_number(buffer, (unsigned char)number, 0, 0);
    }
    if (number <= 0xff) {
        return put_number(buffer, 0xcc, number, 1);
    }
    if (number <= 0xffff) {
        return put_number(buffer, 0xcd, number, 2);
    }
    if (number <= 0xffffffff) {
        return put_number(buffer, 0xce, number, 4);
    }
    return put_number(buffer, 0xcf, number, 8);
}

static int
put_negative(Buffer *buffer, int64_t number)
{
    if (number >= -32) {
        return put_number(buffer, (unsigned char)number, 0, 0);
    }
    if (number >= INT8_MIN) {
        return put_number(buffer, 0xd0, (uint64_t)number, 1);
    }
    if (number >= INT16_MIN) {
        return put_number(buffer, 0xd1, (uint64_t)number, 2);
    }
    if (number >= INT32_MIN) {
        return put_number(buffer, 0xd2, (uint64_t)number, 4);
    }
    return put_number(buffer, 0xd3, (uint64_t)number, 8);
}

static int
put_double(Buffer *buffer, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    return put_number(buffer, 0xcb, bits, 8);
}

/* The header of something with a size of which three forms exist; `fixed` is the first of the shortest form, for
   sizes below `fixed_below`, and `one` is 0 if there is no form with a size of one byte. */
static int
put_header(Buffer *buffer, Py_ssize_t size, unsigned char fixed, Py_ssize_t fixed_below, unsigned char one,
           unsigned char two, unsigned char four)
{
    if (size < fixed_below) {
        return put_number(buffer, (unsigned char)(fixed | size), 0, 0);
    }
    if (size <= 0xff && one) {
        return put_number(buffer, one, (uint64_t)size, 1);
    }
    if (size <= 0xffff) {
        return put_number(buffer, two, (uint64_t)size, 2);
    }
    return (uint64_t)size <= 0xffffffff && put_number(buffer, four, (uint64_t)size, 4);
}

static int
put_list_header(Buffer *buffer, Py_ssize_t size)
{
    return put_header(buffer, size, 0x90, 16, 0, 0xdc, 0xdd);
}

static int
put_map_header(Buffer *buffer, Py_ssize_t size)
{
    return put_header(buffer, size, 0x80, 16, 0, 0xde, 0xdf);
}

static int
put_binary(Buffer *buffer, PyObject *value)
{
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    return put_header(buffer, size, 0, 0, 0xc4, 0xc5, 0xc6) && put_bytes(buffer, PyBytes_AS_STRING(value), size);
}

/* Lone surrogates are written, too; other packers of msgpack refuse them. */
static int
put_surrogates(Buffer *buffer, PyObject *value)
{
    PyErr_Clear();
    PyObject *encoded = PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
    if (encoded == NULL) {
        return 0;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(encoded);
    int put = put_header(buffer, size, 0xa0, 32, 0xd9, 0xda, 0xdb)
        && put_bytes(buffer, PyBytes_AS_STRING(encoded), size);
    Py_DECREF(encoded);
    return put;
}

static int
put_text(Buffer *buffer, PyObject *value)
{
    Py_ssize_t size;
    const char *data = PyUnicode_AsUTF8AndSize(value, &size);
    if (data == NULL) {
        return put_surrogates(buffer, value);
    }
    return put_header(buffer, size, 0xa0, 32, 0xd9, 0xda, 0xdb) && put_bytes(buffer, data, size);
}

/* The size of what was written behind `start`, where EXT_HEADER bytes were kept free, decides on the header. */
static int
put_ext_header(Buffer *buffer, Py_ssize_t start, int tag)
{
    Py_ssize_t size = buffer->size - start - EXT_HEADER;
    char header[EXT_HEADER];
    int length = 2;
    switch (size) {
    case 1: header[0] = (char)0xd4; break;
    case 2: header[0] = (char)0xd5; break;
    case 4: header[0] = (char)0xd6; break;
    case 8: header[0] = (char)0xd7; break;
    case 16: header[0] = (char)0xd8; break;
    default:
        length += size <= 0xff ? 1 : size <= 0xffff ? 2 : 4;
        if ((uint64_t)size > 0xffffffff) {
            return 0;
        }
        header[0] = (char)(size <= 0xff ? 0xc7 : size <= 0xffff ? 0xc8 : 0xc9);
        store(header + 1, (uint64_t)size, length - 2);
    }
    header[length - 1] = (char)tag;
    char *at = buffer->data + start;
    memmove(at + length, at + EXT_HEADER, size);
    memcpy(at, header, length);
    buffer->size = start + length + size;
    return 1;
}

/* Where an extension starts that is written next; negative: there is no memory. */
static inline Py_ssize_t
start_ext(Buffer *buffer)
{
    Py_ssize_t start = buffer->size;
    return reserve(buffer, EXT_HEADER) ? start : -1;
}

static int
put_ext(Buffer *buffer, int tag, const char *data, Py_ssize_t size)
{
    Py_ssize_t start = start_ext(buffer);
    return start >= 0 && put_bytes(buffer, data, size) && put_ext_header(buffer, start, tag);
}

/* An integer of more than 64 bits. */
static int
put_big_int(Buffer *buffer, PyObject *value)
{
    PyObject *bits = PyObject_CallMethod(value, "bit_length", NULL);
    if (bits == NULL) {
        return 0;
    }
    Py_ssize_t size = PyLong_AsSsize_t(bits) / 8 + 1;
    Py_DECREF(bits);
    PyObject *to_bytes = PyObject_GetAttrString(value, "to_bytes");
    PyObject *args = Py_BuildValue("(ns)", size, "little");
    PyObject *kwargs = Py_BuildValue("{sO}", "signed", Py_True);
    PyObject *data = to_bytes && args && kwargs ? PyObject_Call(to_bytes, args, kwargs) : NULL;
    Py_XDECREF(to_bytes);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (data == NULL) {
        return 0;
    }
    int put = put_ext(buffer, TAG_BIG_INT, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
    Py_DECREF(data);
    return put;
}

static int
put_int(Buffer *buffer, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow) {
        return number < 0 ? put_negative(buffer, number) : put_unsigned(buffer, (uint64_t)number);
    }
    if (overflow > 0) {
        unsigned long long large = PyLong_AsUnsignedLongLong(value);
        if (!PyErr_Occurred()) {
            return put_unsigned(buffer, large);
        }
        PyErr_Clear();
    }
    return put_big_int(buffer, value);
}

/* A leaf but bytes; -1: it is none. */
static inline int
put_plain(Buffer *buffer, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return put_text(buffer, value);
    }
    if (type == &PyLong_Type) {
        return put_int(buffer, value);
    }
    if (value == Py_None) {
        return put_number(buffer, 0xc0, 0, 0);
    }
    if (type == &PyBool_Type) {
        return put_number(buffer, value == Py_True ? 0xc3 : 0xc2, 0, 0);
    }
    if (type == &PyFloat_Type) {
        return put_double(buffer, PyFloat_AS_DOUBLE(value));
    }
    return -1;
}

/* ------------------------------------------------------------ values of users */

typedef struct {
    PyVarObject head;
    char data[];
} PackedValue;

typedef struct {
    PyObject_HEAD
    State *state;          /* of the module, which the type keeps */
    PyObject *known;       /* by class, a pair: its Plan and its number, or a tag and what makes plain data of it */
    Py_ssize_t share;      /* bytes from which a binary may go beside the frame, which is not decided here */
    PyObject *encode_args; /* twins */
    PyObject *encode_value;
} Packer;

static int put_value(Packer *packer, Buffer *buffer, PyObject *value, int depth);

static int
put_each(Packer *packer, Buffer *buffer, PyObject **items, Py_ssize_t count, int depth)
{
    if (!put_list_header(buffer, count)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!put_value(packer, buffer, items[i], depth)) {
            return 0;
        }
    }
    return 1;
}

/* The items of a list may change only if code runs, and code of `known` may run: a tuple of them cannot. */
static int
put_items(Packer *packer, Buffer *buffer, PyObject *list, int depth)
{
    PyObject *items = PyList_AsTuple(list);
    if (items == NULL) {
        return 0;
    }
    int put = put_each(packer, buffer, ((PyTupleObject *)items)->ob_item, PyTuple_GET_SIZE(items), depth);
    Py_DECREF(items);
    return put;
}

static int
put_list(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    Py_ssize_t count = PyList_GET_SIZE(value), i = 0;
    Py_ssize_t start = buffer->size;
    if (!put_list_header(buffer, count)) {
        return 0;
    }
    /* Nothing runs while plain items are written; from the first other one on, it is done again. */
    for (; i < count; i++) {
        int put = put_plain(buffer, PyList_GET_ITEM(value, i));
        if (put == 0) {
            return 0;
        }
        if (put < 0) {
            buffer->size = start;
            return put_items(packer, buffer, value, depth);
        }
    }
    return 1;
}

static int
put_tuple(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    Py_ssize_t start = start_ext(buffer);
    return start >= 0
        && put_each(packer, buffer, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), depth)
        && put_ext_header(buffer, start, TAG_TUPLE);
}

/* Of a set, or the keys or the values of a dict. */
static int
put_iterable(Packer *packer, Buffer *buffer, PyObject *values, int depth)
{
    PyObject *items = PySequence_Tuple(values);
    if (items == NULL) {
        return 0;
    }
    int put = put_each(packer, buffer, ((PyTupleObject *)items)->ob_item, PyTuple_GET_SIZE(items), depth);
    Py_DECREF(items);
    return put;
}

static int
put_set(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    int tag = PyFrozenSet_CheckExact(value) ? TAG_FROZENSET : TAG_SET;
    Py_ssize_t start = start_ext(buffer);
    return start >= 0 && put_iterable(packer, buffer, value, depth) && put_ext_header(buffer, start, tag);
}

/* A dict with keys that are not plain: a list of its keys and one of its values. */
static int
put_pairs(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    Py_ssize_t start = start_ext(buffer);
    PyObject *keys = start < 0 ? NULL : PyDict_Keys(value);
    PyObject *values = keys ? PyDict_Values(value) : NULL;
    int put = values && put_list_header(buffer, 2) && put_iterable(packer, buffer, keys, depth)
        && put_iterable(packer, buffer, values, depth) && put_ext_header(buffer, start, TAG_DICT);
    Py_XDECREF(keys);
    Py_XDECREF(values);
    return put;
}

static int
put_dict(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    Py_ssize_t start = buffer->size, position = 0, left = PyDict_GET_SIZE(value);
    PyObject *key, *item;
    if (!put_map_header(buffer, left)) {
        return 0;
    }
    while (PyDict_Next(value, &position, &key, &item)) {
        int put = put_plain(buffer, key);
        if (put < 0) {
            buffer->size = start;
            return put_pairs(packer, buffer, value, depth);
        }
        if (put == 0 || left-- == 0) {
            return 0;
        }
        put = put_plain(buffer, item);
        if (put < 0) {
            Py_INCREF(item);
            put = put_value(packer, buffer, item, depth);
            Py_DECREF(item);
        }
        if (put == 0) {
            return 0;
        }
    }
    return left == 0; /* else code that ran has changed it */
}

static int
put_instance(Packer *packer, Buffer *buffer, Plan *plan, PyObject *number, PyObject *value, int depth)
{
    PyObject *values[64];
    Py_ssize_t start;
    if (plan->count > 64 || !read_fields(plan, value, values)) {
        return 0;
    }
    int put = (start = start_ext(buffer)) >= 0 && put_list_header(buffer, 3) && put_int(buffer, number)
        && put_each(packer, buffer, values, plan->count, depth) && put_number(buffer, 0xc0, 0, 0)
        && put_ext_header(buffer, start, TAG_INSTANCE);
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        Py_DECREF(values[i]);
    }
    return put;
}

static int
put_namedtuple(Packer *packer, Buffer *buffer, Plan *plan, PyObject *number, PyObject *value, int depth)
{
    Py_ssize_t count = PyTuple_GET_SIZE(value), start = start_ext(buffer);
    return start >= 0 && count == plan->count && put_list_header(buffer, 2) && put_int(buffer, number)
        && put_each(packer, buffer, ((PyTupleObject *)value)->ob_item, count, depth)
        && put_ext_header(buffer, start, TAG_NAMEDTUPLE);
}

static int
put_enum(Packer *packer, Buffer *buffer, PyObject *number, PyObject *value)
{
    PyObject *name = PyObject_GetAttr(value, packer->state->name);
    if (name == NULL) {
        return 0;
    }
    Py_ssize_t start;
    int put = PyUnicode_CheckExact(name) && (start = start_ext(buffer)) >= 0 && put_list_header(buffer, 3)
        && put_int(buffer, number) && put_text(buffer, name) && put_number(buffer, 0xc0, 0, 0)
        && put_ext_header(buffer, start, TAG_ENUM);
    Py_DECREF(name);
    return put;
}

/* A scalar of the standard library, by a function of ours that makes plain data of it. */
static int
put_scalar(Packer *packer, Buffer *buffer, int tag, PyObject *write, PyObject *value, int depth)
{
    PyObject *plain = PyObject_CallOneArg(write, value);
    if (plain == NULL) {
        return 0;
    }
    Py_ssize_t start = start_ext(buffer);
    int put = start >= 0
        && (PyBytes_CheckExact(plain) ? put_binary(buffer, plain) : put_value(packer, buffer, plain, depth))
        && put_ext_header(buffer, start, tag);
    Py_DECREF(plain);
    return put;
}

static int
put_known(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    PyObject *how = PyDict_GetItemWithError(packer->known, (PyObject *)Py_TYPE(value));
    if (how == NULL || !PyTuple_CheckExact(how) || PyTuple_GET_SIZE(how) != 2) {
        return 0;
    }
    int put = 0;
    PyObject *first = PyTuple_GET_ITEM(how, 0), *second = PyTuple_GET_ITEM(how, 1);
    Py_INCREF(how);
    if (Py_IS_TYPE(first, packer->state->plan_type)) {
        Plan *plan = (Plan *)first;
        if (plan->kind == PLAN_FIELDS) {
            put = put_instance(packer, buffer, plan, second, value, depth);
        }
        else if (plan->kind == PLAN_NAMEDTUPLE) {
            put = put_namedtuple(packer, buffer, plan, second, value, depth);
        }
        else if (plan->kind == PLAN_ENUM) {
            put = put_enum(packer, buffer, second, value);
        }
    }
    else {
        put = put_scalar(packer, buffer, (int)PyLong_AsLong(first), second, value, depth);
    }
    Py_DECREF(how);
    return put;
}

/* A value as the encoder writes it; 0: it gives up, and an exception may be set, which means nothing. */
static int
put_value(Packer *packer, Buffer *buffer, PyObject *value, int depth)
{
    int put = put_plain(buffer, value);
    if (put >= 0) {
        return put;
    }
    if (++depth > DEEPEST) {
        return 0;
    }
    if (PyDict_CheckExact(value)) {
        return put_dict(packer, buffer, value, depth);
    }
    if (PyList_CheckExact(value)) {
        return put_list(packer, buffer, value, depth);
    }
    if (PyTuple_CheckExact(value)) {
        return put_tuple(packer, buffer, value, depth);
    }
    if (PyBytes_CheckExact(value)) {
        return PyBytes_GET_SIZE(value) < packer->share && put_binary(buffer, value);
    }
    if (PyAnySet_CheckExact(value)) {
        return put_set(packer, buffer, value, depth);
    }
    return put_known(packer, buffer, value, depth);
}

/* ------------------------------------------------------------ messages */

/* A field of a message, in which values of users are packed already. */
static int
put_field(State *state, Buffer *buffer, PyObject *value, int depth)
{
    int put = put_plain(buffer, value);
    if (put >= 0) {
        return put;
    }
    if (Py_IS_TYPE(value, state->packed_value_type)) {
        return put_bytes(buffer, ((PackedValue *)value)->data, Py_SIZE(value));
    }
    if (++depth > DEEPEST) {
        return 0;
    }
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
        Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
        put = put_list_header(buffer, count);
        /* Nothing runs that could change it. */
        for (Py_ssize_t i = 0; put && i < count; i++) {
            put = put_field(state, buffer, PySequence_Fast_GET_ITEM(value, i), depth);
        }
        return put;
    }
    if (PyDict_CheckExact(value)) {
        Py_ssize_t position = 0;
        PyObject *key, *item;
        put = put_map_header(buffer, PyDict_GET_SIZE(value));
        while (put && PyDict_Next(value, &position, &key, &item)) {
            put = put_field(state, buffer, key, depth) && put_field(state, buffer, item, depth);
        }
        return put;
    }
    if (PyBytes_CheckExact(value)) {
        return put_binary(buffer, value);
    }
    if ((PyObject *)Py_TYPE(value) == state->ext_type && PyTuple_Check(value) && PyTuple_GET_SIZE(value) == 2) {
        PyObject *tag = PyTuple_GET_ITEM(value, 0), *data = PyTuple_GET_ITEM(value, 1);
        long number = PyLong_Check(tag) ? PyLong_AsLong(tag) : -1;
        return number >= 0 && number <= 127 && PyBytes_CheckExact(data)
            && put_ext(buffer, (int)number, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
    }
    return 0;
}

/* pack(twin, message): its bytes. */
PyObject *
pack(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "pack(twin, message)");
        return NULL;
    }
    Buffer buffer;
    start_buffer(&buffer);
    PyObject *packed = NULL;
    if (put_field(PyModule_GetState(module), &buffer, args[1], 0)) {
        packed = take_bytes(&buffer);
    }
    free_buffer(&buffer);
    if (packed == NULL) {
        PyErr_Clear();
        return PyObject_CallOneArg(args[0], args[1]);
    }
    return packed;
}

/* A value packed by itself, as an object that `pack` copies into its message; NULL: it gives up. */
static PyObject *
pack_value(Packer *packer, PyObject *value)
{
    Buffer buffer;
    start_buffer(&buffer);
    PyObject *packed = NULL;
    if (put_value(packer, &buffer, value, 0)) {
        PyTypeObject *type = packer->state->packed_value_type;
        packed = type->tp_alloc(type, buffer.size);
        if (packed != NULL) {
            memcpy(((PackedValue *)packed)->data, buffer.data, buffer.size);
        }
    }
    free_buffer(&buffer);
    return packed ? packed : give_up();
}

static int
goes_as_it_is(PyObject *value)
{
    return is_leaf(value) && !PyBytes_CheckExact(value);
}

/* The arguments of a call as fields of its message; NULL: it gives up. */
static PyObject *
pack_args(Packer *packer, PyObject *args)
{
    PyObject *fields = PySequence_List(args);
    if (fields == NULL) {
        return give_up();
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *value = PyTuple_GET_ITEM(args, i);
        if (goes_as_it_is(value)) {
            continue;
        }
        PyObject *packed = pack_value(packer, value);
        if (packed == NULL || PyList_SetItem(fields, i, packed) < 0) {
            Py_DECREF(fields);
            return give_up();
        }
    }
    return fields;
}

static PyObject *
pack_keywords(Packer *packer, PyObject *kwargs)
{
    PyObject *fields = PyDict_Copy(kwargs);
    if (fields == NULL) {
        return give_up();
    }
    Py_ssize_t position = 0;
    PyObject *name, *value;
    while (PyDict_Next(fields, &position, &name, &value)) {
        if (goes_as_it_is(value)) {
            continue;
        }
        PyObject *packed = PyUnicode_CheckExact(name) ? pack_value(packer, value) : NULL;
        int failed = packed == NULL || PyDict_SetItem(fields, name, packed) < 0;
        Py_XDECREF(packed);
        if (failed) {
            Py_DECREF(fields);
            return give_up();
        }
    }
    return fields;
}

/* simple_args(args): fields for the arguments of a call, or None: that takes Python code. */
static PyObject *
simple_args(PyObject *self, PyObject *args)
{
    PyObject *fields = PyTuple_CheckExact(args) ? pack_args((Packer *)self, args) : NULL;
    if (fields == NULL) {
        Py_RETURN_NONE;
    }
    return fields;
}

/* encode_args(args, kwargs): fields for both, None for no keywords. */
static PyObject *
encode_args(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Packer *packer = (Packer *)self;
    if (count == 2 && PyTuple_CheckExact(args[0]) && PyDict_CheckExact(args[1])) {
        PyObject *positional = pack_args(packer, args[0]), *keywords = NULL, *both = NULL;
        if (positional != NULL) {
            keywords = PyDict_GET_SIZE(args[1]) ? pack_keywords(packer, args[1]) : Py_NewRef(Py_None);
        }
        if (keywords != NULL) {
            both = PyTuple_Pack(2, positional, keywords);
        }
        Py_XDECREF(positional);
        Py_XDECREF(keywords);
        if (both != NULL) {
            return both;
        }
        PyErr_Clear();
    }
    return PyObject_Vectorcall(packer->encode_args, args, count, NULL);
}

/* encode_value(value, root="value"): a field for it. */
static PyObject *
encode_value(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Packer *packer = (Packer *)self;
    if (count == 1 || count == 2) {
        if (goes_as_it_is(args[0])) {
            return Py_NewRef(args[0]);
        }
        PyObject *packed = pack_value(packer, args[0]);
        if (packed != NULL) {
            return packed;
        }
    }
    return PyObject_Vectorcall(packer->encode_value, args, count, NULL);
}

/* ------------------------------------------------------------ types */

/* Packer(known, share, encode_args, encode_value) */
static PyObject *
packer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *known, *args_twin, *value_twin;
    Py_ssize_t share;
    if (!PyArg_ParseTuple(args, "O!nOO", &PyDict_Type, &known, &share, &args_twin, &value_twin)) {
        return NULL;
    }
    Packer *packer = (Packer *)type->tp_alloc(type, 0);
    if (packer == NULL) {
        return NULL;
    }
    packer->state = PyType_GetModuleState(type);
    packer->known = Py_NewRef(known);
    packer->share = share;
    packer->encode_args = Py_NewRef(args_twin);
    packer->encode_value = Py_NewRef(value_twin);
    return (PyObject *)packer;
}

static int
packer_traverse(PyObject *self, visitproc visit, void *arg)
{
    Packer *packer = (Packer *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(packer->known);
    Py_VISIT(packer->encode_args);
    Py_VISIT(packer->encode_value);
    return 0;
}

/* The twins are methods of the encoder, which has this packer; whoever still calls it is refused by None. */
static int
packer_clear(PyObject *self)
{
    Packer *packer = (Packer *)self;
    Py_SETREF(packer->encode_args, Py_NewRef(Py_None));
    Py_SETREF(packer->encode_value, Py_NewRef(Py_None));
    return 0;
}

static void
packer_dealloc(PyObject *self)
{
    Packer *packer = (Packer *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(packer->known);
    Py_CLEAR(packer->encode_args);
    Py_CLEAR(packer->encode_value);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef packer_methods[] = {
    {"encode_args", (PyCFunction)(void (*)(void))encode_args, METH_FASTCALL, "See codec/encoder.py."},
    {"encode_value", (PyCFunction)(void (*)(void))encode_value, METH_FASTCALL, "See codec/encoder.py."},
    {"simple_args", simple_args, METH_O, "Fields for the arguments of a call, or None: that takes Python code."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packer_slots[] = {
    {Py_tp_new, packer_new},
    {Py_tp_dealloc, packer_dealloc},
    {Py_tp_traverse, packer_traverse},
    {Py_tp_clear, packer_clear},
    {Py_tp_methods, packer_methods},
    {Py_tp_doc, "Packs the values of one encoder."},
    {0, NULL},
};

PyType_Spec packer_spec = {
    .name = "actors.transport._speedups.Packer",
    .basicsize = sizeof(Packer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = packer_slots,
};

static PyObject *
packed_bytes(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBytes_FromStringAndSize(((PackedValue *)self)->data, Py_SIZE(self));
}

static void
packed_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef packed_methods[] = {
    {"__bytes__", packed_bytes, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packed_slots[] = {
    {Py_tp_dealloc, packed_dealloc},
    {Py_tp_methods, packed_methods},
    {Py_tp_doc, "A value that is packed already, as a field of a message."},
    {0, NULL},
};

PyType_Spec packed_value_spec = {
    .name = "actors.transport._speedups.PackedValue",
    .basicsize = sizeof(PackedValue),
    .itemsize = 1,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = packed_slots,
};
