/* The twins of channels/thread_channel.py: a message into the queue to another thread, and messages out of one. */

#include "_speedups.h"

#define BASE 64 /* what a message counts beside the text and bytes in it */
#define DATA 1  /* the lane */

/* The text and bytes among the fields of a part, as `_size_of`. */
static Py_ssize_t
size_of(PyObject **parts, Py_ssize_t count, Py_ssize_t shared_from)
{
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyUnicode_CheckExact(parts[i])) {
            size += PyUnicode_GET_LENGTH(parts[i]);
        }
        else if (PyBytes_CheckExact(parts[i]) && PyBytes_GET_SIZE(parts[i]) < shared_from) {
            size += PyBytes_GET_SIZE(parts[i]);
        }
    }
    return size;
}

/* What a message of leaves, tuples and marked fields counts for; -1 if anything else is in it. */
static Py_ssize_t
size_of_message(State *state, PyObject *message, Py_ssize_t shared_from)
{
    Py_ssize_t size = BASE;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(message); i++) {
        PyObject *field = PyList_GET_ITEM(message, i);
        if (PyTuple_CheckExact(field)) {
            size += size_of(((PyTupleObject *)field)->ob_item, PyTuple_GET_SIZE(field), shared_from);
        }
        else if (is_leaf(field)) {
            size += size_of(&field, 1, shared_from);
        }
        else if ((PyObject *)Py_TYPE(field) != state->by_reference || PyTuple_GET_SIZE(field) != 1) {
            return -1;
        }
    }
    return size;
}

/* Put what is marked as passed by reference in the place of its mark. */
static void
remove_marks(State *state, PyObject *message)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(message); i++) {
        PyObject *field = PyList_GET_ITEM(message, i);
        if ((PyObject *)Py_TYPE(field) == state->by_reference) {
            PyList_SET_ITEM(message, i, Py_NewRef(PyTuple_GET_ITEM(field, 0)));
            Py_DECREF(field);
        }
    }
}

/* Append a message with its size to a lane; -1 with an error. */
static int
append(State *state, PyObject *lane, PyObject *size, PyObject *message)
{
    PyObject *item = PyTuple_Pack(2, size, message);
    if (item == NULL) {
        return -1;
    }
    PyObject *arguments[] = {lane, item};
    PyObject *done = PyObject_Vectorcall(state->append, arguments, 2, NULL);
    Py_DECREF(item);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The number of the lane of a message; -1 if the arguments are not those of `send`. */
static long
lane_of(PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    if (names != NULL || count < 1 || count > 2 || !PyList_CheckExact(args[0])) {
        return -1;
    }
    long lane = count == 1 ? DATA : PyLong_Check(args[1]) ? PyLong_AsLong(args[1]) : -1;
    return lane == 0 || lane == DATA ? lane : -1;
}

static PyObject *
send_by_twin(State *state, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyErr_Clear();
    PyObject *function = state->channel_twin == NULL ? NULL : PyObject_GetAttr(state->channel_twin, state->send);
    PyObject *method = function == NULL ? NULL : PyMethod_New(function, self);
    PyObject *size = method == NULL ? NULL : PyObject_Vectorcall(method, args, count, names);
    Py_XDECREF(function);
    Py_XDECREF(method);
    return size;
}

static PyObject *
thread_channel_send(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    State *state = PyType_GetModuleState(type);
    PyObject *out = is_a(self, state->ThreadChannel) ? get(self, state->channel_outbound) : NULL;
    if (!is_a(out, state->OneWayQueue)) {
        return not_bound("this channel");
    }
    long lane = lane_of(args, count, names);
    Py_ssize_t size = lane < 0 ? -1 : size_of_message(state, args[0], number_at(self, state->channel_shared_from));
    Py_ssize_t sent = number_at(out, state->queue_sent), taken = number_at(out, state->queue_taken);
    PyObject *lanes = get(out, state->queue_lanes);
    if (size < 0 || size > number_at(self, state->channel_most) || get(self, state->channel_closed) != Py_False
        || (sent + size - taken >= number_at(self, state->channel_high)
            && get(self, state->channel_congested) != Py_True)
        || lanes == NULL || !PyTuple_Check(lanes) || PyTuple_GET_SIZE(lanes) != 2) {
        return send_by_twin(state, self, args, count, names);
    }
    remove_marks(state, args[0]);
    PyObject *weight = PyLong_FromSsize_t(size);
    if (weight == NULL || put_new(out, state->queue_sent, PyLong_FromSsize_t(sent + size)) < 0
        || put_new(self, state->channel_sent, PyLong_FromLong(number_at(self, state->channel_sent) + 1)) < 0
        || append(state, PyTuple_GET_ITEM(lanes, lane), weight, args[0]) < 0) {
        Py_XDECREF(weight);
        return NULL;
    }
    PyObject *in = get(self, state->channel_inbound);
    PyObject *bell = get(out, state->queue_bell), *own = is_a(in, state->OneWayQueue) ? get(in, state->queue_bell) : NULL;
    if (bell != NULL && own != NULL && Py_IS_TYPE(bell, state->bell_type) && Py_IS_TYPE(own, state->bell_type)) {
        ring_bell(bell, own);
    }
    /* Looked at behind the message: the receiver clears it before it reads. */
    if (get(out, state->queue_awake) != Py_True) {
        PyObject *woken = call_method(self, state->wake_receiver);
        if (woken == NULL) {
            Py_CLEAR(weight);
        }
        Py_XDECREF(woken);
    }
    return weight;
}

static PyMethodDef methods[] = {
    METHOD("send", thread_channel_send, "Send one message, which belongs to the other side afterwards."),
    {NULL, NULL, 0, NULL},
};

PyType_Slot thread_channel_slots[] = {{Py_tp_methods, methods}, {0, NULL}};

/* The first item of a queue: NULL without an error if it is empty. */
static PyObject *
next_item(State *state, PyObject *queue)
{
    Py_ssize_t length = PyObject_Size(queue);
    return length <= 0 ? NULL : PyObject_Vectorcall(state->popleft, &queue, 1, NULL);
}

/* take_queued(queue, most): (size, messages, the item behind them that is none or None). */
PyObject *
take_queued(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = PyModule_GetState(module);
    if (count != 2 || (PyObject *)Py_TYPE(args[0]) != state->deque) {
        return not_bound("this queue");
    }
    Py_ssize_t most = PyLong_AsSsize_t(args[1]), size = 0;
    PyObject *batch = PyList_New(0), *other = Py_NewRef(Py_None), *item = NULL;
    int failed = batch == NULL || (most == -1 && PyErr_Occurred());
    while (!failed && other == Py_None && PyList_GET_SIZE(batch) < most && (item = next_item(state, args[0])) != NULL) {
        if (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 2) {
            not_bound("this item");
            Py_DECREF(item);
            break;
        }
        PyObject *message = PyTuple_GET_ITEM(item, 1);
        size += PyLong_AsSsize_t(PyTuple_GET_ITEM(item, 0));
        if (PyList_CheckExact(message)) {
            failed = PyList_Append(batch, message) < 0;
        }
        else {
            Py_SETREF(other, Py_NewRef(message));
        }
        Py_DECREF(item);
    }
    PyObject *taken = failed || PyErr_Occurred() ? NULL : Py_BuildValue("nOO", size, batch, other);
    Py_XDECREF(batch);
    Py_DECREF(other);
    return taken;
}
