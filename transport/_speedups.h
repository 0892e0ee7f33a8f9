/* What the C files of `_speedups` share.

   Each function here does the common case and nothing else: it gives up, which changes nothing and calls no code of
   users, and then its twin in Python does the whole of the work, special cases and errors included. "Gives up" is
   NULL without an exception, or 0.

   Objects are never seen half built: a garbage collection may run any finalizer while one is made.
*/

#ifndef ACTORS_TRANSPORT_SPEEDUPS_H
#define ACTORS_TRANSPORT_SPEEDUPS_H

#include "_common.h"

/* Levels that are handled here; the twins go to MAX_DEPTH of types/tags.py, and no C stack is short of these. */
#define DEEPEST 100

/* Numbers of the wire, `Tag` of types/tags.py; a test compares them. */
enum {
    TAG_TUPLE = 1,
    TAG_SET = 2,
    TAG_FROZENSET = 3,
    TAG_BYTEARRAY = 4,
    TAG_BIG_INT = 5,
    TAG_DICT = 16,
    TAG_ENUM = 19,
    TAG_INSTANCE = 20,
    TAG_NAMEDTUPLE = 21,
};

/* What a plan says of the instances of a class, `PlanKind` of types/twins.py. */
enum {
    PLAN_SAME = 0,       /* immutable: the copy is the value itself */
    PLAN_ZONED = 1,      /* so if `tzinfo` is None or a `datetime.timezone` */
    PLAN_FIELDS = 2,     /* a dataclass or an attrs class */
    PLAN_NAMEDTUPLE = 3,
    PLAN_ENUM = 4,       /* of which each member has a name of its own */
};

typedef struct {
    PyObject_HEAD
    int kind;
    int immutable;       /* whether its instances need no copy if their fields need none */
    PyTypeObject *cls;
    PyObject *fields;    /* a tuple of texts */
    Py_ssize_t count;
    Py_ssize_t *offsets; /* where the slots of the fields are; NULL if they are in `__dict__` */
} Plan;

typedef struct {
    PyTypeObject *plan_type;
    PyTypeObject *packed_value_type;
    PyTypeObject *packer_type;
    PyTypeObject *unpacker_type;
    PyObject *plans;          /* by class: the Plan of how to copy its instances */
    PyObject *ext_type;       /* msgpack's: a tuple of tag and data */
    PyObject *empty;          /* a tuple */
    PyObject *tzinfo;         /* texts */
    PyObject *name;
    PyObject *timezone;       /* the class */
    PyObject *snapshot;       /* twins */
    PyObject *snapshot_args;
    PyTypeObject *ThreadChannel; /* classes, by `bind`, and where their slots are */
    PyTypeObject *OneWayQueue;
    PyTypeObject *bell_type;
    Py_ssize_t channel_closed, channel_congested, channel_inbound, channel_outbound, channel_sent, channel_most, channel_high,
        channel_shared_from;
    Py_ssize_t queue_lanes, queue_awake, queue_sent, queue_taken, queue_bell;
    PyObject *channel_twin, *by_reference;
    PyObject *deque, *append, *popleft, *send, *wake_receiver;
} State;

/* _pack.c */
PyObject *pack(PyObject *module, PyObject *const *args, Py_ssize_t count);

extern PyType_Spec plan_spec, packed_value_spec, packer_spec, unpacker_spec;

/* _copy.c */
PyObject *copy_value(State *state, PyObject *value, int depth);
PyObject *snapshot(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *snapshot_args(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *copy_all(PyObject *module, PyObject *values);
PyObject *copy_args(PyObject *module, PyObject *args);

/* _thread.c */
extern PyType_Slot thread_channel_slots[];
PyObject *take_queued(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* _bell.c */
extern PyType_Spec bell_spec;
void ring_bell(PyObject *bell, PyObject *own);

/* _plan.c */
int read_fields(Plan *plan, PyObject *instance, PyObject **values); /* new references; 0: gives up */
PyObject *build_instance(State *state, Plan *plan, PyObject **values); /* steals nothing */
PyObject *build_namedtuple(Plan *plan, PyObject *values);

/* Immutable types of the language that are copied by reference, `LEAVES` of types/tags.py. */
static inline int
is_leaf(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || value == Py_None || type == &PyBool_Type
        || type == &PyFloat_Type || type == &PyBytes_Type;
}

/* For a function that gives up: whatever failed, its twin will raise it. */
static inline void *
give_up(void)
{
    PyErr_Clear();
    return NULL;
}

#endif
