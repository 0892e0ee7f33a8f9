/* Messages between nodes: a tell or an ask on its way to a link, and tells that have come over one.

   As in `_speedups.c`: the common case, and the Python twin does all the rest of it.
*/

#include "_speedups.h"

#define BIG (1 << 20) /* as in program_advice.py */

/* ------------------------------------------------------------ to an actor of another node */

/* The link over which an actor can be sent to now; NULL, perhaps with an error, if its twin has to look. */
static PyObject *
open_link(State *st, PyObject *actor)
{
    if (Py_TYPE(actor) != st->RemoteActor || !is_a(get(actor, st->remote_peer), st->Peer)) {
        return NULL;
    }
    PyObject *link = get(get(actor, st->remote_peer), st->peer_link), *line = get(actor, st->remote_wait_queue);
    PyObject *waiting = is_a(line, st->WaitQueue) ? get(line, st->queue_waiting) : NULL;
    if (!is_a(link, st->Link) || waiting == NULL || number_at(actor, st->remote_credit) <= 0
        || PyObject_Size(waiting) != 0) {
        return NULL;
    }
    PyObject *out = get(link, st->link_out);
    return out != NULL && is_true(PyObject_GetAttr(out, st->n_congested)) == 0 ? link : NULL;
}

/* The arguments as the link takes them, a new reference; NULL, perhaps with an error, if the twin has to look. */
static PyObject *
encoded_args(State *st, PyObject *actor, PyObject *link, PyObject *args)
{
    if (all_small_leaves(args)) {
        return Py_NewRef(args);
    }
    PyObject *copier = get(link, st->link_simple_args);
    if (copier == NULL || copier == Py_None || number_at(actor, st->remote_bytes) != 0 || !never_big(st, args)) {
        return NULL;
    }
    PyObject *copied = PyObject_CallOneArg(copier, args);
    if (copied == Py_None) {
        Py_CLEAR(copied);
    }
    return copied;
}

/* Write a message, of which it takes the reference, and take its credit; its size, or 0 if nothing has changed. */
static long
written(State *st, PyObject *actor, PyObject *link, PyObject *message)
{
    PyObject *write = Py_XNewRef(get(link, st->link_write)), *size = NULL;
    PyObject *credit = PyLong_FromLong(number_at(actor, st->remote_credit) - 1);
    if (message != NULL && write != NULL && credit != NULL) {
        size = PyObject_CallOneArg(write, message);
    }
    if (size != NULL) {
        put(actor, st->remote_credit, credit);
    }
    Py_XDECREF(message);
    Py_XDECREF(write);
    Py_XDECREF(credit);
    long bytes = size == NULL ? 0 : PyLong_AsLong(size);
    Py_XDECREF(size);
    return bytes;
}

/* Have a message looked at that was sent and is big; -1 with an error. */
static int
look_at(State *st, PyObject *actor, PyObject *link, PyObject *handler, long size, PyObject *args)
{
    PyObject *bytes = PyLong_FromLong(size), *done = NULL;
    if (bytes != NULL) {
        done = PyObject_CallMethodObjArgs(actor, st->n_is_big, link, handler, bytes, args, NULL);
    }
    Py_XDECREF(bytes);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A list of some objects. */
static PyObject *
list_of(PyObject *const *items, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(items[i]));
    }
    return list;
}

/* Have the twin do all of it; it makes the error that the sender gets. */
static PyObject *
leave_to_twin(State *st, PyObject *name, PyObject *const *all, Py_ssize_t count)
{
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return NULL;
        }
        PyErr_Clear();
    }
    return by_twin(st->remote_twin, name, all, count);
}

static PyObject *
remote_send(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 3 || names != NULL || !is_a(self, st->RemoteActor)) {
        return not_bound("this remote actor");
    }
    PyObject *handler = args[0], *values = args[1], *keywords = args[2], *link = open_link(st, self);
    PyObject *all[] = {self, handler, values, keywords}, *ref = get(self, st->remote_ref);
    if (link == NULL || !is_a(handler, st->Handler) || !is_a(ref, st->Ref) || !PyTuple_CheckExact(values)
        || !PyDict_CheckExact(keywords) || PyDict_GET_SIZE(keywords)) {
        return leave_to_twin(st, st->n_send, all, 4);
    }
    Py_INCREF(link);
    PyObject *encoded = encoded_args(st, self, link, values);
    long sent = 0;
    int failed = 0;
    if (encoded != NULL) {
        PyObject *fields[] = {st->tell_op, get(ref, st->ref_uid), get(handler, st->handler_name), encoded};
        sent = written(st, self, link, list_of(fields, COUNT(fields)));
        failed = sent > BIG && look_at(st, self, link, handler, sent, values) < 0;
        Py_DECREF(encoded);
    }
    Py_DECREF(link);
    if (failed) {
        return NULL;
    }
    return sent ? Py_NewRef(Py_True) : leave_to_twin(st, st->n_send, all, 4);
}

/* Whether an ask has nothing to say beside its arguments. */
static int
is_plain_ask(State *st, PyObject *envelope)
{
    PyObject *handler = get(envelope, st->envelope_handler), *keywords = get(envelope, st->envelope_kwargs);
    PyObject *reply = get(envelope, st->envelope_reply), *args = get(envelope, st->envelope_args);
    return Py_TYPE(envelope) == st->Envelope && is_a(handler, st->Handler)
        && get(handler, st->handler_plain) == Py_True && reply != NULL && reply != Py_None && args != NULL
        && PyTuple_CheckExact(args) && keywords != NULL && PyDict_CheckExact(keywords) && !PyDict_GET_SIZE(keywords)
        && get(envelope, st->envelope_deadline) == Py_None && get(envelope, st->envelope_hooks) == Py_None;
}

/* Note an ask that is written, whose reply is awaited. */
static int
note_pending(State *st, PyObject *self, PyObject *link, PyObject *envelope, PyObject *number)
{
    PyObject *pending = get(link, st->link_pending), *both = PyTuple_Pack(2, envelope, self);
    int failed = both == NULL || pending == NULL || PyDict_SetItem(pending, number, both) < 0;
    Py_XDECREF(both);
    put(link, st->link_numbers, number);
    put(envelope, st->envelope_request, number);
    return failed ? -1 : 0;
}

static PyObject *
remote_try_send(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 1 || names != NULL || !is_a(self, st->RemoteActor) || !is_a(args[0], st->Envelope)) {
        return not_bound("this remote actor");
    }
    PyObject *envelope = args[0], *link = open_link(st, self), *ref = get(self, st->remote_ref);
    PyObject *all[] = {self, envelope};
    if (link == NULL || !is_a(ref, st->Ref) || !is_plain_ask(st, envelope)) {
        return leave_to_twin(st, st->n_try_send, all, 2);
    }
    Py_INCREF(link);
    PyObject *encoded = encoded_args(st, self, link, get(envelope, st->envelope_args));
    PyObject *number = encoded == NULL ? NULL : PyLong_FromLong(number_at(link, st->link_numbers) + 1);
    long sent = 0;
    int failed = 0;
    if (number != NULL) {
        PyObject *handler = get(envelope, st->envelope_handler);
        PyObject *fields[] = {st->ask_op, get(ref, st->ref_uid), number, get(handler, st->handler_name), encoded};
        sent = written(st, self, link, list_of(fields, COUNT(fields)));
        failed = sent && note_pending(st, self, link, envelope, number) < 0;
        failed = failed || (sent > BIG && look_at(st, self, link, handler, sent, get(envelope, st->envelope_args)) < 0);
    }
    Py_XDECREF(number);
    Py_XDECREF(encoded);
    Py_DECREF(link);
    if (failed) {
        return NULL;
    }
    return sent ? Py_NewRef(Py_True) : leave_to_twin(st, st->n_try_send, all, 2);
}

/* ------------------------------------------------------------ from a link */

/* Say to the hooks of a message that an actor has taken it; -1 with an error. */
int
message_taken(State *st, PyObject *hooks)
{
    long taken = Py_TYPE(hooks) == st->CreditReturn ? number_at(hooks, st->credit_taken) : 0;
    if (taken > 0) {
        return put_new(hooks, st->credit_taken, PyLong_FromLong(taken + 1));
    }
    PyObject *done = call_method(hooks, st->n_on_taken);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether a message that has come is a tell without keywords and headers, whose fields are in form. */
static int
is_plain_tell(State *st, PyObject *message)
{
    if (!PyList_CheckExact(message) || PyList_GET_SIZE(message) != 4) {
        return 0;
    }
    PyObject *op = PyList_GET_ITEM(message, 0), *args = PyList_GET_ITEM(message, 3);
    if (!PyLong_CheckExact(op) || (op != st->tell_op && PyObject_RichCompareBool(op, st->tell_op, Py_EQ) != 1)) {
        return 0;
    }
    return PyLong_CheckExact(PyList_GET_ITEM(message, 1)) && PyUnicode_CheckExact(PyList_GET_ITEM(message, 2))
        && (PyTuple_CheckExact(args) || PyList_CheckExact(args));
}

/* Queue a tell if it is plain for its actor; 0 if it is not, -1 with an error. */
static int
take_tell(State *st, PyObject *run, PyObject *message)
{
    PyObject *cell = get(run, st->run_cell), *handlers = get(run, st->run_handlers), *args = PyList_GET_ITEM(message, 3);
    PyObject *mailbox = get(run, st->run_mailbox), *credit = get(run, st->run_credit);
    if (!is_a(cell, st->Cell) || !is_a(mailbox, st->Mailbox) || get(cell, st->cell_draining) != Py_False
        || handlers == NULL || !PyDict_CheckExact(handlers) || credit == NULL) {
        return 0;
    }
    PyObject *handler = PyDict_GetItemWithError(handlers, PyList_GET_ITEM(message, 2));
    if (!is_a(handler, st->Handler) || get(handler, st->handler_plain) != Py_True) {
        return PyErr_Occurred() ? -1 : 0;
    }
    args = PyTuple_CheckExact(args) ? Py_NewRef(args) : PyList_AsTuple(args);
    PyObject *item = args == NULL ? NULL : PyTuple_Pack(4, handler, args, st->no_keywords, credit);
    Py_XDECREF(args);
    int failed = item == NULL ? -1 : put_item(st, mailbox, item);
    Py_XDECREF(item);
    return failed < 0 ? -1 : 1;
}

/* _take_tells(messages, at): queue the plain tells from that place on; the place of the first other message. */
static PyObject *
receiver_take_tells(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *st = PyType_GetModuleState(type);
    if (count != 2 || names != NULL || !PyList_CheckExact(args[0])) {
        return not_bound("this receiver");
    }
    PyObject *messages = args[0], *last = NULL, *run = NULL;
    Py_ssize_t at = PyLong_AsSsize_t(args[1]);
    int taken = at < 0 ? -1 : 1;
    while (taken > 0 && at < PyList_GET_SIZE(messages)) {
        PyObject *message = Py_NewRef(PyList_GET_ITEM(messages, at));
        taken = is_plain_tell(st, message);
        PyObject *uid = taken ? PyList_GET_ITEM(message, 1) : NULL;
        if (taken && (last == NULL || PyObject_RichCompareBool(uid, last, Py_EQ) != 1)) {
            Py_XSETREF(last, Py_NewRef(uid));
            Py_XSETREF(run, call_method_with(self, st->n_run_of, uid));
            taken = run == NULL ? -1 : is_a(run, st->TellRun);
        }
        taken = taken > 0 ? take_tell(st, run, message) : taken;
        at += taken > 0;
        Py_DECREF(message);
    }
    Py_XDECREF(last);
    Py_XDECREF(run);
    return taken < 0 ? NULL : PyLong_FromSsize_t(at);
}

/* ------------------------------------------------------------ types to derive from */

static PyMethodDef remote_methods[] = {
    METHOD("send", remote_send, "As `Target.send`."),
    METHOD("try_send", remote_try_send, "As `Target.try_send`."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef receiver_methods[] = {
    METHOD("_take_tells", receiver_take_tells, "Queue plain tells; return the place of the first other message."),
    {NULL, NULL, 0, NULL},
};

PyType_Slot remote_slots[] = {{Py_tp_methods, remote_methods}, {0, NULL}};
PyType_Slot receiver_slots[] = {{Py_tp_methods, receiver_methods}, {0, NULL}};
