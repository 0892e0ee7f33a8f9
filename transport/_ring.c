/* One direction of a shared-memory ring between two processes: a Writer in one of them, a Reader in the other.

   The other side may write anything into the memory at any time. So each side keeps its own position to itself;
   a word of the other side is read once, into a local variable, and checked before it is used; the bytes of a
   record are copied out, and only the copy is looked at. Wrong words raise the error that a side was made with.
   The memory is a sealed memfd of SIZE bytes, so reading it cannot fail.

   A record is a header of 16 bytes and a body, which is padded to 16 and goes on at the start when it reaches
   the end. A mark is a record without a body: what comes next comes over the socket.
*/

#include "_common.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE (128 * 1024)
#define DATA 192              /* where the records begin */
#define ROOM (SIZE - DATA)    /* bytes for records, a multiple of UNIT */
#define UNIT 16               /* of a header, and what a body is padded to */
#define RESERVE (2 * UNIT)    /* no record takes these: a mark always fits */
#define MARK 2                /* the kind of a mark; smaller ones are lanes */

enum { FULL, WAKE_IT, WRITTEN, BELL };  /* what `put` returns */
enum { OVER, FOUND, NOT_YET };          /* what `look` returns */
enum { LOOKING, ASLEEP, AWAY };         /* what a reader does: AWAY is asleep, and better off with the socket */

/* The shared memory. Each word has one writer, but for `reader`, which the writer changes from ASLEEP to LOOKING. */
typedef struct {
    _Atomic uint64_t head;    /* bytes written since the beginning; by the writer */
    char pad1[56];
    _Atomic uint64_t tail;    /* bytes taken since the beginning; by the reader */
    char pad2[56];
    _Atomic uint32_t reader;  /* what the reader does; unless it looks, the socket has to wake it */
    char pad3[60];
    unsigned char data[ROOM];
} Memory;

_Static_assert(sizeof(Memory) == SIZE && ROOM % UNIT == 0, "the layout of the shared memory");

typedef struct {
    uint32_t size;            /* of the body */
    uint32_t kind;
    uint64_t number;          /* frames that the link has carried before it */
} Header;

_Static_assert(sizeof(Header) == UNIT, "a header is one unit");

/* The state of a Writer or a Reader; nobody else can write it. */
typedef struct {
    PyObject_HEAD
    PyObject *error;          /* the class of what is raised when the other side has written nonsense */
    Memory *memory;           /* NULL after `close` */
    uint64_t own;             /* our position: head of a Writer, tail of a Reader */
    uint64_t other;           /* theirs, as it was read last */
    uint64_t until;           /* the time at which a Reader stops looking */
} Side;

static inline uint64_t
padded(uint64_t size)
{
    return (size + UNIT - 1) / UNIT * UNIT;
}

static void
copy_in(Memory *memory, uint64_t position, const void *bytes, uint64_t size)
{
    uint64_t at = position % ROOM, first = size < ROOM - at ? size : ROOM - at;
    memcpy(memory->data + at, bytes, first);
    memcpy(memory->data, (const char *)bytes + first, size - first);
}

static void
copy_out(const Memory *memory, uint64_t position, void *bytes, uint64_t size)
{
    uint64_t at = position % ROOM, first = size < ROOM - at ? size : ROOM - at;
    memcpy(bytes, memory->data + at, first);
    memcpy((char *)bytes + first, memory->data, size - first);
}

static int
is_open(Side *self)
{
    if (self->memory == NULL) {
        PyErr_SetString(PyExc_ValueError, "this ring is closed");
    }
    return self->memory != NULL;
}

/* ------------------------------------------------------------ both sides */

static PyObject *
new_side(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int fd;
    PyObject *error;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "a ring takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "iO!", &fd, &PyType_Type, &error)) {
        return NULL;
    }
    Side *self = (Side *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->error = Py_NewRef(error);
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        Py_DECREF(self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    self->memory = memory;
    return (PyObject *)self;
}

static PyObject *
close_side(PyObject *object, PyObject *Py_UNUSED(none))
{
    Side *self = (Side *)object;
    if (self->memory != NULL) {
        munmap(self->memory, SIZE);
        self->memory = NULL;
    }
    Py_RETURN_NONE;
}

static void
free_side(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    Py_DECREF(close_side(object, NULL));
    Py_XDECREF(((Side *)object)->error);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ------------------------------------------------------------ the Writer */

/* Bytes that are free; UINT64_MAX, with an error set, if the reader claims what cannot be. */
static uint64_t
free_bytes(Side *self)
{
    uint64_t tail = atomic_load_explicit(&self->memory->tail, memory_order_acquire);
    if (tail < self->other || tail > self->own) {
        PyErr_Format(self->error, "the reader of a ring claims position %llu, after %llu of %llu",
                     (unsigned long long)tail, (unsigned long long)self->other,
                     (unsigned long long)self->own);
        return UINT64_MAX;
    }
    self->other = tail;
    return ROOM - (self->own - tail);
}

static void
write_record(Side *self, uint32_t kind, uint64_t number, const char *body, uint64_t size)
{
    Header header = {(uint32_t)size, kind, number};
    copy_in(self->memory, self->own, &header, UNIT);
    copy_in(self->memory, self->own + UNIT, body, size);
    self->own += UNIT + padded(size);
    atomic_store_explicit(&self->memory->head, self->own, memory_order_release);
}

/* put(lane, body, number): writes a record, unless there is no room or the reader sleeps. */
static PyObject *
put_record(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    Side *self = (Side *)object;
    if (count != 3 || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "put takes a lane, bytes and a number");
        return NULL;
    }
    long lane = PyLong_AsLong(args[0]);
    uint64_t number = PyLong_AsUnsignedLongLong(args[2]), size = (uint64_t)PyBytes_GET_SIZE(args[1]);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    if (lane < 0 || lane >= MARK) {
        return PyErr_Format(PyExc_ValueError, "no ring carries lane %ld", lane);
    }
    if (size > ROOM) {
        return PyLong_FromLong(FULL);
    }
    uint64_t free = free_bytes(self);
    if (free == UINT64_MAX) {
        return NULL;
    }
    if (UNIT + padded(size) + RESERVE > free) {
        return PyLong_FromLong(FULL);
    }
    if (atomic_load_explicit(&self->memory->reader, memory_order_relaxed) != LOOKING) {
        return PyLong_FromLong(WAKE_IT);
    }
    write_record(self, (uint32_t)lane, number, PyBytes_AS_STRING(args[1]), size);
    /* Against the fence in `sleep`: either we see that it sleeps, or it sees the record. */
    atomic_thread_fence(memory_order_seq_cst);
    return PyLong_FromLong(atomic_load(&self->memory->reader) == LOOKING ? WRITTEN : BELL);
}

/* The free bytes for a reader that wants to be led to the ring, none for one that does not. */
static PyObject *
offered(Side *self, uint64_t free)
{
    uint32_t reader = atomic_load_explicit(&self->memory->reader, memory_order_relaxed);
    return PyLong_FromUnsignedLongLong(reader == AWAY ? 0 : free);
}

/* mark(number): writes a mark; the frame behind it wakes the reader. Returns as `free`. */
static PyObject *
mark(PyObject *object, PyObject *given)
{
    Side *self = (Side *)object;
    uint64_t number = PyLong_AsUnsignedLongLong(given);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    uint64_t free = free_bytes(self);
    if (free == UINT64_MAX) {
        return NULL;
    }
    if (free < UNIT) {
        PyErr_SetString(self->error, "a ring has no room for a mark");
        return NULL;
    }
    write_record(self, MARK, number, "", 0);
    uint32_t asleep = ASLEEP;
    atomic_compare_exchange_strong(&self->memory->reader, &asleep, LOOKING);
    return offered(self, free - UNIT);
}

/* free(): the bytes that are free, or none if the reader is better off with the socket. */
static PyObject *
free_(PyObject *object, PyObject *Py_UNUSED(none))
{
    Side *self = (Side *)object;
    if (!is_open(self)) {
        return NULL;
    }
    uint64_t free = free_bytes(self);
    return free == UINT64_MAX ? NULL : offered(self, free);
}

/* ------------------------------------------------------------ the Reader */

/* Read how far the writer is, if nothing is left of what was there; 1 if there is something, -1 if it is wrong. */
static int
refresh(Side *self)
{
    if (self->own != self->other) {
        return 1;
    }
    uint64_t head = atomic_load_explicit(&self->memory->head, memory_order_acquire);
    if (head < self->own || head - self->own > ROOM || head % UNIT) {
        PyErr_Format(self->error, "the writer of a ring claims position %llu, after %llu",
                     (unsigned long long)head, (unsigned long long)self->own);
        return -1;
    }
    self->other = head;
    return head != self->own;
}

/* take(number): the next record as (kind, whether more was there, body), or None. */
static PyObject *
take(PyObject *object, PyObject *given)
{
    Side *self = (Side *)object;
    uint64_t number = PyLong_AsUnsignedLongLong(given);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    int found = refresh(self);
    if (found < 0) {
        return NULL;
    }
    if (!found) {
        Py_RETURN_NONE;
    }
    uint64_t there = self->other - self->own;
    Header header;
    copy_out(self->memory, self->own, &header, UNIT);
    uint64_t whole = UNIT + padded(header.size);
    if (whole > there || header.kind > MARK || (header.kind == MARK && header.size)) {
        return PyErr_Format(self->error, "a ring has a record of kind %u and %u bytes in %llu",
                            (unsigned)header.kind, (unsigned)header.size, (unsigned long long)there);
    }
    if (header.number != number) {
        return PyErr_Format(self->error, "a ring has record %llu where %llu is expected",
                            (unsigned long long)header.number, (unsigned long long)number);
    }
    PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)header.size);
    if (body == NULL) {
        return NULL;
    }
    copy_out(self->memory, self->own + UNIT, PyBytes_AS_STRING(body), header.size);
    self->own += whole;
    atomic_store_explicit(&self->memory->tail, self->own, memory_order_release);
    return Py_BuildValue("(iNN)", (int)header.kind, PyBool_FromLong(self->own != self->other), body);
}

/* watch(nanoseconds): `look` says NOT_YET for so long. */
static PyObject *
watch(PyObject *object, PyObject *given)
{
    uint64_t window = PyLong_AsUnsignedLongLong(given);
    if (PyErr_Occurred()) {
        return NULL;
    }
    ((Side *)object)->until = nanoseconds() + window;
    Py_RETURN_NONE;
}

/* look(nanoseconds): looks for so long whether something is there, and whether to look on. */
static PyObject *
look(PyObject *object, PyObject *given)
{
    Side *self = (Side *)object;
    uint64_t spin = PyLong_AsUnsignedLongLong(given);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    uint64_t began = nanoseconds(), time = began;
    do {
        for (int i = 0; i < 16; i++) {
            int found = refresh(self);
            if (found) {
                return found < 0 ? NULL : PyLong_FromLong(FOUND);
            }
            relax();
        }
        time = nanoseconds();
    } while (time - began < spin);
    return PyLong_FromLong(time < self->until ? NOT_YET : OVER);
}

/* sleep(state): the socket has to wake us from now on; False if something is there, and we do not sleep. */
static PyObject *
sleep_(PyObject *object, PyObject *given)
{
    Side *self = (Side *)object;
    long state = PyLong_AsLong(given);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    atomic_store(&self->memory->reader, state == AWAY ? AWAY : ASLEEP);
    /* Against the fence in `put`. */
    atomic_thread_fence(memory_order_seq_cst);
    int found = refresh(self);
    if (found) {
        atomic_store(&self->memory->reader, LOOKING);
    }
    return found < 0 ? NULL : PyBool_FromLong(!found);
}

/* wake(): we look into the ring by ourselves from now on, or as soon as a frame leads to it. */
static PyObject *
wake(PyObject *object, PyObject *Py_UNUSED(none))
{
    Side *self = (Side *)object;
    if (!is_open(self)) {
        return NULL;
    }
    atomic_store(&self->memory->reader, LOOKING);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------ the module */

static PyMethodDef writer_methods[] = {
    {"put", (PyCFunction)(void (*)(void))put_record, METH_FASTCALL, "Write a record, if that can be done."},
    {"mark", mark, METH_O, "Say that what comes next comes over the socket; return the free bytes."},
    {"free", free_, METH_NOARGS, "Return the free bytes, or 0 if the reader prefers the socket."},
    {"close", close_side, METH_NOARGS, "Unmap the memory."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef reader_methods[] = {
    {"take", take, METH_O, "Return the next record, or None."},
    {"watch", watch, METH_O, "Set for how long `look` says that it is worth to look on."},
    {"look", look, METH_O, "Return whether something is there, and whether to look on."},
    {"preemptions", preemptions, METH_NOARGS, "Return how often this thread has lost its CPU so far."},
    {"sleep", sleep_, METH_O, "Have the socket wake us; False if something is there."},
    {"wake", wake, METH_NOARGS, "Have the socket not wake us: we look by ourselves."},
    {"close", close_side, METH_NOARGS, "Unmap the memory."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_doc, "The sending side of a ring: Writer(descriptor, error)."},
    {Py_tp_new, new_side},
    {Py_tp_dealloc, free_side},
    {Py_tp_methods, writer_methods},
    {0, NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, "The receiving side of a ring: Reader(descriptor, error)."},
    {Py_tp_new, new_side},
    {Py_tp_dealloc, free_side},
    {Py_tp_methods, reader_methods},
    {0, NULL},
};

static PyType_Spec writer_spec = {
    "actors.transport._ring.Writer", sizeof(Side), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    writer_slots,
};

static PyType_Spec reader_spec = {
    "actors.transport._ring.Reader", sizeof(Side), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    reader_slots,
};

static int
start(PyObject *module)
{
    if (add_type(module, &writer_spec) == NULL || add_type(module, &reader_spec) == NULL
        || PyModule_AddIntMacro(module, SIZE) || PyModule_AddIntMacro(module, ROOM) || PyModule_AddIntMacro(module, MARK)
        || PyModule_AddIntMacro(module, ASLEEP) || PyModule_AddIntMacro(module, AWAY)
        || PyModule_AddIntMacro(module, FULL) || PyModule_AddIntMacro(module, WAKE_IT)
        || PyModule_AddIntMacro(module, WRITTEN) || PyModule_AddIntMacro(module, BELL)
        || PyModule_AddIntMacro(module, OVER) || PyModule_AddIntMacro(module, FOUND)
        || PyModule_AddIntMacro(module, NOT_YET)) {
        return -1;
    }
    return add_checksum(module);
}

EXTENSION(PyInit__ring, start, "actors.transport._ring", "A ring in shared memory between two processes.", .m_size = 0)
