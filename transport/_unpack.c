/* The twin of codec/decoder.py and of msgpack's unpacker: frame bodies to messages.

   The bytes are a stranger's. A frame is read twice: `scan` sees whether it holds whole messages of msgpack, and
   whether anything in it is left to the twin; then objects are made. Every count is checked against the bytes
   that are left before memory is taken for it, and the counts of one scan together: as each item has a byte of
   its own, no more items are made than bytes have come.
*/

#include "_speedups.h"

#include <stdint.h>
#include <string.h>

#define KEYS 256        /* texts that are kept for messages to come: keys of dicts, names of methods */
#define LONGEST_KEY 32
#define MOST_FIELDS 64
#define AT_ONCE 1024    /* items of a list or a map for which there is room from the beginning */

typedef struct {
    PyObject_HEAD
    State *state;       /* of the module, which the type keeps */
    PyObject *hook;     /* called with tag and data of an extension that is not read here */
    PyObject *twin;     /* called with a body that is not read here */
    PyObject *readers;  /* by tag: what makes a scalar of plain data */
    PyObject *known;    /* by the number of a class: its Plan, or the dict of an enum's members */
    Py_ssize_t limit;   /* bytes of a frame */
    Py_ssize_t batch;   /* bytes of a frame above which it holds one message */
    PyObject *keys[KEYS];
} Unpacker;

typedef struct {
    const unsigned char *at;
    const unsigned char *end;
} Bytes;

static inline Py_ssize_t
left(const Bytes *bytes)
{
    return bytes->end - bytes->at;
}

static inline uint64_t
load(const unsigned char *at, int count)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* ------------------------------------------------------------ one token of msgpack */

enum { INVALID, NIL, NO, YES, UNSIGNED, SIGNED, SINGLE, DOUBLE, TEXT, BINARY, LIST, MAP, EXT };

typedef struct {
    int kind;
    int tag;            /* of an extension */
    uint64_t number;    /* a value, or a size in bytes or items */
    const unsigned char *data;
} Token;

/* By first byte from 0xc0 to 0xdf: the kind, and the bytes of number or size behind it. */
static const struct {
    unsigned char kind, bytes;
} FORMS[32] = {
    [0x00] = {NIL, 0},     [0x02] = {NO, 0},      [0x03] = {YES, 0},     [0x04] = {BINARY, 1},
    [0x05] = {BINARY, 2},  [0x06] = {BINARY, 4},  [0x07] = {EXT, 1},     [0x08] = {EXT, 2},
    [0x09] = {EXT, 4},     [0x0a] = {SINGLE, 4},  [0x0b] = {DOUBLE, 8},  [0x0c] = {UNSIGNED, 1},
    [0x0d] = {UNSIGNED, 2}, [0x0e] = {UNSIGNED, 4}, [0x0f] = {UNSIGNED, 8}, [0x10] = {SIGNED, 1},
    [0x11] = {SIGNED, 2},  [0x12] = {SIGNED, 4},  [0x13] = {SIGNED, 8},  [0x14] = {EXT, 0},
    [0x15] = {EXT, 0},     [0x16] = {EXT, 0},     [0x17] = {EXT, 0},     [0x18] = {EXT, 0},
    [0x19] = {TEXT, 1},    [0x1a] = {TEXT, 2},    [0x1b] = {TEXT, 4},    [0x1c] = {LIST, 2},
    [0x1d] = {LIST, 4},    [0x1e] = {MAP, 2},     [0x1f] = {MAP, 4},
};

/* Reads the token at `bytes->at`, with the data of a text, a binary or an extension; 0: these bytes are none. */
static inline int
next_token(Bytes *bytes, Token *token)
{
    if (bytes->at >= bytes->end) {
        return 0;
    }
    unsigned char first = *bytes->at++;
    if (first < 0xc0) {
        token->kind = first < 0x80 ? UNSIGNED : first < 0x90 ? MAP : first < 0xa0 ? LIST : TEXT;
        token->number = first < 0x80 ? first : first < 0xa0 ? first & 0x0f : first & 0x1f;
    }
    else if (first >= 0xe0) {
        token->kind = SIGNED;
        token->number = (uint64_t)(int64_t)(int8_t)first;
        return 1;
    }
    else {
        token->kind = FORMS[first - 0xc0].kind;
        int count = FORMS[first - 0xc0].bytes;
        if (token->kind == INVALID || left(bytes) < count) {
            return 0;
        }
        token->number = load(bytes->at, count);
        bytes->at += count;
        if (token->kind == SIGNED && count < 8 && token->number >> (8 * count - 1)) {
            token->number |= ~(uint64_t)0 << (8 * count);
        }
        if (token->kind == EXT) {
            if (first >= 0xd4) {
                token->number = (uint64_t)1 << (first - 0xd4);
            }
            if (left(bytes) < 1) {
                return 0;
            }
            token->tag = (int8_t)*bytes->at++;
        }
    }
    if (token->kind == TEXT || token->kind == BINARY || token->kind == EXT) {
        if (token->number > (uint64_t)left(bytes)) {
            return 0;
        }
        token->data = bytes->at;
        bytes->at += token->number;
    }
    return 1;
}

/* Takes the items of a list or a map off what may still come; 0: there cannot be so many. */
static inline int
take_items(const Token *token, Py_ssize_t *items)
{
    if (token->number > (uint64_t)*items) {
        return 0;
    }
    *items -= (Py_ssize_t)token->number;
    if (token->kind == MAP) {
        if (token->number > (uint64_t)*items) {
            return 0;
        }
        *items -= (Py_ssize_t)token->number;
    }
    return 1;
}

/* Whether one whole value comes next of which nothing is left to the twin. */
static int
scan(Bytes *bytes, Py_ssize_t *items, int depth)
{
    Token token;
    if (depth > DEEPEST || !next_token(bytes, &token)) {
        return 0;
    }
    if (token.kind == EXT) {
        return token.tag >= 0; /* -1 is a time, which msgpack makes a number of */
    }
    if (token.kind != LIST && token.kind != MAP) {
        return 1;
    }
    if (!take_items(&token, items)) {
        return 0;
    }
    for (uint64_t i = token.kind == MAP ? 2 * token.number : token.number; i > 0; i--) {
        if (!scan(bytes, items, depth + 1)) {
            return 0;
        }
    }
    return 1;
}

/* ------------------------------------------------------------ texts */

static int
is_ascii(const unsigned char *data, Py_ssize_t size)
{
    Py_ssize_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t eight;
        memcpy(&eight, data + i, 8);
        if (eight & 0x8080808080808080u) {
            return 0;
        }
    }
    for (; i < size; i++) {
        if (data[i] & 0x80) {
            return 0;
        }
    }
    return 1;
}

static PyObject *
new_text(const unsigned char *data, Py_ssize_t size)
{
    if (size > 1 && is_ascii(data, size)) {
        PyObject *text = PyUnicode_New(size, 127);
        if (text != NULL) {
            memcpy(PyUnicode_1BYTE_DATA(text), data, size);
        }
        return text;
    }
    return PyUnicode_DecodeUTF8((const char *)data, size, "surrogatepass");
}

static inline uint64_t
hash_of(const unsigned char *data, Py_ssize_t size)
{
    uint64_t first = 0, last = 0;
    if (size >= 8) {
        memcpy(&first, data, 8);
        memcpy(&last, data + size - 8, 8);
    }
    else {
        memcpy(&first, data, size);
    }
    return ((first ^ (uint64_t)size) * 0x9e3779b97f4a7c15u ^ last) * 0xc2b2ae3d27d4eb4fu >> 40;
}

/* For the few bytes of a key, which a call would take longer for. */
static inline int
is_same(const unsigned char *one, const unsigned char *other, Py_ssize_t size)
{
    uint64_t of_one, of_other;
    if (size < 8) {
        for (Py_ssize_t i = 0; i < size; i++) {
            if (one[i] != other[i]) {
                return 0;
            }
        }
        return 1;
    }
    for (Py_ssize_t i = 0; i < size - 8; i += 8) {
        memcpy(&of_one, one + i, 8);
        memcpy(&of_other, other + i, 8);
        if (of_one != of_other) {
            return 0;
        }
    }
    memcpy(&of_one, one + size - 8, 8);
    memcpy(&of_other, other + size - 8, 8);
    return of_one == of_other;
}

/* As `new_text`, for what comes in many messages: the same object as the last time. */
static PyObject *
kept_text(Unpacker *unpacker, const unsigned char *data, Py_ssize_t size)
{
    if (size == 0 || size > LONGEST_KEY) {
        return new_text(data, size);
    }
    PyObject **place = &unpacker->keys[hash_of(data, size) % KEYS];
    PyObject *kept = *place;
    if (kept != NULL && PyUnicode_GET_LENGTH(kept) == size && is_same(PyUnicode_1BYTE_DATA(kept), data, size)) {
        return Py_NewRef(kept);
    }
    PyObject *text = new_text(data, size);
    if (text != NULL && PyUnicode_IS_ASCII(text)) {
        Py_XSETREF(*place, Py_NewRef(text));
    }
    return text;
}

/* ------------------------------------------------------------ values */

typedef struct {
    Unpacker *unpacker;
    Py_ssize_t items;   /* that may still come */
    int whole;          /* whether extensions that are not read here go to the hook; else they make it give up */
} Reading;

static PyObject *read_value(Reading *reading, Bytes *bytes, int depth);
static PyObject *read_ext(Reading *reading, const Token *token, int depth);

static PyObject *
read_list(Reading *reading, Bytes *bytes, const Token *token, int depth)
{
    if (!take_items(token, &reading->items)) {
        return NULL;
    }
    Py_ssize_t count = (Py_ssize_t)token->number, room = count < AT_ONCE ? count : AT_ONCE;
    PyObject *list = PyList_New(room);
    if (list == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < room; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(Py_None)); /* whoever finds it meanwhile finds a list */
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = read_value(reading, bytes, depth);
        int failed = item == NULL;
        if (!failed && i < room && i < PyList_GET_SIZE(list)) {
            PyObject *none = PyList_GET_ITEM(list, i);
            PyList_SET_ITEM(list, i, item);
            Py_DECREF(none);
        }
        else if (!failed) {
            failed = PyList_Append(list, item) < 0;
            Py_DECREF(item);
        }
        if (failed) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *
new_map(uint64_t count)
{
#if PY_VERSION_HEX < 0x030D0000
    if (count > 5 && count < AT_ONCE) {
        return _PyDict_NewPresized((Py_ssize_t)count);
    }
#endif
    (void)count;
    return PyDict_New();
}

static PyObject *
read_key(Reading *reading, Bytes *bytes, int depth)
{
    Bytes before = *bytes;
    Token token;
    if (next_token(bytes, &token) && token.kind == TEXT) {
        return kept_text(reading->unpacker, token.data, (Py_ssize_t)token.number);
    }
    *bytes = before;
    return read_value(reading, bytes, depth);
}

/* Whether hashing and comparing an object runs no code of users. */
static int
is_plain_key(PyObject *key, int depth)
{
    if (is_leaf(key)) {
        return 1;
    }
    if (!PyTuple_CheckExact(key) || depth > 8) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++) {
        if (!is_plain_key(PyTuple_GET_ITEM(key, i), depth + 1)) {
            return 0;
        }
    }
    return 1;
}

static PyObject *
read_map(Reading *reading, Bytes *bytes, const Token *token, int depth)
{
    if (!take_items(token, &reading->items)) {
        return NULL;
    }
    PyObject *map = new_map(token->number);
    if (map == NULL) {
        return NULL;
    }
    for (uint64_t i = 0; i < token->number; i++) {
        PyObject *key = read_key(reading, bytes, depth);
        PyObject *item = key ? read_value(reading, bytes, depth) : NULL;
        int failed = item == NULL || (!reading->whole && !is_plain_key(key, 0)) || PyDict_SetItem(map, key, item) < 0;
        Py_XDECREF(key);
        Py_XDECREF(item);
        if (failed) {
            Py_DECREF(map);
            return NULL;
        }
    }
    return map;
}

static PyObject *
read_single(const Token *token)
{
    uint32_t bits = (uint32_t)token->number;
    float number;
    memcpy(&number, &bits, sizeof(number));
    return PyFloat_FromDouble((double)number);
}

static PyObject *
read_double(const Token *token)
{
    double number;
    memcpy(&number, &token->number, sizeof(number));
    return PyFloat_FromDouble(number);
}

/* A value; NULL without an exception: it gives up, which it never does where `reading->whole`. */
static PyObject *
read_value(Reading *reading, Bytes *bytes, int depth)
{
    Token token;
    if (depth > DEEPEST || !next_token(bytes, &token)) {
        return NULL;
    }
    switch (token.kind) {
    case NIL: return Py_NewRef(Py_None);
    case NO: return Py_NewRef(Py_False);
    case YES: return Py_NewRef(Py_True);
    case UNSIGNED: return PyLong_FromUnsignedLongLong(token.number);
    case SIGNED: return PyLong_FromLongLong((int64_t)token.number);
    case SINGLE: return read_single(&token);
    case DOUBLE: return read_double(&token);
    case TEXT:
        /* The fields of a message: one of them is the name of a method. */
        return depth == 1 && reading->whole ? kept_text(reading->unpacker, token.data, (Py_ssize_t)token.number)
                                            : new_text(token.data, (Py_ssize_t)token.number);
    case BINARY: return PyBytes_FromStringAndSize((const char *)token.data, (Py_ssize_t)token.number);
    case LIST: return read_list(reading, bytes, &token, depth + 1);
    case MAP: return read_map(reading, bytes, &token, depth + 1);
    case EXT: return read_ext(reading, &token, depth + 1);
    }
    return NULL;
}

/* ------------------------------------------------------------ extensions

   They are read without the hook: whatever is wrong with one, or not known here, makes all of the outermost one
   the hook's, which has seen nothing of it yet. */

/* The header of a list with that many items. */
static int
starts_list(Reading *reading, Bytes *bytes, uint64_t count)
{
    Token token;
    return next_token(bytes, &token) && token.kind == LIST && token.number == count
        && take_items(&token, &reading->items);
}

static int
is_nil(Bytes *bytes)
{
    Token token;
    return next_token(bytes, &token) && token.kind == NIL;
}

static PyObject *
read_list_alone(Reading *reading, Bytes *bytes, int depth)
{
    Token token;
    if (!next_token(bytes, &token) || token.kind != LIST) {
        return NULL;
    }
    return read_list(reading, bytes, &token, depth);
}

static PyObject *
read_tuple(Reading *reading, Bytes *bytes, int depth)
{
    PyObject *list = read_list_alone(reading, bytes, depth);
    PyObject *tuple = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return tuple;
}

static PyObject *
read_set(Reading *reading, Bytes *bytes, int tag, int depth)
{
    PyObject *list = read_list_alone(reading, bytes, depth);
    PyObject *set = NULL;
    int plain = list != NULL;
    for (Py_ssize_t i = 0; plain && i < PyList_GET_SIZE(list); i++) {
        plain = is_plain_key(PyList_GET_ITEM(list, i), 0);
    }
    if (plain) {
        set = tag == TAG_SET ? PySet_New(list) : PyFrozenSet_New(list);
    }
    Py_XDECREF(list);
    return set;
}

static PyObject *
read_pairs(Reading *reading, Bytes *bytes, int depth)
{
    PyObject *keys = starts_list(reading, bytes, 2) ? read_list_alone(reading, bytes, depth) : NULL;
    PyObject *values = keys ? read_list_alone(reading, bytes, depth) : NULL;
    PyObject *pairs = values && PyList_GET_SIZE(keys) == PyList_GET_SIZE(values) ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; pairs && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        if (!is_plain_key(key, 0) || PyDict_SetItem(pairs, key, PyList_GET_ITEM(values, i)) < 0) {
            Py_CLEAR(pairs);
        }
    }
    Py_XDECREF(keys);
    Py_XDECREF(values);
    return pairs;
}

/* What is known of the class of which the number comes next; a new reference. */
static PyObject *
read_known(Reading *reading, Bytes *bytes)
{
    Token token;
    if (!next_token(bytes, &token) || token.kind != UNSIGNED) {
        return NULL;
    }
    PyObject *number = PyLong_FromUnsignedLongLong(token.number);
    PyObject *known = number ? PyDict_GetItemWithError(reading->unpacker->known, number) : NULL;
    Py_XDECREF(number);
    return Py_XNewRef(known);
}

static PyObject *
read_fields_of(Reading *reading, Bytes *bytes, Plan *plan, int depth)
{
    PyObject *values[MOST_FIELDS];
    Py_ssize_t count = 0;
    if (plan->count > MOST_FIELDS || !starts_list(reading, bytes, (uint64_t)plan->count)) {
        return NULL;
    }
    while (count < plan->count && (values[count] = read_value(reading, bytes, depth)) != NULL) {
        count++;
    }
    PyObject *instance = NULL;
    if (count == plan->count && is_nil(bytes)) {
        instance = build_instance(reading->unpacker->state, plan, values);
    }
    while (count > 0) {
        Py_DECREF(values[--count]);
    }
    return instance;
}

static PyObject *
read_planned(Reading *reading, Bytes *bytes, int tag, int depth)
{
    int kind = tag == TAG_INSTANCE ? PLAN_FIELDS : PLAN_NAMEDTUPLE;
    if (!starts_list(reading, bytes, kind == PLAN_FIELDS ? 3 : 2)) {
        return NULL;
    }
    PyObject *known = read_known(reading, bytes), *made = NULL;
    if (known != NULL && Py_IS_TYPE(known, reading->unpacker->state->plan_type) && ((Plan *)known)->kind == kind) {
        Plan *plan = (Plan *)known;
        if (kind == PLAN_FIELDS) {
            made = read_fields_of(reading, bytes, plan, depth);
        }
        else {
            PyObject *values = read_tuple(reading, bytes, depth);
            made = values && PyTuple_GET_SIZE(values) == plan->count ? build_namedtuple(plan, values) : NULL;
            Py_XDECREF(values);
        }
    }
    Py_XDECREF(known);
    return made;
}

static PyObject *
read_enum(Reading *reading, Bytes *bytes)
{
    if (!starts_list(reading, bytes, 3)) {
        return NULL;
    }
    PyObject *members = read_known(reading, bytes), *member = NULL;
    Token token;
    if (members && PyDict_CheckExact(members) && next_token(bytes, &token) && token.kind == TEXT && is_nil(bytes)) {
        PyObject *name = kept_text(reading->unpacker, token.data, (Py_ssize_t)token.number);
        member = name ? Py_XNewRef(PyDict_GetItemWithError(members, name)) : NULL;
        Py_XDECREF(name);
    }
    Py_XDECREF(members);
    return member;
}

/* A scalar of the standard library, by a function of ours that takes plain data. */
static PyObject *
read_scalar(Reading *reading, Bytes *bytes, int tag, int depth)
{
    PyObject *number = PyLong_FromLong(tag);
    PyObject *reader = number ? PyDict_GetItemWithError(reading->unpacker->readers, number) : NULL;
    Py_XDECREF(number);
    PyObject *plain = reader ? read_value(reading, bytes, depth) : NULL;
    PyObject *value = plain ? PyObject_CallOneArg(reader, plain) : NULL;
    Py_XDECREF(plain);
    return value;
}

/* NULL, perhaps with an exception that means nothing: it gives up. */
static PyObject *
read_inside(Reading *reading, Bytes *bytes, int tag, int depth)
{
    switch (tag) {
    case TAG_TUPLE: return read_tuple(reading, bytes, depth);
    case TAG_SET:
    case TAG_FROZENSET: return read_set(reading, bytes, tag, depth);
    case TAG_DICT: return read_pairs(reading, bytes, depth);
    case TAG_ENUM: return read_enum(reading, bytes);
    case TAG_INSTANCE:
    case TAG_NAMEDTUPLE: return read_planned(reading, bytes, tag, depth);
    default: return read_scalar(reading, bytes, tag, depth);
    }
}

static PyObject *
read_ext(Reading *reading, const Token *token, int depth)
{
    PyObject *value = NULL;
    Py_ssize_t size = (Py_ssize_t)token->number;
    if (token->tag == TAG_BYTEARRAY) {
        value = PyByteArray_FromStringAndSize((const char *)token->data, size);
    }
    else {
        /* Each extension has bytes, and so items, of its own. */
        Reading inner = {reading->unpacker, size, 0};
        Bytes bytes = {token->data, token->data + size};
        value = read_inside(&inner, &bytes, token->tag, depth);
        if (value != NULL && bytes.at != bytes.end) {
            Py_CLEAR(value);
        }
    }
    if (value != NULL || !reading->whole) {
        return value;
    }
    PyErr_Clear();
    return PyObject_CallFunction(reading->unpacker->hook, "iy#", token->tag, (const char *)token->data, size);
}

/* ------------------------------------------------------------ frames */

/* Whether a body holds whole messages and nothing else. */
static int
is_whole(Unpacker *unpacker, const Py_buffer *body)
{
    Bytes bytes = {body->buf, (const unsigned char *)body->buf + body->len};
    Py_ssize_t items = body->len, count = 0;
    for (; bytes.at != bytes.end; count++) {
        if (!scan(&bytes, &items, 0)) {
            return 0;
        }
    }
    return body->len <= unpacker->limit && (body->len <= unpacker->batch || count == 1);
}

/* Whether a message is a list that begins with its kind, and no introduction, of which the kind is 0. */
static int
is_in_form(PyObject *message)
{
    if (!PyList_CheckExact(message) || PyList_GET_SIZE(message) == 0) {
        return 0;
    }
    PyObject *kind = PyList_GET_ITEM(message, 0);
    int overflow;
    return PyLong_CheckExact(kind) && PyLong_AsLongAndOverflow(kind, &overflow) > 0;
}

/* The messages of a body, and whether all of them are in form. */
static PyObject *
read_messages(Unpacker *unpacker, const Py_buffer *body)
{
    Bytes bytes = {body->buf, (const unsigned char *)body->buf + body->len};
    Reading reading = {unpacker, body->len, 1};
    PyObject *messages = PyList_New(0);
    int in_form = 1;
    while (messages != NULL && bytes.at != bytes.end) {
        PyObject *message = read_value(&reading, &bytes, 0);
        if (message == NULL || PyList_Append(messages, message) < 0) {
            Py_CLEAR(messages);
        }
        in_form = in_form && message != NULL && is_in_form(message);
        Py_XDECREF(message);
    }
    if (messages == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "the bytes changed while they were read");
        }
        return NULL;
    }
    return Py_BuildValue("(NO)", messages, in_form ? Py_True : Py_False);
}

static PyObject *
unpack(PyObject *self, PyObject *body)
{
    Unpacker *unpacker = (Unpacker *)self;
    Py_buffer view;
    if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int whole = is_whole(unpacker, &view);
    PyObject *messages = whole ? read_messages(unpacker, &view) : NULL;
    PyBuffer_Release(&view);
    return whole ? messages : PyObject_CallOneArg(unpacker->twin, body);
}

/* Unpacker(hook, twin, readers, known, limit, batch) */
static PyObject *
unpacker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *hook, *twin, *readers, *known;
    Py_ssize_t limit, batch;
    if (!PyArg_ParseTuple(args, "OOO!O!nn", &hook, &twin, &PyDict_Type, &readers, &PyDict_Type, &known, &limit,
                          &batch)) {
        return NULL;
    }
    Unpacker *unpacker = (Unpacker *)type->tp_alloc(type, 0);
    if (unpacker == NULL) {
        return NULL;
    }
    unpacker->state = PyType_GetModuleState(type);
    unpacker->hook = Py_NewRef(hook);
    unpacker->twin = Py_NewRef(twin);
    unpacker->readers = Py_NewRef(readers);
    unpacker->known = Py_NewRef(known);
    unpacker->limit = limit;
    unpacker->batch = batch;
    return (PyObject *)unpacker;
}

static int
unpacker_traverse(PyObject *self, visitproc visit, void *arg)
{
    Unpacker *unpacker = (Unpacker *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(unpacker->hook);
    Py_VISIT(unpacker->twin);
    Py_VISIT(unpacker->readers);
    Py_VISIT(unpacker->known);
    return 0;
}

/* Both are methods of the decoder, which has this unpacker; whoever still calls it is refused by None. */
static int
unpacker_clear(PyObject *self)
{
    Unpacker *unpacker = (Unpacker *)self;
    Py_SETREF(unpacker->hook, Py_NewRef(Py_None));
    Py_SETREF(unpacker->twin, Py_NewRef(Py_None));
    return 0;
}

static void
unpacker_dealloc(PyObject *self)
{
    Unpacker *unpacker = (Unpacker *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(unpacker->hook);
    Py_CLEAR(unpacker->twin);
    Py_CLEAR(unpacker->readers);
    Py_CLEAR(unpacker->known);
    for (int i = 0; i < KEYS; i++) {
        Py_CLEAR(unpacker->keys[i]);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef unpacker_methods[] = {
    {"unpack", unpack, METH_O, "The messages of a frame body, and whether all are in form."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot unpacker_slots[] = {
    {Py_tp_new, unpacker_new},
    {Py_tp_dealloc, unpacker_dealloc},
    {Py_tp_traverse, unpacker_traverse},
    {Py_tp_clear, unpacker_clear},
    {Py_tp_methods, unpacker_methods},
    {Py_tp_doc, "Reads the frames of one decoder."},
    {0, NULL},
};

PyType_Spec unpacker_spec = {
    .name = "actors.transport._speedups.Unpacker",
    .basicsize = sizeof(Unpacker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = unpacker_slots,
};
