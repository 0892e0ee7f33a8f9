/* C twins of the methods that every message goes through: envelope, mailbox, cell, message loop, first step.

   The Python twins are the reference: same results, same errors. A function here does the common case; whatever
   it does not know it leaves to the Python twin, before it has changed anything.

   The data stay in slots of Python classes, which derive from the types below: `bind` looks up where each slot
   is. State belongs to the module, so that each sub-interpreter has its own.
*/

#include "_speedups.h"
#include <time.h>

#define MESSAGES_PER_CLOCK 4
#define MOST_IN_A_ROW 64
#define MOST_SECONDS 0.010
#define DEEPEST 8

static struct PyModuleDef definition;

/* ------------------------------------------------------------ small things */

static inline double
now(void)
{
#ifdef __APPLE__
    return (double)clock_gettime_nsec_np(CLOCK_UPTIME_RAW) * 1e-9;
#else
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
#endif
}

/* ------------------------------------------------------------ envelopes */

static int
envelope_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &definition);
    if (module == NULL) {
        return -1;
    }
    State *st = PyModule_GetState(module);
    if (!is_a(self, st->Envelope)) {
        not_bound("this envelope");
        return -1;
    }
    PyObject *field[6] = {NULL, NULL, NULL, Py_None, Py_None, Py_None};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (keywords == NULL && count >= 3 && count <= 6) {
        for (Py_ssize_t i = 0; i < count; i++) {
            field[i] = PyTuple_GET_ITEM(args, i);
        }
    }
    else {
        static char *names[] = {"handler", "args", "kwargs", "reply", "deadline", "hooks", NULL};
        if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|OOO:Envelope", names, &field[0], &field[1],
                                         &field[2], &field[3], &field[4], &field[5])) {
            return -1;
        }
    }
    put(self, st->envelope_handler, field[0]);
    put(self, st->envelope_args, field[1]);
    put(self, st->envelope_kwargs, field[2]);
    put(self, st->envelope_reply, field[3]);
    put(self, st->envelope_deadline, field[4]);
    put(self, st->envelope_hooks, field[5]);
    put(self, st->envelope_request, st->zero);
    return 0;
}

/* An envelope, made without calling its class. */
PyObject *
new_envelope(State *st, PyObject *handler, PyObject *args, PyObject *keywords, PyObject *reply)
{
    PyObject *envelope = st->Envelope->tp_alloc(st->Envelope, 0);
    if (envelope != NULL) {
        put(envelope, st->envelope_handler, handler);
        put(envelope, st->envelope_args, args);
        put(envelope, st->envelope_kwargs, keywords);
        put(envelope, st->envelope_reply, reply);
        put(envelope, st->envelope_deadline, Py_None);
        put(envelope, st->envelope_hooks, Py_None);
        put(envelope, st->envelope_request, st->zero);
    }
    return envelope;
}

/* ------------------------------------------------------------ mailbox */

/* Wake the actor, if it waits for a message. */
static int
wake(State *st, PyObject *mailbox)
{
    PyObject *waker = get(mailbox, st->mailbox_waker);
    if (waker == NULL || waker == Py_None) {
        return 0;
    }
    Py_INCREF(waker);
    put(mailbox, st->mailbox_waker, Py_None);
    int done = is_true(call_method(waker, st->n_done));
    if (done == 0) {
        PyObject *answer = call_method_with(waker, st->n_set_result, Py_None);
        done = answer == NULL ? -1 : 0;
        Py_XDECREF(answer);
    }
    Py_DECREF(waker);
    return done < 0 ? -1 : 0;
}

int
put_item(State *st, PyObject *mailbox, PyObject *item)
{
    PyObject *queue = get(mailbox, st->mailbox_queue), *answer;
    if (queue != NULL && (PyObject *)Py_TYPE(queue) == st->deque) {
        PyObject *arguments[] = {queue, item};
        answer = PyObject_Vectorcall(st->deque_append, arguments, 2, NULL);
    }
    else {
        queue = call_method(mailbox, st->n_open);
        if (queue == NULL) {
            return -1;
        }
        answer = call_method_with(queue, st->n_append, item);
        Py_DECREF(queue);
    }
    if (answer == NULL) {
        return -1;
    }
    Py_DECREF(answer);
    return wake(st, mailbox);
}

/* As `SenderTurns.goes_on`, of the line of senders before a mailbox; -1 with an error. */
static int
goes_on(State *st, PyObject *line)
{
    PyObject *turns = get(line, st->queue_turns);
    PyObject *task = is_a(turns, st->SenderTurns) ? get(turns, st->turns_task) : NULL;
    PyObject *me = task == NULL || task == Py_None ? NULL : get(turns, st->turns_me);
    if (me == NULL) {
        return 0;
    }
    long left = number_at(turns, st->turns_left), held = number_at(turns, st->turns_held);
    if (left <= 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *caller = PyObject_CallNoArgs(me);
    if (caller == NULL) {
        return -1;
    }
    int mine = caller == task;
    Py_DECREF(caller);
    if (mine && (put_new(turns, st->turns_left, PyLong_FromLong(left - 1)) < 0
                 || put_new(turns, st->turns_held, PyLong_FromLong(held - 1)) < 0)) {
        return -1;
    }
    return mine;
}

/* Whether there is room in a mailbox for one more message, in its turn if others wait; -1 with an error. */
static int
has_room(State *st, PyObject *mailbox)
{
    PyObject *queue = get(mailbox, st->mailbox_queue), *limit = get(mailbox, st->mailbox_limit);
    PyObject *line = get(mailbox, st->mailbox_wait_queue);
    PyObject *waiting = is_a(line, st->WaitQueue) ? get(line, st->queue_waiting) : NULL;
    if (queue == NULL || limit == NULL || waiting == NULL) {
        not_bound("this mailbox");
        return -1;
    }
    Py_ssize_t length = PyObject_Size(queue), most = PyLong_AsSsize_t(limit);
    if (length < 0 || (most == -1 && PyErr_Occurred())) {
        return -1;
    }
    if (length >= most) {
        return 0;
    }
    Py_ssize_t others = PyObject_Size(waiting);
    return others > 0 ? goes_on(st, line) : others < 0 ? -1 : 1;
}

static PyObject *
mailbox_put(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (!is_a(self, st->Mailbox)) {
        return not_bound("this mailbox");
    }
    if (count != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "put takes one message");
        return NULL;
    }
    if (put_item(st, self, args[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
mailbox_wake(PyObject *self, PyTypeObject *type, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count),
             PyObject *Py_UNUSED(names))
{
    State *st = PyType_GetModuleState(type);
    if (!is_a(self, st->Mailbox)) {
        return not_bound("this mailbox");
    }
    if (wake(st, self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------ cell */

/* The mailbox of a cell that takes messages; NULL without an error if the twin has to look at it. */
static inline PyObject *
open_mailbox(State *st, PyObject *cell)
{
    PyObject *mailbox = get(cell, st->cell_mailbox);
    return get(cell, st->cell_draining) == Py_False && is_a(mailbox, st->Mailbox) ? mailbox : NULL;
}

/* Whether the arguments of a message may hold no bytes that count: as `never_big`, and data objects. */
int
never_big(State *st, PyObject *args)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *value = PyTuple_GET_ITEM(args, i);
        PyTypeObject *type = Py_TYPE(value);
        if (is_small_leaf(value) || type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type
            || type == &PySet_Type || type == &PyFrozenSet_Type) {
            continue;
        }
        if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE) || type->tp_dict == NULL
            || PySet_Contains(st->sized, (PyObject *)type) != 0) {
            return 0;
        }
        PyObject *module = PyDict_GetItemWithError(type->tp_dict, st->n_module);
        if (module == NULL || !PyUnicode_CheckExact(module)
            || PyUnicode_Tailmatch(module, st->numpy, 0, PY_SSIZE_T_MAX, -1) != 0) {
            return 0;
        }
    }
    return 1;
}

/* The arguments of a message without keywords as they are now, or NULL: its twin makes the error that the sender gets. */
static PyObject *
copied_args(State *st, PyObject *args, PyObject *keywords)
{
    PyObject *both[] = {args, keywords};
    PyObject *copies = PyObject_Vectorcall(st->snapshot_args, both, 2, NULL), *copied = NULL;
    if (copies == NULL) {
        PyErr_Clear();
    }
    else if (PyTuple_CheckExact(copies) && PyTuple_GET_SIZE(copies) == 2) {
        copied = Py_NewRef(PyTuple_GET_ITEM(copies, 0));
    }
    Py_XDECREF(copies);
    return copied;
}

static PyObject *
cell_send(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 3 || names != NULL || !is_a(self, st->Cell)) {
        return not_bound("this cell");
    }
    PyObject *handler = args[0], *values = args[1], *keywords = args[2], *mailbox = open_mailbox(st, self);
    PyObject *all[] = {self, handler, values, keywords};
    if (mailbox == NULL || !is_a(handler, st->Handler) || get(handler, st->handler_plain) != Py_True
        || !PyTuple_CheckExact(values) || !PyDict_CheckExact(keywords) || PyDict_GET_SIZE(keywords)) {
        return by_twin(st->cell_twin, st->n_send, all, 4);
    }
    int small = all_small_leaves(values);
    if (!small && !never_big(st, values)) {
        return PyErr_Occurred() ? NULL : by_twin(st->cell_twin, st->n_send, all, 4);
    }
    int room = has_room(st, mailbox);
    if (room <= 0) {
        return room < 0 ? NULL : Py_NewRef(Py_False);
    }
    values = small ? Py_NewRef(values) : copied_args(st, values, keywords);
    if (values == NULL) {
        return by_twin(st->cell_twin, st->n_send, all, 4);
    }
    PyObject *item = PyTuple_Pack(4, handler, values, keywords, Py_None);
    Py_DECREF(values);
    if (item == NULL) {
        return NULL;
    }
    int failed = put_item(st, mailbox, item);
    Py_DECREF(item);
    return failed < 0 ? NULL : Py_NewRef(Py_True);
}

/* Have the actor begin to handle an ask now, if it is idle, or put it into the mailbox. */
static PyObject *
handle_or_put(State *st, PyObject *cell, PyObject *mailbox, PyObject *envelope, PyObject *answer)
{
    PyObject *run = get(cell, st->cell_incarnation), *waker = get(mailbox, st->mailbox_waker);
    if (run != NULL && run != Py_None && waker != NULL && waker != Py_None
        && get(envelope, st->envelope_reply) != Py_None) {
        PyObject *loop = PyObject_GetAttr(run, st->n_message_loop);
        if (loop == NULL) {
            return NULL;
        }
        int handled = is_true(call_method_with(loop, st->n_handle_now, envelope));
        Py_DECREF(loop);
        if (handled) {
            return handled < 0 ? NULL : Py_NewRef(answer);
        }
    }
    return put_item(st, mailbox, envelope) < 0 ? NULL : Py_NewRef(answer);
}

static PyObject *
cell_try_send(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 1 || names != NULL || !is_a(self, st->Cell)) {
        return not_bound("this cell");
    }
    PyObject *envelope = args[0], *mailbox = open_mailbox(st, self);
    PyObject *all[] = {self, envelope};
    if (mailbox == NULL || !is_a(envelope, st->Envelope)) {
        return by_twin(st->cell_twin, st->n_try_send, all, 2);
    }
    PyObject *values = get(envelope, st->envelope_args), *keywords = get(envelope, st->envelope_kwargs);
    if (values == NULL || keywords == NULL || !PyTuple_CheckExact(values) || !PyDict_CheckExact(keywords)) {
        return by_twin(st->cell_twin, st->n_try_send, all, 2);
    }
    int small = PyDict_GET_SIZE(keywords) == 0 && all_small_leaves(values);
    if (!small && (PyDict_GET_SIZE(keywords) || !never_big(st, values))) {
        return PyErr_Occurred() ? NULL : by_twin(st->cell_twin, st->n_try_send, all, 2);
    }
    int room = has_room(st, mailbox);
    if (room <= 0) {
        return room < 0 ? NULL : Py_NewRef(Py_False);
    }
    if (!small && put_new(envelope, st->envelope_args, copied_args(st, values, keywords)) < 0) {
        return by_twin(st->cell_twin, st->n_try_send, all, 2);
    }
    return handle_or_put(st, self, mailbox, envelope, Py_True);
}

static PyObject *
cell_deliver(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 1 || names != NULL || !is_a(self, st->Cell)) {
        return not_bound("this cell");
    }
    PyObject *mailbox = open_mailbox(st, self);
    if (mailbox == NULL || !is_a(args[0], st->Envelope)) {
        PyObject *all[] = {self, args[0]};
        return by_twin(st->cell_twin, st->n_deliver, all, 2);
    }
    return handle_or_put(st, self, mailbox, args[0], Py_None);
}

/* ------------------------------------------------------------ what is left of a handler that waits */

typedef struct {
    PyObject_HEAD
    PyObject *coroutine; /* NULL if there is only the error */
    PyObject *first;     /* what it waits for, until its task has been told */
    PyObject *error;     /* what it raised */
} Suspended;

static PyObject *
suspended_new(State *st, PyObject *coroutine, PyObject *first, PyObject *error)
{
    Suspended *self = PyObject_GC_New(Suspended, st->Suspended);
    if (self == NULL) {
        return NULL;
    }
    self->coroutine = Py_XNewRef(coroutine);
    self->first = Py_XNewRef(first);
    self->error = Py_XNewRef(error);
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int
suspended_traverse(Suspended *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->coroutine);
    Py_VISIT(self->first);
    Py_VISIT(self->error);
    return 0;
}

static int
suspended_clear(Suspended *self)
{
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->first);
    Py_CLEAR(self->error);
    return 0;
}

static void
suspended_dealloc(Suspended *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    suspended_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PySendResult
suspended_am_send(PyObject *object, PyObject *value, PyObject **result)
{
    Suspended *self = (Suspended *)object;
    *result = NULL;
    if (self->error != NULL) {
        PyObject *error = self->error;
        self->error = NULL;
        raise_again(error);
        return PYGEN_ERROR;
    }
    if (self->first != NULL) {
        *result = self->first;
        self->first = NULL;
        return PYGEN_NEXT;
    }
    if (self->coroutine == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    PyObject *coroutine = Py_NewRef(self->coroutine);
    PySendResult status = PyIter_Send(coroutine, value, result);
    Py_DECREF(coroutine);
    return status;
}

/* What `send` of a coroutine returns for what its `am_send` has come to. */
static PyObject *
as_send(PySendResult status, PyObject *result)
{
    if (status != PYGEN_RETURN) {
        return status == PYGEN_NEXT ? result : NULL;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
suspended_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult status = suspended_am_send(self, value, &result);
    return as_send(status, result);
}

static PyObject *
suspended_next(PyObject *self)
{
    return suspended_send(self, Py_None);
}

/* A method of the coroutine, by its name. */
static PyObject *
suspended_forward(Suspended *self, const char *name, PyObject *args)
{
    Py_CLEAR(self->first);
    Py_CLEAR(self->error);
    if (self->coroutine == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *method = PyObject_GetAttrString(self->coroutine, name);
    if (method == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Call(method, args, NULL);
    Py_DECREF(method);
    return result;
}

static PyObject *
suspended_throw(PyObject *self, PyObject *args)
{
    return suspended_forward((Suspended *)self, "throw", args);
}

static PyObject *
suspended_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *none = PyTuple_New(0);
    PyObject *result = none == NULL ? NULL : suspended_forward((Suspended *)self, "close", none);
    Py_XDECREF(none);
    return result;
}

/* As the coroutine has it, for those who look where a task is. */
static PyObject *
suspended_get(PyObject *object, void *name)
{
    Suspended *self = (Suspended *)object;
    if (self->coroutine == NULL) {
        Py_RETURN_NONE;
    }
    return PyObject_GetAttrString(self->coroutine, name);
}

static PyMethodDef suspended_methods[] = {
    {"send", suspended_send, METH_O, "As that of a coroutine."},
    {"throw", suspended_throw, METH_VARARGS, "As that of a coroutine."},
    {"close", suspended_close, METH_NOARGS, "As that of a coroutine."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef suspended_attributes[] = {
    {"cr_frame", suspended_get, NULL, "As that of a coroutine.", "cr_frame"},
    {"cr_await", suspended_get, NULL, "As that of a coroutine.", "cr_await"},
    {"cr_code", suspended_get, NULL, "As that of a coroutine.", "cr_code"},
    {"cr_running", suspended_get, NULL, "As that of a coroutine.", "cr_running"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot suspended_slots[] = {
    {Py_tp_doc, "What is left of a handler that waits, or the error of one; its message loop awaits it."},
    {Py_tp_traverse, suspended_traverse},
    {Py_tp_clear, suspended_clear},
    {Py_tp_dealloc, suspended_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, suspended_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, suspended_am_send},
    {Py_tp_methods, suspended_methods},
    {Py_tp_getset, suspended_attributes},
    {0, NULL},
};

static PyType_Spec suspended_spec = {
    .name = "actors._actor._speedups.Suspended",
    .basicsize = sizeof(Suspended),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
        | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = suspended_slots,
};

/* ------------------------------------------------------------ the reply to an ask of this thread */

/* A waiter that most often has its result before anybody waits for it: a future is made only for who waits. */
typedef struct {
    PyObject_HEAD
    PyObject *make_waiter;
    PyObject *future; /* NULL until somebody waits */
    PyObject *result;
    PyObject *error;
} Reply;

static PyObject *
reply_new(State *st, PyObject *make_waiter)
{
    Reply *self = PyObject_GC_New(Reply, st->Reply);
    if (self == NULL) {
        return NULL;
    }
    self->make_waiter = Py_NewRef(make_waiter);
    self->future = self->result = self->error = NULL;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int
reply_traverse(Reply *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->make_waiter);
    Py_VISIT(self->future);
    Py_VISIT(self->result);
    Py_VISIT(self->error);
    return 0;
}

static int
reply_clear(Reply *self)
{
    Py_CLEAR(self->make_waiter);
    Py_CLEAR(self->future);
    Py_CLEAR(self->result);
    Py_CLEAR(self->error);
    return 0;
}

static void
reply_dealloc(Reply *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    reply_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Return, or raise, what it was settled with. */
static PySendResult
reply_outcome(Reply *self, PyObject **result)
{
    *result = NULL;
    if (self->error != NULL) {
        raise_again(Py_NewRef(self->error));
        return PYGEN_ERROR;
    }
    if (self->result == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this reply has not come");
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(self->result);
    return PYGEN_RETURN;
}

static PySendResult
reply_am_send(PyObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    return reply_outcome((Reply *)self, result);
}

static PyObject *
reply_next(PyObject *self)
{
    PyObject *result;
    PySendResult status = reply_outcome((Reply *)self, &result);
    return as_send(status, result);
}

/* The future, made now if there is none. */
static PyObject *
reply_future(Reply *self)
{
    if (self->future == NULL) {
        self->future = PyObject_CallNoArgs(self->make_waiter);
    }
    return self->future;
}

static PyObject *
reply_await(PyObject *object)
{
    Reply *self = (Reply *)object;
    if (self->future == NULL && (self->result != NULL || self->error != NULL)) {
        return Py_NewRef(object);
    }
    PyObject *future = reply_future(self);
    if (future == NULL) {
        return NULL;
    }
    PyAsyncMethods *verbs = Py_TYPE(future)->tp_as_async;
    if (verbs == NULL || verbs->am_await == NULL) {
        PyErr_Format(PyExc_TypeError, "%R cannot be awaited", future);
        return NULL;
    }
    return verbs->am_await(future);
}

static PyObject *
reply_done(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Reply *self = (Reply *)object;
    if (self->future != NULL) {
        return call_method(self->future, state_of(object)->n_done);
    }
    return PyBool_FromLong(self->result != NULL || self->error != NULL);
}

static PyObject *
reply_cancelled(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Reply *self = (Reply *)object;
    if (self->future != NULL) {
        return call_method(self->future, state_of(object)->n_cancelled);
    }
    Py_RETURN_FALSE;
}

static PyObject *
settle(Reply *self, PyObject **place, PyObject *verb, PyObject *value)
{
    if (self->future != NULL) {
        return call_method_with(self->future, verb, value);
    }
    if (self->result != NULL || self->error != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this reply has come already");
        return NULL;
    }
    *place = Py_NewRef(value);
    Py_RETURN_NONE;
}

static PyObject *
reply_set_result(PyObject *object, PyObject *value)
{
    return settle((Reply *)object, &((Reply *)object)->result, state_of(object)->n_set_result, value);
}

static PyObject *
reply_set_exception(PyObject *object, PyObject *error)
{
    if (!PyExceptionInstance_Check(error)) {
        PyErr_Format(PyExc_TypeError, "an exception was expected, got %R", error);
        return NULL;
    }
    return settle((Reply *)object, &((Reply *)object)->error, state_of(object)->n_set_exception, error);
}

/* Settle a reply that nobody waits for yet; whether it is settled now, or was. */
static int
reply_settle_now(PyObject *object, PyObject *result)
{
    Reply *self = (Reply *)object;
    if (self->future != NULL) {
        return 0;
    }
    if (self->result == NULL && self->error == NULL) {
        self->result = Py_NewRef(result);
    }
    return 1;
}

static PyMethodDef reply_methods[] = {
    {"done", reply_done, METH_NOARGS, "As that of a future."},
    {"cancelled", reply_cancelled, METH_NOARGS, "As that of a future."},
    {"set_result", reply_set_result, METH_O, "As that of a future."},
    {"set_exception", reply_set_exception, METH_O, "As that of a future."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reply_slots[] = {
    {Py_tp_doc, "The reply to an ask of this thread: a `Waiter` that makes a future only if somebody waits for it."},
    {Py_tp_traverse, reply_traverse},
    {Py_tp_clear, reply_clear},
    {Py_tp_dealloc, reply_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, reply_next},
    {Py_am_await, reply_await},
    {Py_am_send, reply_am_send},
    {Py_tp_methods, reply_methods},
    {0, NULL},
};

static PyType_Spec reply_spec = {
    .name = "actors._actor._speedups.Reply",
    .basicsize = sizeof(Reply),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
        | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reply_slots,
};

/* ------------------------------------------------------------ handlers */

/* fn(actor, *args, **kwargs) */
static PyObject *
call_handler(PyObject *fn, PyObject *actor, PyObject *args, PyObject *keywords)
{
    enum { MOST = 8 };
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (PyDict_GET_SIZE(keywords) == 0 && count < MOST) {
        PyObject *all[MOST + 1];
        all[1] = actor;
        for (Py_ssize_t i = 0; i < count; i++) {
            all[i + 2] = PyTuple_GET_ITEM(args, i);
        }
        return PyObject_Vectorcall(fn, all + 1, (size_t)(count + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    PyObject *all = PyTuple_New(count + 1);
    if (all == NULL) {
        return NULL;
    }
    PyTuple_SET_ITEM(all, 0, Py_NewRef(actor));
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    }
    PyObject *result = PyObject_Call(fn, all, keywords);
    Py_DECREF(all);
    return result;
}

/* Answer an asker that still waits. */
static int
answer(State *st, PyObject *reply, PyObject *result)
{
    if (!is_small_leaf(result)) {
        PyObject *both[] = {reply, result};
        PyObject *done = PyObject_Vectorcall(st->answer, both, 2, NULL);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (Py_TYPE(reply) == st->Reply && reply_settle_now(reply, result)) {
        return 0;
    }
    int done = is_true(call_method(reply, st->n_done));
    if (done) {
        return done < 0 ? -1 : 0;
    }
    PyObject *set = call_method_with(reply, st->n_set_result, result);
    Py_XDECREF(set);
    return set == NULL ? -1 : 0;
}

static inline double
seconds_at(PyObject *object, Py_ssize_t at)
{
    PyObject *value = get(object, at);
    return value == NULL ? 0.0 : PyFloat_AsDouble(value);
}

/* ------------------------------------------------------------ the first step of a handler */

/* Make `task` the current one of `loop`; return the one that was, None for none. */
static PyObject *
swap_task(State *st, PyObject *loop, PyObject *task)
{
    if (st->swap_task != Py_None) {
        PyObject *both[] = {loop, task};
        return PyObject_Vectorcall(st->swap_task, both, 2, NULL);
    }
    PyObject *before = PyDict_GetItemWithError(st->current_tasks, loop);
    if (before == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        before = Py_None;
    }
    Py_INCREF(before);
    int failed = task == Py_None ? (before == Py_None ? 0 : PyDict_DelItem(st->current_tasks, loop))
                                 : PyDict_SetItem(st->current_tasks, loop, task);
    if (failed < 0) {
        Py_CLEAR(before);
    }
    return before;
}

/* As `Stepper.step`: whether a step may be run now; takes one from the budget if so. -1 with an error. */
static int
may_step(State *st, PyObject *stepper, PyObject *budget)
{
    PyObject *loop = get(stepper, st->stepper_loop), *caller;
    if (st->swap_task != Py_None) {
        caller = PyObject_CallOneArg(st->current_task, loop);
        if (caller == NULL) {
            return -1;
        }
    }
    else {
        caller = PyDict_GetItemWithError(st->current_tasks, loop);
        if (caller == NULL && PyErr_Occurred()) {
            return -1;
        }
        caller = Py_NewRef(caller == NULL ? Py_None : caller);
    }
    long cancelling = 0;
    if (caller != Py_None) {
        PyObject *count = call_method(caller, st->n_cancelling);
        cancelling = count == NULL ? -1 : PyLong_AsLong(count);
        Py_XDECREF(count);
    }
    Py_DECREF(caller);
    if (cancelling) {
        return cancelling < 0 && PyErr_Occurred() ? -1 : 0;
    }
    PyObject *handled = PyErr_GetHandledException();
    int handles = handled != NULL && handled != Py_None;
    Py_XDECREF(handled);
    if (handles || number_at(budget, st->budget_depth) >= DEEPEST) {
        return 0;
    }
    long left = number_at(budget, st->budget_left) - 1;
    if (left > 0 && seconds_at(budget, st->budget_spent) < MOST_SECONDS) {
        return put_new(budget, st->budget_left, PyLong_FromLong(left)) < 0 ? -1 : 1;
    }
    if (put_new(budget, st->budget_left, PyLong_FromLong(MOST_IN_A_ROW)) < 0
        || put_new(budget, st->budget_spent, PyFloat_FromDouble(0.0)) < 0) {
        return -1;
    }
    return 0;
}

static PyObject *
make_rest(State *st, PyObject *coroutine, PyObject *waits_for)
{
    if (waits_for == NULL) {
        PyObject *error = take_error();
        PyObject *rest = PyObject_CallFunctionObjArgs(st->rest, Py_None, Py_None, error, NULL);
        Py_XDECREF(error);
        return rest;
    }
    PyObject *rest = PyObject_CallFunctionObjArgs(st->rest, coroutine, waits_for, NULL);
    PyObject *set = rest == NULL ? NULL : PyObject_CallOneArg(st->set_awaited, waits_for);
    if (set == NULL) {
        Py_CLEAR(rest);
    }
    Py_XDECREF(set);
    return rest;
}

/* Run the first step in the context of the actor's task; return the result, or a `Rest`. */
static PyObject *
run_in_context(State *st, PyObject *context, PyObject *fn, PyObject *actor, PyObject *args, PyObject *keywords)
{
    PyObject *coroutine = call_handler(fn, actor, args, keywords);
    if (coroutine == NULL) {
        return make_rest(st, NULL, NULL);
    }
    PyObject *result = NULL;
    PySendResult status = PYGEN_ERROR;
    if (PyContext_Enter(context) == 0) {
        status = PyIter_Send(coroutine, Py_None, &result);
        PyObject *error = status == PYGEN_ERROR ? take_error() : NULL;
        if (PyContext_Exit(context) < 0) {
            Py_XDECREF(error);
            Py_CLEAR(result);
            status = PYGEN_ERROR;
        }
        else if (error != NULL) {
            raise_again(error);
        }
    }
    if (status != PYGEN_RETURN) {
        PyObject *rest = make_rest(st, coroutine, status == PYGEN_NEXT ? result : NULL);
        Py_XDECREF(result);
        result = rest;
    }
    Py_DECREF(coroutine);
    return result;
}

/* As `Stepper.step`, when `may_step` has said that it may be. */
static PyObject *
step(State *st, PyObject *stepper, PyObject *budget, double began, PyObject *fn, PyObject *actor, PyObject *args,
     PyObject *keywords)
{
    PyObject *loop = get(stepper, st->stepper_loop), *task = get(stepper, st->stepper_task);
    long depth = number_at(budget, st->budget_depth);
    PyObject *caller = swap_task(st, loop, task);
    if (caller == NULL || put_new(budget, st->budget_depth, PyLong_FromLong(depth + 1)) < 0) {
        Py_XDECREF(caller);
        return NULL;
    }
    PyObject *result = run_in_context(st, get(stepper, st->stepper_context), fn, actor, args, keywords);
    PyObject *before = swap_task(st, loop, caller);
    Py_DECREF(caller);
    double spent = seconds_at(budget, st->budget_spent) + (now() - began);
    if (before == NULL || put_new(budget, st->budget_depth, PyLong_FromLong(depth)) < 0
        || put_new(budget, st->budget_spent, PyFloat_FromDouble(spent)) < 0) {
        Py_CLEAR(result);
    }
    Py_XDECREF(before);
    return result;
}

/* As `MessageLoop.handle_now`; the Python frame of that one says whose code runs. */
static int
may_handle_now(State *st, PyObject *self, PyObject *envelope, PyObject *mailbox, PyObject *waker)
{
    PyObject *handler = get(envelope, st->envelope_handler);
    if (waker == NULL || waker == Py_None || !is_a(get(self, st->loop_stepper), st->Stepper)
        || get(envelope, st->envelope_reply) == Py_None || !is_a(handler, st->Handler)
        || get(handler, st->handler_steps) != Py_True || get(envelope, st->envelope_deadline) != Py_None
        || get(envelope, st->envelope_hooks) != Py_None || get(self, st->loop_halt) != Py_False
        || get(self, st->loop_idleness) != Py_None || get(mailbox, st->mailbox_deferring) != Py_False) {
        return 0;
    }
    PyObject *activity = get(self, st->loop_activity);
    int awaited = activity == NULL ? 1 : is_true(PyObject_GetAttr(activity, st->n_awaited));
    if (awaited) {
        return awaited < 0 ? -1 : 0;
    }
    int done = is_true(call_method(waker, st->n_done));
    return done < 0 ? -1 : !done;
}

static int
finish_now(State *st, PyObject *self, PyObject *mailbox, PyObject *waker, PyObject *envelope, PyObject *result)
{
    if ((PyObject *)Py_TYPE(result) == st->rest) {
        if (put_new(self, st->loop_rest, PyTuple_Pack(2, result, envelope)) < 0) {
            return -1;
        }
    }
    else {
        put(self, st->loop_current, Py_None);
        long handled = number_at(self, st->loop_handled);
        if (put_new(self, st->loop_handled, PyLong_FromLong(handled + 1)) < 0) {
            return -1;
        }
        put(envelope, st->envelope_args, st->nothing);
        PyObject *reply = Py_NewRef(get(envelope, st->envelope_reply));
        int failed = answer(st, reply, result);
        Py_DECREF(reply);
        if (failed < 0) {
            return -1;
        }
        PyObject *queue = get(mailbox, st->mailbox_queue);
        Py_ssize_t length = queue == NULL ? 0 : PyObject_Size(queue);
        if (length <= 0) {
            put(mailbox, st->mailbox_waker, waker);
            return length < 0 ? -1 : 0;
        }
    }
    int done = is_true(call_method(waker, st->n_done));
    if (done == 0) {
        PyObject *set = call_method_with(waker, st->n_set_result, Py_None);
        done = set == NULL ? -1 : 0;
        Py_XDECREF(set);
    }
    return done < 0 ? -1 : 0;
}

static PyObject *
loop_step_now(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 1 || names != NULL || !is_a(self, st->MessageLoop) || !is_a(args[0], st->Envelope)) {
        return not_bound("this message loop");
    }
    PyObject *envelope = args[0], *cell = get(self, st->loop_cell);
    PyObject *mailbox = is_a(cell, st->Cell) ? get(cell, st->cell_mailbox) : NULL;
    if (!is_a(mailbox, st->Mailbox)) {
        return not_bound("this cell");
    }
    PyObject *waker = get(mailbox, st->mailbox_waker);
    int may = may_handle_now(st, self, envelope, mailbox, waker);
    if (may <= 0) {
        return may < 0 ? NULL : Py_NewRef(Py_False);
    }
    PyObject *stepper = get(self, st->loop_stepper), *budget = get(stepper, st->stepper_budget);
    if (!is_a(budget, st->StepBudget)) {
        return not_bound("this budget");
    }
    may = may_step(st, stepper, budget);
    if (may <= 0) {
        return may < 0 ? NULL : Py_NewRef(Py_False);
    }
    double began = now();
    if (put_new(self, st->loop_since, PyFloat_FromDouble(began)) < 0) {
        return NULL;
    }
    PyObject *fn = get(get(envelope, st->envelope_handler), st->handler_fn), *actor = get(self, st->loop_actor);
    PyObject *values = get(envelope, st->envelope_args), *keywords = get(envelope, st->envelope_kwargs);
    if (fn == NULL || actor == NULL || values == NULL || keywords == NULL || !PyTuple_Check(values)
        || !PyDict_Check(keywords)) {
        return not_bound("this message");
    }
    /* All that the handler may let go of. */
    PyObject *kept[] = {mailbox, waker, stepper, budget, fn, actor, values, keywords};
    enum { KEPT = sizeof(kept) / sizeof(kept[0]) };
    for (int i = 0; i < KEPT; i++) {
        Py_INCREF(kept[i]);
    }
    put(mailbox, st->mailbox_waker, Py_None);
    put(self, st->loop_current, envelope);
    PyObject *result = step(st, stepper, budget, began, fn, actor, values, keywords);
    int failed = result == NULL ? -1 : finish_now(st, self, mailbox, waker, envelope, result);
    Py_XDECREF(result);
    for (int i = 0; i < KEPT; i++) {
        Py_DECREF(kept[i]);
    }
    return failed < 0 ? NULL : Py_NewRef(Py_True);
}

/* ------------------------------------------------------------ the message loop */

/* Whether somebody who waits may be let in when a message is taken: not if the place is kept for a turn. */
static int
lets_in(State *st, PyObject *mailbox, PyObject *queue, PyObject *line)
{
    PyObject *turns = get(line, st->queue_turns);
    if (!is_a(turns, st->SenderTurns)) {
        return 1;
    }
    Py_ssize_t length = PyObject_Size(queue);
    long limit = number_at(mailbox, st->mailbox_limit), held = number_at(turns, st->turns_held);
    return length < 0 || PyErr_Occurred() || length - 1 + held < limit;
}

/* Take the first message out of a mailbox, which has one. */
static PyObject *
take_item(State *st, PyObject *mailbox, PyObject *queue)
{
    PyObject *line = get(mailbox, st->mailbox_wait_queue);
    PyObject *waiting = is_a(line, st->WaitQueue) ? get(line, st->queue_waiting) : NULL;
    Py_ssize_t others = waiting == NULL ? 0 : PyObject_Size(waiting);
    if (others < 0) {
        return NULL;
    }
    if (others > 0 && lets_in(st, mailbox, queue, line)) {
        return PyErr_Occurred() ? NULL : call_method(mailbox, st->n_take);
    }
    if ((PyObject *)Py_TYPE(queue) == st->deque) {
        return PyObject_Vectorcall(st->deque_popleft, &queue, 1, NULL);
    }
    return call_method(queue, st->n_popleft);
}

/* Run a handler to its first wait: what it has returned; or NULL, and `rest` is what is to be awaited; or, with an
   error, NULL as well. */
static PyObject *
begin_handler(State *st, PyObject *handler, PyObject *actor, PyObject *args, PyObject *keywords, PyObject **rest)
{
    PyObject *fn = get(handler, st->handler_fn);
    *rest = NULL;
    if (fn == NULL || args == NULL || keywords == NULL || !PyTuple_Check(args) || !PyDict_Check(keywords)) {
        return not_bound("this message");
    }
    PyObject *kept[] = {fn, args, keywords};
    for (size_t i = 0; i < COUNT(kept); i++) {
        Py_INCREF(kept[i]);
    }
    PyObject *coroutine = call_handler(fn, actor, args, keywords);
    for (size_t i = 0; i < COUNT(kept); i++) {
        Py_DECREF(kept[i]);
    }
    if (coroutine == NULL) {
        return NULL;
    }
    if (!PyCoro_CheckExact(coroutine)) {
        *rest = coroutine; /* any other awaitable: the message loop awaits it */
        return NULL;
    }
    PyObject *result = NULL;
    if (PyIter_Send(coroutine, Py_None, &result) == PYGEN_NEXT) {
        *rest = suspended_new(st, coroutine, result, NULL);
        Py_CLEAR(result);
    }
    Py_DECREF(coroutine);
    return result;
}

/* Run the handler of a tell: NULL with an error, None if it has ended, or what is to be awaited. */
static PyObject *
run_tell(State *st, PyObject *actor, PyObject *item)
{
    PyObject *handler = PyTuple_GET_SIZE(item) == 4 ? PyTuple_GET_ITEM(item, 0) : NULL;
    if (!is_a(handler, st->Handler)) {
        return not_bound("this message");
    }
    PyObject *hooks = PyTuple_GET_ITEM(item, 3), *rest;
    if (hooks != Py_None && message_taken(st, hooks) < 0) {
        return NULL;
    }
    PyObject *result = begin_handler(st, handler, actor, PyTuple_GET_ITEM(item, 1), PyTuple_GET_ITEM(item, 2), &rest);
    if (result == NULL) {
        return rest;
    }
    Py_DECREF(result);
    return Py_NewRef(Py_None);
}

/* Run the handler of a plain ask, as `run_tell`; its error is one of the `Suspended`. */
static PyObject *
run_ask(State *st, PyObject *actor, PyObject *envelope)
{
    PyObject *rest, *result = begin_handler(st, get(envelope, st->envelope_handler), actor,
                                            get(envelope, st->envelope_args), get(envelope, st->envelope_kwargs), &rest);
    if (result == NULL && rest == NULL) {
        PyObject *error = take_error();
        rest = suspended_new(st, NULL, NULL, error);
        Py_XDECREF(error);
    }
    if (result == NULL) {
        return rest;
    }
    put(envelope, st->envelope_args, st->nothing);
    PyObject *reply = Py_XNewRef(get(envelope, st->envelope_reply));
    int failed = reply == NULL || reply == Py_None ? 0 : answer(st, reply, result);
    Py_XDECREF(reply);
    Py_DECREF(result);
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

/* Whether the message loop handles an envelope as a plain ask. */
static inline int
is_plain(State *st, PyObject *envelope)
{
    PyObject *handler = get(envelope, st->envelope_handler);
    return is_a(handler, st->Handler) && get(handler, st->handler_plain) == Py_True
        && get(envelope, st->envelope_deadline) == Py_None && get(envelope, st->envelope_hooks) == Py_None;
}

/* Handle messages until one has to be awaited, which is returned, or none is to be handled in this turn. */
static PyObject *
drain(State *st, PyObject *self, PyObject *mailbox, PyObject *actor, double began, long *left)
{
    double at = *left % MESSAGES_PER_CLOCK ? now() : 0.0;
    for (;;) {
        if (*left % MESSAGES_PER_CLOCK == 0) {
            at = now();
        }
        PyObject *queue = get(mailbox, st->mailbox_queue);
        if (get(self, st->loop_halt) != Py_False || *left <= 0 || queue == NULL || at - began > MOST_SECONDS) {
            Py_RETURN_NONE;
        }
        Py_ssize_t length = PyObject_Size(queue);
        if (length <= 0) {
            return length < 0 ? NULL : Py_NewRef(Py_None);
        }
        if (*left % MESSAGES_PER_CLOCK == 0 && put_new(self, st->loop_since, PyFloat_FromDouble(at)) < 0) {
            return NULL;
        }
        Py_INCREF(queue);
        PyObject *item = take_item(st, mailbox, queue), *rest;
        Py_DECREF(queue);
        if (item == NULL) {
            return NULL;
        }
        if (PyTuple_CheckExact(item)) {
            put(self, st->loop_current, item);
            rest = run_tell(st, actor, item);
        }
        else if (!is_a(item, st->Envelope) || !is_plain(st, item)) {
            return item;
        }
        else {
            put(self, st->loop_current, item);
            rest = run_ask(st, actor, item);
        }
        Py_DECREF(item);
        if (rest != Py_None) {
            return rest;
        }
        Py_DECREF(rest);
        put(self, st->loop_current, Py_None);
        *left -= 1;
    }
}

static PyObject *
loop_drain(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    PyObject *cell = is_a(self, st->MessageLoop) ? get(self, st->loop_cell) : NULL;
    PyObject *mailbox = is_a(cell, st->Cell) ? get(cell, st->cell_mailbox) : NULL;
    if (count != 1 || names != NULL || !is_a(mailbox, st->Mailbox)) {
        return not_bound("this message loop");
    }
    double began = PyFloat_AsDouble(args[0]);
    PyObject *actor = get(self, st->loop_actor);
    long left = number_at(self, st->loop_left);
    if (PyErr_Occurred() || actor == NULL) {
        return actor == NULL ? not_bound("this message loop") : NULL;
    }
    Py_INCREF(actor);
    Py_INCREF(mailbox);
    PyObject *rest = drain(st, self, mailbox, actor, began, &left);
    PyObject *error = rest == NULL ? take_error() : NULL;
    if (put_new(self, st->loop_left, PyLong_FromLong(left)) < 0) {
        Py_CLEAR(rest);
        Py_CLEAR(error);
    }
    if (error != NULL) {
        raise_again(error);
    }
    Py_DECREF(mailbox);
    Py_DECREF(actor);
    return rest;
}

/* ------------------------------------------------------------ the coroutine of a tell or an ask */

typedef enum { NEW, RUNNING, WAITS, WAITS_FOR_REPLY, OVER } Progress;

typedef struct {
    PyObject_HEAD
    PyObject *ref, *method, *args, *keywords; /* keywords may be NULL */
    PyObject *target, *envelope;              /* of an ask whose reply is awaited */
    PyObject *inner;                          /* what is awaited */
    Progress progress;
    int asks;
} Sending;

static int
sending_traverse(Sending *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->ref);
    Py_VISIT(self->method);
    Py_VISIT(self->args);
    Py_VISIT(self->keywords);
    Py_VISIT(self->target);
    Py_VISIT(self->envelope);
    Py_VISIT(self->inner);
    return 0;
}

static int
sending_clear(Sending *self)
{
    Py_CLEAR(self->ref);
    Py_CLEAR(self->method);
    Py_CLEAR(self->args);
    Py_CLEAR(self->keywords);
    Py_CLEAR(self->target);
    Py_CLEAR(self->envelope);
    Py_CLEAR(self->inner);
    return 0;
}

static void
sending_dealloc(Sending *self)
{
    if (self->progress != OVER && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    sending_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* It is over: forget all it has. */
static void
end_sending(Sending *self)
{
    self->progress = OVER;
    sending_clear(self);
}

/* An ask ends by an error: withdraw the message, as `give_up` in Python. The error stays. */
static void
give_up(State *st, PyObject *target, PyObject *envelope)
{
    PyObject *error = take_error();
    PyObject *both[] = {target, envelope};
    PyObject *done = PyObject_Vectorcall(st->give_up, both, 2, NULL);
    if (done == NULL) {
        Py_XDECREF(error);
        return;
    }
    Py_DECREF(done);
    if (error != NULL) {
        raise_again(error);
    }
}

/* What the coroutine that is awaited has come to. */
static PySendResult
go_on(Sending *self, State *st, PySendResult status)
{
    if (status == PYGEN_NEXT) {
        return status;
    }
    PyObject *target = Py_XNewRef(self->target), *envelope = Py_XNewRef(self->envelope);
    int asks = self->progress == WAITS_FOR_REPLY;
    end_sending(self);
    if (status == PYGEN_ERROR && asks && target != NULL) {
        give_up(st, target, envelope);
    }
    Py_XDECREF(target);
    Py_XDECREF(envelope);
    return status;
}

static PySendResult
await_inner(Sending *self, State *st, PyObject *value, PyObject **result)
{
    PyObject *inner = Py_NewRef(self->inner);
    Progress before = self->progress;
    self->progress = RUNNING;
    PySendResult status = PyIter_Send(inner, value, result);
    self->progress = before;
    Py_DECREF(inner);
    return go_on(self, st, status);
}

/* Await `awaitable`, a new reference; begins at once. */
static PySendResult
begin_to_await(Sending *self, State *st, PyObject *awaitable, Progress progress, PyObject **result)
{
    if (awaitable == NULL) {
        end_sending(self);
        return PYGEN_ERROR;
    }
    PyAsyncMethods *verbs = Py_TYPE(awaitable)->tp_as_async;
    self->inner = PyCoro_CheckExact(awaitable) ? Py_NewRef(awaitable)
        : verbs != NULL && verbs->am_await != NULL ? verbs->am_await(awaitable) : NULL;
    Py_DECREF(awaitable);
    if (self->inner == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "what is sent cannot be awaited");
        }
        end_sending(self);
        return PYGEN_ERROR;
    }
    self->progress = progress;
    return await_inner(self, st, Py_None, result);
}

/* Have the Python twin do all of it. */
static PySendResult
send_by_twin(Sending *self, State *st, PyObject **result)
{
    PyObject *twin = self->asks ? st->ask_twin : st->tell_twin;
    Py_ssize_t count = PyTuple_GET_SIZE(self->args);
    PyObject *all = PyTuple_New(count + 2);
    if (all == NULL || twin == NULL) {
        Py_XDECREF(all);
        end_sending(self);
        return PYGEN_ERROR;
    }
    PyTuple_SET_ITEM(all, 0, Py_NewRef(self->ref));
    PyTuple_SET_ITEM(all, 1, Py_NewRef(self->method));
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(all, i + 2, Py_NewRef(PyTuple_GET_ITEM(self->args, i)));
    }
    PyObject *coroutine = PyObject_Call(twin, all, self->keywords);
    Py_DECREF(all);
    return begin_to_await(self, st, coroutine, WAITS, result);
}

/* The handler of a message that has the right number of arguments and no keywords, and in `target` where it goes;
   borrowed. Else NULL, without an error. */
static PyObject *
find_handler(Sending *self, State *st, PyObject **target)
{
    PyObject *handlers = get(self->ref, st->ref_handlers);
    *target = get(self->ref, st->ref_target);
    if (self->keywords != NULL || handlers == NULL || !PyDict_CheckExact(handlers) || *target == NULL
        || *target == Py_None) {
        return NULL;
    }
    PyObject *handler = PyDict_GetItemWithError(handlers, self->method);
    if (handler == NULL) {
        PyErr_Clear(); /* not hashable: the twin says so */
        return NULL;
    }
    if (!is_a(handler, st->Handler)) {
        return NULL;
    }
    PyObject *least = get(handler, st->handler_least), *most = get(handler, st->handler_most);
    Py_ssize_t count = PyTuple_GET_SIZE(self->args);
    if (least == NULL || most == NULL || PyLong_AsSsize_t(least) > count || PyLong_AsSsize_t(most) < count) {
        PyErr_Clear();
        return NULL;
    }
    return handler;
}

static PySendResult
tell_now(Sending *self, State *st, PyObject **result)
{
    PyObject *target, *handler = find_handler(self, st, &target);
    if (handler == NULL || PySet_GET_SIZE(st->fenced)) {
        return send_by_twin(self, st, result);
    }
    PyObject *keywords = st->no_keywords;
    Py_INCREF(handler);
    Py_INCREF(target);
    self->progress = RUNNING;
    PyObject *all[] = {target, handler, self->args, keywords};
    int sent = is_true(PyObject_VectorcallMethod(st->n_send, all, 4, NULL));
    PySendResult status = PYGEN_ERROR;
    if (sent > 0) {
        *result = Py_NewRef(Py_None);
        status = PYGEN_RETURN;
        end_sending(self);
    }
    else if (sent < 0) {
        end_sending(self);
    }
    else {
        PyObject *turn = NULL, *waits = NULL;
        PyObject *envelope = new_envelope(st, handler, self->args, keywords, Py_None);
        if (envelope != NULL && PyContextVar_Get(st->turn, NULL, &turn) == 0) {
            /* As `send_in_turn`, which has more to do only for an actor. */
            waits = turn == Py_None
                ? call_method_with(target, st->n_send_when_room, envelope)
                : PyObject_CallFunctionObjArgs(st->send_in_turn, self->ref, target, envelope, turn, NULL);
        }
        Py_XDECREF(turn);
        Py_XDECREF(envelope);
        status = begin_to_await(self, st, waits, WAITS, result);
    }
    Py_DECREF(handler);
    Py_DECREF(target);
    return status;
}

static PySendResult
ask_now(Sending *self, State *st, PyObject **result)
{
    PyObject *target, *turn, *handler = find_handler(self, st, &target);
    PyObject *make_waiter = get(self->ref, st->ref_make_waiter);
    if (handler == NULL || make_waiter == NULL || get(self->ref, st->ref_ask_timeout) != Py_None) {
        return send_by_twin(self, st, result);
    }
    if (PyContextVar_Get(st->turn, NULL, &turn) < 0) {
        end_sending(self);
        return PYGEN_ERROR;
    }
    Py_DECREF(turn);
    if (turn != Py_None) {
        return send_by_twin(self, st, result);
    }
    Py_INCREF(handler);
    Py_INCREF(target);
    self->progress = RUNNING;
    PyObject *reply = reply_new(st, make_waiter);
    PyObject *envelope = reply == NULL ? NULL : new_envelope(st, handler, self->args, st->no_keywords, reply);
    Py_DECREF(handler);
    int sent = envelope == NULL ? -1 : is_true(call_method_with(target, st->n_try_send, envelope));
    PySendResult status = PYGEN_ERROR;
    if (sent > 0 && ((Reply *)reply)->result != NULL) {
        status = reply_outcome((Reply *)reply, result);
        end_sending(self);
    }
    else if (sent < 0) {
        end_sending(self);
        if (envelope != NULL) {
            give_up(st, target, envelope);
        }
    }
    else if (sent) {
        self->target = Py_NewRef(target);
        self->envelope = Py_NewRef(envelope);
        status = begin_to_await(self, st, Py_NewRef(reply), WAITS_FOR_REPLY, result);
    }
    else {
        PyObject *all[] = {target, envelope, reply};
        status = begin_to_await(self, st, PyObject_Vectorcall(st->ask_when_room, all, 3, NULL), WAITS, result);
    }
    Py_XDECREF(reply);
    Py_XDECREF(envelope);
    Py_DECREF(target);
    return status;
}

/* Nothing was sent: raise the error as `refuse_in_turn` does. */
static PySendResult
refuse(Sending *self, State *st, PyObject **result)
{
    PyObject *error = take_error();
    PyObject *coroutine = error == NULL ? NULL : PyObject_CallOneArg(st->refuse_in_turn, error);
    Py_XDECREF(error);
    return begin_to_await(self, st, coroutine, WAITS, result);
}

static PySendResult
sending_am_send(PyObject *object, PyObject *value, PyObject **result)
{
    Sending *self = (Sending *)object;
    State *st = state_of(object);
    PySendResult status;
    *result = NULL;
    switch (self->progress) {
    case NEW:
        if (value != Py_None) {
            PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
            return PYGEN_ERROR;
        }
        status = self->asks ? ask_now(self, st, result) : tell_now(self, st, result);
        return status == PYGEN_ERROR && PyErr_ExceptionMatches(PyExc_Exception) ? refuse(self, st, result) : status;
    case WAITS:
    case WAITS_FOR_REPLY:
        return await_inner(self, st, value, result);
    case RUNNING:
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return PYGEN_ERROR;
    default:
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
}

static PyObject *
sending_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult status = sending_am_send(self, value, &result);
    return as_send(status, result);
}

static PyObject *
sending_next(PyObject *self)
{
    return sending_send(self, Py_None);
}

/* Raise what `throw` is given, in any of its forms. */
static PyObject *
raise_thrown(PyObject *args)
{
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    if (!PyArg_UnpackTuple(args, "throw", 1, 3, &type, &value, &trace)) {
        return NULL;
    }
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    }
    else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value == NULL ? Py_None : value);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
    }
    return NULL;
}

static PyObject *
sending_throw(PyObject *object, PyObject *args)
{
    Sending *self = (Sending *)object;
    State *st = state_of(object);
    if (self->progress == NEW) {
        end_sending(self);
        return raise_thrown(args);
    }
    if (self->progress != WAITS && self->progress != WAITS_FOR_REPLY) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return NULL;
    }
    PyObject *inner = Py_NewRef(self->inner), *method = PyObject_GetAttr(inner, st->n_throw);
    Progress before = self->progress;
    self->progress = RUNNING;
    PyObject *result = method != NULL ? PyObject_Call(method, args, NULL) : raise_thrown(args);
    Py_XDECREF(method);
    Py_DECREF(inner);
    self->progress = before;
    if (result != NULL) {
        return result;
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        end_sending(self); /* it has returned */
    }
    else {
        go_on(self, st, PYGEN_ERROR);
    }
    return NULL;
}

static PyObject *
sending_close(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Sending *self = (Sending *)object;
    State *st = state_of(object);
    if (self->progress == RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    PyObject *done = Py_NewRef(Py_None);
    if (self->progress == WAITS || self->progress == WAITS_FOR_REPLY) {
        Py_DECREF(done);
        PyObject *target = Py_XNewRef(self->target), *envelope = Py_XNewRef(self->envelope);
        PyObject *inner = Py_NewRef(self->inner);
        end_sending(self);
        done = PyObject_HasAttr(inner, st->n_close) ? call_method(inner, st->n_close) : Py_NewRef(Py_None);
        if (target != NULL) {
            give_up(st, target, envelope);
            if (PyErr_Occurred()) {
                Py_CLEAR(done);
            }
        }
        Py_XDECREF(target);
        Py_XDECREF(envelope);
        Py_DECREF(inner);
    }
    end_sending(self);
    return done;
}

static void
sending_finalize(PyObject *object)
{
    Sending *self = (Sending *)object;
    if (self->progress == OVER || self->progress == RUNNING) {
        return;
    }
    PyObject *error = PyErr_Occurred() ? take_error() : NULL;
    PyObject *done = NULL;
    if (self->progress == NEW) {
        int failed = PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                                      self->asks ? "Ref.ask" : "Ref.tell");
        done = failed < 0 ? NULL : Py_NewRef(Py_None);
        self->progress = OVER;
    }
    else {
        done = sending_close(object, NULL);
    }
    if (done == NULL) {
        PyErr_WriteUnraisable(object);
    }
    Py_XDECREF(done);
    if (error != NULL) {
        raise_again(error);
    }
}

/* As what is awaited has it, for those who look where a task is. */
static PyObject *
sending_get(PyObject *object, void *name)
{
    PyObject *inner = ((Sending *)object)->inner;
    if (inner == NULL || !PyCoro_CheckExact(inner)) {
        Py_RETURN_NONE;
    }
    return PyObject_GetAttrString(inner, name);
}

static PyObject *
sending_running(PyObject *object, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Sending *)object)->progress == RUNNING);
}

static PyObject *
sending_name(PyObject *object, void *qualified)
{
    const char *name = ((Sending *)object)->asks ? "Ref.ask" : "Ref.tell";
    return PyUnicode_FromString(qualified ? name : name + 4);
}

static PyMethodDef sending_methods[] = {
    {"send", sending_send, METH_O, "As that of a coroutine."},
    {"throw", sending_throw, METH_VARARGS, "As that of a coroutine."},
    {"close", sending_close, METH_NOARGS, "As that of a coroutine."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sending_attributes[] = {
    {"__name__", sending_name, NULL, "tell or ask", NULL},
    {"__qualname__", sending_name, NULL, "Ref.tell or Ref.ask", ""},
    {"cr_frame", sending_get, NULL, "As that of a coroutine.", "cr_frame"},
    {"cr_await", sending_get, NULL, "As that of a coroutine.", "cr_await"},
    {"cr_code", sending_get, NULL, "As that of a coroutine.", "cr_code"},
    {"cr_running", sending_running, NULL, "As that of a coroutine.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot sending_slots[] = {
    {Py_tp_doc, "The coroutine of a tell or an ask."},
    {Py_tp_traverse, sending_traverse},
    {Py_tp_clear, sending_clear},
    {Py_tp_dealloc, sending_dealloc},
    {Py_tp_finalize, sending_finalize},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, sending_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, sending_am_send},
    {Py_tp_methods, sending_methods},
    {Py_tp_getset, sending_attributes},
    {0, NULL},
};

static PyType_Spec sending_spec = {
    .name = "actors._actor._speedups.Sending",
    .basicsize = sizeof(Sending),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
        | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = sending_slots,
};

/* The coroutine of a message; `args` are the method and the arguments. */
static PyObject *
new_sending(State *st, PyObject *ref, PyObject *const *args, Py_ssize_t count, PyObject *names, int asks)
{
    PyObject *values = PyTuple_New(count - 1), *keywords = NULL;
    if (values == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 1; i < count; i++) {
        PyTuple_SET_ITEM(values, i - 1, Py_NewRef(args[i]));
    }
    if (names != NULL && PyTuple_GET_SIZE(names)) {
        keywords = PyDict_New();
        for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(names); i++) {
            if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), args[count + i]) < 0) {
                Py_CLEAR(keywords);
            }
        }
        if (keywords == NULL) {
            Py_DECREF(values);
            return NULL;
        }
    }
    Sending *self = PyObject_GC_New(Sending, st->Sending);
    if (self == NULL) {
        Py_DECREF(values);
        Py_XDECREF(keywords);
        return NULL;
    }
    self->ref = Py_NewRef(ref);
    self->method = Py_NewRef(args[0]);
    self->args = values;
    self->keywords = keywords;
    self->target = self->envelope = self->inner = NULL;
    self->progress = NEW;
    self->asks = asks;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* ------------------------------------------------------------ the verbs of a ref */

/* A method that is to all who look the function in Python, which says what it takes. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *twin;
    int asks;
} Verb;

static PyObject *
verb_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names)
{
    Verb *self = (Verb *)callable;
    State *st = state_of(callable);
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    if (count < 2 || !is_a(args[0], st->Ref)) {
        return PyObject_Vectorcall(self->twin, args, flags, names);
    }
    return new_sending(st, args[0], args + 1, count - 1, names, self->asks);
}

static PyObject *
verb_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"function", "asks", NULL};
    PyObject *twin;
    int asks;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!p:Verb", names, &PyFunction_Type, &twin, &asks)) {
        return NULL;
    }
    Verb *self = (Verb *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->call = verb_call;
        self->twin = Py_NewRef(twin);
        self->asks = asks;
    }
    return (PyObject *)self;
}

static int
verb_traverse(Verb *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->twin);
    return 0;
}

static int
verb_clear(Verb *self)
{
    Py_CLEAR(self->twin);
    return 0;
}

static void
verb_dealloc(Verb *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    verb_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
verb_bind(PyObject *self, PyObject *ref, PyObject *Py_UNUSED(type))
{
    return ref == NULL || ref == Py_None ? Py_NewRef(self) : PyMethod_New(self, ref);
}

static PyObject *
verb_repr(PyObject *self)
{
    return PyObject_Repr(((Verb *)self)->twin);
}

/* What it has not itself, such as `__code__`, is that of the function. */
static PyObject *
verb_getattr(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_GetAttr(((Verb *)self)->twin, name);
    }
    return value;
}

static PyObject *
verb_doc(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((Verb *)self)->twin, "__doc__");
}

static PyMemberDef verb_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Verb, call), READONLY, NULL},
    {"__wrapped__", T_OBJECT_EX, offsetof(Verb, twin), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef verb_attributes[] = {
    {"__doc__", verb_doc, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot verb_slots[] = {
    {Py_tp_new, verb_new},
    {Py_tp_traverse, verb_traverse},
    {Py_tp_clear, verb_clear},
    {Py_tp_dealloc, verb_dealloc},
    {Py_tp_descr_get, verb_bind},
    {Py_tp_repr, verb_repr},
    {Py_tp_getattro, verb_getattr},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, verb_members},
    {Py_tp_getset, verb_attributes},
    {0, NULL},
};

static PyType_Spec verb_spec = {
    .name = "actors._actor._speedups.Verb",
    .basicsize = sizeof(Verb),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR
        | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = verb_slots,
};

/* ------------------------------------------------------------ types to derive from */

static PyMethodDef mailbox_methods[] = {
    METHOD("put", mailbox_put, "Add a message, even past the bound, and wake the actor."),
    METHOD("wake", mailbox_wake, "Wake the actor, which waits for a message."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef cell_methods[] = {
    METHOD("send", cell_send, "As `Target.send`."),
    METHOD("try_send", cell_try_send, "As `Target.try_send`."),
    METHOD("deliver", cell_deliver, "Put a message of a link, or control, into the mailbox past its bound."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef loop_methods[] = {
    METHOD("_step_now", loop_step_now, "As `MessageLoop.handle_now`."),
    METHOD("_drain", loop_drain, "Handle messages until one has to be awaited, which is returned, or None."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot envelope_slots[] = {{Py_tp_init, envelope_init}, {0, NULL}};
static PyType_Slot mailbox_slots[] = {{Py_tp_methods, mailbox_methods}, {0, NULL}};
static PyType_Slot cell_slots[] = {{Py_tp_methods, cell_methods}, {0, NULL}};
static PyType_Slot loop_slots[] = {{Py_tp_methods, loop_methods}, {0, NULL}};

/* ------------------------------------------------------------ the module */

static const Place places[] = {
    PLACE(Ref, "_handlers", ref_handlers),
    PLACE(Ref, "_target", ref_target),
    PLACE(Ref, "uid", ref_uid),
    PLACE(Ref, "_ask_timeout", ref_ask_timeout),
    PLACE(Ref, "_make_waiter", ref_make_waiter),
    PLACE(Handler, "fn", handler_fn),
    PLACE(Handler, "name", handler_name),
    PLACE(Handler, "least", handler_least),
    PLACE(Handler, "most", handler_most),
    PLACE(Handler, "plain", handler_plain),
    PLACE(Handler, "steps", handler_steps),
    PLACE(Envelope, "handler", envelope_handler),
    PLACE(Envelope, "args", envelope_args),
    PLACE(Envelope, "kwargs", envelope_kwargs),
    PLACE(Envelope, "reply", envelope_reply),
    PLACE(Envelope, "deadline", envelope_deadline),
    PLACE(Envelope, "hooks", envelope_hooks),
    PLACE(Envelope, "request", envelope_request),
    PLACE(WaitQueue, "waiting", queue_waiting),
    PLACE(WaitQueue, "turns", queue_turns),
    PLACE(SenderTurns, "held", turns_held),
    PLACE(SenderTurns, "left", turns_left),
    PLACE(SenderTurns, "me", turns_me),
    PLACE(SenderTurns, "task", turns_task),
    PLACE(Mailbox, "queue", mailbox_queue),
    PLACE(Mailbox, "limit", mailbox_limit),
    PLACE(Mailbox, "waker", mailbox_waker),
    PLACE(Mailbox, "wait_queue", mailbox_wait_queue),
    PLACE(Mailbox, "deferring", mailbox_deferring),
    PLACE(Cell, "mailbox", cell_mailbox),
    PLACE(Cell, "draining", cell_draining),
    PLACE(Cell, "incarnation", cell_incarnation),
    PLACE(MessageLoop, "halt", loop_halt),
    PLACE(MessageLoop, "handled", loop_handled),
    PLACE(MessageLoop, "actor", loop_actor),
    PLACE(MessageLoop, "_current", loop_current),
    PLACE(MessageLoop, "_since", loop_since),
    PLACE(MessageLoop, "_stepper", loop_stepper),
    PLACE(MessageLoop, "_rest", loop_rest),
    PLACE(MessageLoop, "_idleness", loop_idleness),
    PLACE(MessageLoop, "_cell", loop_cell),
    PLACE(MessageLoop, "_left", loop_left),
    PLACE(MessageLoop, "_activity", loop_activity),
    PLACE(Stepper, "_budget", stepper_budget),
    PLACE(Stepper, "_context", stepper_context),
    PLACE(Stepper, "_loop", stepper_loop),
    PLACE(Stepper, "_task", stepper_task),
    PLACE(StepBudget, "depth", budget_depth),
    PLACE(StepBudget, "left", budget_left),
    PLACE(StepBudget, "spent", budget_spent),
    PLACE(RemoteActor, "peer", remote_peer),
    PLACE(RemoteActor, "ref", remote_ref),
    PLACE(RemoteActor, "credit", remote_credit),
    PLACE(RemoteActor, "bytes", remote_bytes),
    PLACE(RemoteActor, "wait_queue", remote_wait_queue),
    PLACE(Peer, "link", peer_link),
    PLACE(Link, "out", link_out),
    PLACE(Link, "write", link_write),
    PLACE(Link, "numbers", link_numbers),
    PLACE(Link, "pending", link_pending),
    PLACE(Link, "simple_args", link_simple_args),
    PLACE(CreditReturn, "taken", credit_taken),
    PLACE(TellRun, "cell", run_cell),
    PLACE(TellRun, "credit", run_credit),
    PLACE(TellRun, "handlers", run_handlers),
    PLACE(TellRun, "mailbox", run_mailbox),
};

static const Name types[] = {
    NAME(Handler), NAME(Envelope), NAME(WaitQueue), NAME(SenderTurns), NAME(Mailbox), NAME(Cell), NAME(MessageLoop), NAME(Stepper),
    NAME(StepBudget), NAME(RemoteActor), NAME(Peer), NAME(Link), NAME(CreditReturn), NAME(TellRun), NAME(Suspended),
    NAME(Ref), NAME(Reply), NAME(Sending), NAME(deque), NAME(deque_append),
    NAME(deque_popleft), NAME(zero), NAME(nothing), NAME(no_keywords),
};

static const Name given[] = {
    NAME(cell_twin), NAME(snapshot_args), NAME(answer), NAME(rest), NAME(sized), NAME(tell_twin), NAME(ask_twin),
    NAME(send_in_turn), NAME(give_up), NAME(refuse_in_turn), NAME(turn), NAME(fenced), NAME(ask_when_room), NAME(set_awaited),
    NAME(current_tasks), NAME(swap_task), NAME(current_task), NAME(remote_twin), NAME(tell_op), NAME(ask_op),
};

#define TEXT(text) {#text, offsetof(State, n_##text)}

static const Name names[] = {
    TEXT(append), TEXT(awaited), TEXT(cancelled), TEXT(cancelling), TEXT(close), TEXT(congested), TEXT(deliver), TEXT(done),
    TEXT(handle_now), TEXT(message_loop), TEXT(on_taken), TEXT(open), TEXT(popleft), TEXT(send), TEXT(send_when_room),
    TEXT(set_exception), TEXT(set_result), TEXT(take), TEXT(throw), TEXT(try_send),
    {"__module__", offsetof(State, n_module)}, {"numpy", offsetof(State, numpy)},
    {"_run_of", offsetof(State, n_run_of)}, {"_is_big", offsetof(State, n_is_big)},
};

static PyObject *
bind(PyObject *module, PyObject *args, PyObject *keywords)
{
    return bind_all(PyModule_GetState(module), args, keywords, places, COUNT(places), given, COUNT(given));
}

static PyMethodDef functions[] = {
    {"bind", (PyCFunction)(void (*)(void))bind, METH_VARARGS | METH_KEYWORDS,
     "Note where the slots of classes are, and what is used beside them."},
    {NULL, NULL, 0, NULL},
};

static int
make_objects(State *st)
{
    PyObject *collections = PyImport_ImportModule("collections");
    st->deque = collections == NULL ? NULL : PyObject_GetAttrString(collections, "deque");
    Py_XDECREF(collections);
    if (st->deque == NULL || (st->deque_append = PyObject_GetAttrString(st->deque, "append")) == NULL
        || (st->deque_popleft = PyObject_GetAttrString(st->deque, "popleft")) == NULL
        || (st->zero = PyLong_FromLong(0)) == NULL || (st->nothing = PyTuple_New(0)) == NULL
        || (st->no_keywords = PyDict_New()) == NULL) {
        return -1;
    }
    return 0;
}

static int
start(PyObject *module)
{
    State *st = PyModule_GetState(module);
    if (intern(st, names, COUNT(names)) < 0 || make_objects(st) < 0
        || (st->Suspended = (PyTypeObject *)PyType_FromModuleAndSpec(module, &suspended_spec, NULL)) == NULL
        || (st->Reply = (PyTypeObject *)PyType_FromModuleAndSpec(module, &reply_spec, NULL)) == NULL
        || (st->Sending = (PyTypeObject *)PyType_FromModuleAndSpec(module, &sending_spec, NULL)) == NULL
        || add_type(module, &verb_spec) == NULL
        || add_methods(module, "actors._actor._speedups.EnvelopeMethods", envelope_slots) < 0
        || add_methods(module, "actors._actor._speedups.MailboxMethods", mailbox_slots) < 0
        || add_methods(module, "actors._actor._speedups.CellMethods", cell_slots) < 0
        || add_methods(module, "actors._actor._speedups.MessageLoopMethods", loop_slots) < 0
        || add_methods(module, "actors._actor._speedups.RemoteActorMethods", remote_slots) < 0
        || add_methods(module, "actors._actor._speedups.ReceiverMethods", receiver_slots) < 0) {
        return -1;
    }
    return add_checksum(module);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    State *st = PyModule_GetState(module);
    if (st == NULL) {
        return 0;
    }
    int done = visit_all(st, types, COUNT(types), visit, arg);
    return done ? done : visit_all(st, given, COUNT(given), visit, arg);
}

static int
clear(PyObject *module)
{
    State *st = PyModule_GetState(module);
    if (st != NULL) {
        clear_all(st, types, COUNT(types));
        clear_all(st, given, COUNT(given));
        clear_all(st, names, COUNT(names));
    }
    return 0;
}

static void
release(void *module)
{
    clear(module);
}

EXTENSION(PyInit__speedups, start, "actors._actor._speedups", "C twins of the methods that every message goes through.",
          .m_size = sizeof(State), .m_methods = functions, .m_traverse = traverse, .m_clear = clear, .m_free = release)
