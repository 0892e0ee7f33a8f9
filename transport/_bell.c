/* The bell of a queue between two threads: whoever looks at it sees a message come, without having to sleep.

   The receiver looks while it has not the GIL, so all of this is atomic. What it sees it can take only with the
   GIL: it waits a moment for the sender to let go of that, because to be woken by that costs as much as any wake-up.
*/

#include "_speedups.h"
#include <stdatomic.h>

#define SLICE 5000     /* nanoseconds for which one look lasts, if the other thread may have news elsewhere */
#define PATIENCE 6000  /* nanoseconds that a receiver waits for the sender to let go of the GIL */

enum { OVER, FOUND, NOT_YET }; /* what `look` returns, as in _ring.c */

typedef struct {
    PyObject_HEAD
    _Atomic uint64_t rung;  /* how often; by the sender */
    _Atomic int away;       /* whether the receiver does not need the GIL; by the receiver */
    uint64_t heard;         /* up to which ring the receiver has read the queue */
    uint64_t until;         /* when it stops looking */
} Bell;

/* Ring the bell of a queue, and say at the bell of the other one that its receiver, who sends, runs. */
void
ring_bell(PyObject *bell, PyObject *own)
{
    atomic_store_explicit(&((Bell *)own)->away, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&((Bell *)bell)->rung, 1, memory_order_release);
}

static int
has_rung(Bell *self)
{
    return atomic_load_explicit(&self->rung, memory_order_acquire) != self->heard;
}

/* As `look`, without the GIL. */
static int
look_on(Bell *self, Bell *other)
{
    uint64_t began = nanoseconds(), time = began;
    while (!has_rung(self)) {
        for (int i = 0; i < 16 && !has_rung(self); i++) {
            relax();
        }
        time = nanoseconds();
        if (time >= self->until) {
            return OVER;
        }
        if (time - began >= SLICE && atomic_load_explicit(&other->away, memory_order_relaxed)) {
            return NOT_YET;
        }
    }
    began = nanoseconds();
    while (!atomic_load_explicit(&other->away, memory_order_acquire) && nanoseconds() - began < PATIENCE) {
        relax();
    }
    return FOUND;
}

/* look(other): looks for a moment whether the bell rings, and whether to look on; `other` is the sender's. */
static PyObject *
look(PyObject *object, PyObject *other)
{
    Bell *self = (Bell *)object;
    if (Py_TYPE(other) != Py_TYPE(object)) {
        PyErr_SetString(PyExc_TypeError, "look takes the bell of the other queue");
        return NULL;
    }
    int found;
    Py_BEGIN_ALLOW_THREADS
    atomic_store_explicit(&self->away, 1, memory_order_release);
    found = look_on(self, (Bell *)other);
    Py_END_ALLOW_THREADS
    atomic_store_explicit(&self->away, 0, memory_order_relaxed);
    return PyLong_FromLong(found);
}

/* ring(own): something is in the queue; `own` is the bell of the queue that the sender reads. */
static PyObject *
ring(PyObject *self, PyObject *own)
{
    if (Py_TYPE(own) != Py_TYPE(self)) {
        PyErr_SetString(PyExc_TypeError, "ring takes the bell of the other queue");
        return NULL;
    }
    ring_bell(self, own);
    Py_RETURN_NONE;
}

/* watch(nanoseconds): for how long it is worth to look on from now. */
static PyObject *
watch(PyObject *self, PyObject *given)
{
    uint64_t window = PyLong_AsUnsignedLongLong(given);
    if (PyErr_Occurred()) {
        return NULL;
    }
    ((Bell *)self)->until = nanoseconds() + window;
    Py_RETURN_NONE;
}

/* read(): the queue is read from now on; what is rung for later counts. */
static PyObject *
read_(PyObject *object, PyObject *Py_UNUSED(none))
{
    Bell *self = (Bell *)object;
    self->heard = atomic_load_explicit(&self->rung, memory_order_acquire);
    Py_RETURN_NONE;
}

/* sleep(): the receiver is going to sleep. */
static PyObject *
sleep_(PyObject *self, PyObject *Py_UNUSED(none))
{
    atomic_store_explicit(&((Bell *)self)->away, 1, memory_order_release);
    Py_RETURN_NONE;
}

static void
free_bell(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"ring", ring, METH_O, "Say that something is in the queue."},
    {"look", look, METH_O, "Look for a moment whether the bell rings."},
    {"watch", watch, METH_O, "Set for how long `look` says that it is worth to look on."},
    {"read", read_, METH_NOARGS, "Note that the queue is read from now on."},
    {"sleep", sleep_, METH_NOARGS, "Note that its receiver is going to sleep."},
    {"preemptions", preemptions, METH_NOARGS, "Return how often this thread has lost its CPU so far."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The bell of a queue between two threads."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, free_bell},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec bell_spec = {
    "actors.transport._speedups.Bell", sizeof(Bell), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots,
};
